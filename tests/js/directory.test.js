import assert from "node:assert/strict";
import { test } from "node:test";
import { load } from "./support.js";

const { typedPlace } = await load("lib/paths.js");
const { completing, listProblem, parentOf } = await load("views/sessions/directory-browser.js");

test("a directory has a parent, and a listing that fails a reason", () => {
  assert.deepEqual(["/a/b", "/a"].map(parentOf), ["/a", "/"]);
  assert.match(listProblem("EACCES: permission denied"), /no permission/);
  assert.match(listProblem("ENOENT"), /does not exist yet/);
  assert.match(listProblem(), /could not list/);
});

test("directories complete what is typed, hidden ones when they are asked for", () => {
  const directories = [".git", "Shop", "shop-old", "docs"].map((name) => ({ name }));
  const names = (typed) => completing(directories, typed).map(({ name }) => name);
  assert.deepEqual(names("sh"), ["shop-old", "Shop"]);
  assert.deepEqual(names(""), ["Shop", "shop-old", "docs"]);
  assert.deepEqual(names("."), [".git"]);
  assert.deepEqual(names("x"), []);
});

test("what is typed is a directory and the beginning of a name in it", () => {
  const place = (typed) => {
    const found = typedPlace(typed, "/home/ada");
    return found && [found.directory, found.name];
  };
  assert.deepEqual(place("~/sh"), ["/home/ada", "sh"]);
  assert.deepEqual(place("~"), ["/home/ada", ""]);
  assert.deepEqual(place(" ~/shop/ "), ["/home/ada/shop", ""]);
  assert.deepEqual(place("/ho"), ["/", "ho"]);
  assert.deepEqual(place("/"), ["/", ""]);
  assert.equal(place("shop"), null);
  assert.equal(place("~bob/x"), null);
});
