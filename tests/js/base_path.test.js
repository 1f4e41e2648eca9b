import assert from "node:assert/strict";
import { test } from "node:test";
import { load } from "./support.js";

const { BASE_PATH, basePathOf, withBase, withoutBase } = await load("lib/base-path.js");

test("the page finds out below which path it was loaded", () => {
  for (const [module, expected] of [
    ["https://host/assets/0123456789abcdef/lib/base-path.js", ""],
    ["https://host/lib/base-path.js", ""],
    ["https://host/hapi/assets/0123456789abcdef/lib/base-path.js", "/hapi"],
    ["https://host/a/b/lib/base-path.js", "/a/b"],
    ["file:///somewhere/pages/lib/base-path.js", ""],
  ])
    assert.equal(basePathOf(module), expected);
  assert.equal(BASE_PATH, "");
});

test("the base path is added to the page's own paths alone, and removed again", () => {
  assert.equal(withBase("/sessions/a", "/hapi"), "/hapi/sessions/a");
  assert.equal(withBase("/", "/hapi"), "/hapi/");
  assert.equal(withBase("/sessions/a", ""), "/sessions/a");
  for (const elsewhere of ["https://example.com/", "//example.com/", "#part", "blob:https://a/b"])
    assert.equal(withBase(elsewhere, "/hapi"), elsewhere);
  assert.equal(withoutBase("/hapi/sessions/a", "/hapi"), "/sessions/a");
  assert.equal(withoutBase("/hapi/", "/hapi"), "/");
  assert.equal(withoutBase("/hapiness", "/hapi"), "/hapiness");
  assert.equal(withoutBase("/sessions/a", ""), "/sessions/a");
});
