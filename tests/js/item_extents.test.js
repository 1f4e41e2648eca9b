import assert from "node:assert/strict";
import { test } from "node:test";
import { load } from "./support.js";

const { ItemExtents } = await load("lib/lists/item-extents.js");

const keys = (count) => Array.from({ length: count }, (_, number) => `k${number}`);

test("items that have not been measured are as high as those that have been on average", () => {
  const extents = new ItemExtents();
  extents.setKeys(keys(4));
  extents.locate();
  assert.deepEqual([...extents.offsets], [0, 90, 180, 270, 360]);
  assert.ok(extents.setHeight("k0", 20));
  assert.ok(extents.setHeight("k1", 40));
  extents.locate();
  assert.deepEqual([...extents.offsets], [0, 20, 60, 90, 120]);
});

test("the estimate stays until half as many heights more are known", () => {
  const extents = new ItemExtents();
  extents.setKeys(keys(9));
  for (const key of ["k0", "k1", "k2", "k3"]) extents.setHeight(key, 10);
  extents.locate();
  extents.setHeight("k4", 110);
  extents.locate();
  assert.equal(extents.offsets[9], 4 * 10 + 110 + 4 * 10);
  extents.setHeight("k5", 30);
  extents.locate();
  assert.equal(extents.offsets[9], 4 * 10 + 110 + 30 + 3 * 30);
});

test("a height that differs by a rounding is no news", () => {
  const extents = new ItemExtents();
  assert.ok(extents.setHeight("a", 20));
  assert.ok(!extents.setHeight("a", 20.05));
  assert.ok(extents.setHeight("a", 21));
});

test("the place at a position is the last one that begins above it", () => {
  const extents = new ItemExtents();
  extents.setKeys(keys(3));
  for (const key of keys(3)) extents.setHeight(key, 10);
  extents.locate();
  assert.deepEqual(
    [-5, 0, 9, 10, 29, 30, 99].map((position) => extents.placeAt(position)),
    [0, 0, 0, 1, 2, 3, 3],
  );
});

test("heights of many items that are gone are forgotten, and count no more", () => {
  const extents = new ItemExtents();
  extents.setKeys(keys(100));
  for (const key of keys(100)) extents.setHeight(key, 10);
  extents.locate();
  extents.setKeys(["new", "k1"]);
  extents.setHeight("k1", 30);
  extents.locate();
  assert.deepEqual([...extents.offsets], [0, 30, 60]);
});
