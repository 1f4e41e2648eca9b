import assert from "node:assert/strict";
import { test } from "node:test";
import { load } from "./support.js";

const { ItemMeasurements } = await load("lib/lists/item-measurements.js");

const keys = (count) => Array.from({ length: count }, (_, number) => `k${number}`);

test("items that have not been measured are as high as those that have been on average", () => {
  const measurements = new ItemMeasurements();
  measurements.setKeys(keys(4));
  measurements.locate();
  assert.deepEqual([...measurements.offsets], [0, 90, 180, 270, 360]);
  assert.ok(measurements.setHeight("k0", 20));
  assert.ok(measurements.setHeight("k1", 40));
  measurements.locate();
  assert.deepEqual([...measurements.offsets], [0, 20, 60, 90, 120]);
});

test("the estimate stays until half as many heights more are known", () => {
  const measurements = new ItemMeasurements();
  measurements.setKeys(keys(9));
  for (const key of ["k0", "k1", "k2", "k3"]) measurements.setHeight(key, 10);
  measurements.locate();
  measurements.setHeight("k4", 110);
  measurements.locate();
  assert.equal(measurements.offsets[9], 4 * 10 + 110 + 4 * 10);
  measurements.setHeight("k5", 30);
  measurements.locate();
  assert.equal(measurements.offsets[9], 4 * 10 + 110 + 30 + 3 * 30);
});

test("a height that differs by a rounding is no news", () => {
  const measurements = new ItemMeasurements();
  assert.ok(measurements.setHeight("a", 20));
  assert.ok(!measurements.setHeight("a", 20.05));
  assert.ok(measurements.setHeight("a", 21));
});

test("the place at a position is the last one that begins above it", () => {
  const measurements = new ItemMeasurements();
  measurements.setKeys(keys(3));
  for (const key of keys(3)) measurements.setHeight(key, 10);
  measurements.locate();
  assert.deepEqual(
    [-5, 0, 9, 10, 29, 30, 99].map((position) => measurements.placeAt(position)),
    [0, 0, 0, 1, 2, 3, 3],
  );
});

test("heights of many items that are gone are forgotten, and count no more", () => {
  const measurements = new ItemMeasurements();
  measurements.setKeys(keys(100));
  for (const key of keys(100)) measurements.setHeight(key, 10);
  measurements.locate();
  measurements.setKeys(["new", "k1"]);
  measurements.setHeight("k1", 30);
  measurements.locate();
  assert.deepEqual([...measurements.offsets], [0, 30, 60]);
});
