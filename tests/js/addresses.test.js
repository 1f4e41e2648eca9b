import assert from "node:assert/strict";
import { test } from "node:test";
import { load } from "./support.js";

const { machineAddress, routeOf, sessionAddress, sessionOf, sessionPartAddress } =
  await load("data/addresses.js");

test("the path says what the page shows", () => {
  const shown = (path, search) => {
    const { place, id } = routeOf(path, search);
    return [place, id];
  };
  assert.deepEqual(shown("/"), ["", ""]);
  assert.deepEqual(shown("/sessions/a%20b"), ["sessions/*", "a b"]);
  assert.deepEqual(shown("/machines/m/"), ["machines/*", "m"]);
  assert.deepEqual(shown("/sessions/a/files"), ["sessions/*/files", "a"]);
  assert.deepEqual(shown("/search", "?q=x"), ["search", ""]);
  assert.deepEqual(shown("/settings/devices"), ["settings/*", "devices"]);
  for (const none of ["/sessions", "/sessions//files", "/sessions/a/b", "/sessions/100%"])
    assert.deepEqual(shown(none), ["", ""], none);
  for (const id of ["turn/call", "a b?c#d", "100%", "日本語"]) {
    assert.deepEqual(shown(sessionAddress(id)), ["sessions/*", id]);
    assert.deepEqual(shown(machineAddress(id)), ["machines/*", id]);
  }
});

test("an address of a session's part keeps its query, and names its session", () => {
  const path = "src/a b&c=d.py";
  const address = new URL(
    sessionPartAddress("a/b", "files", { path, line: 3, q: null }),
    "http://h",
  );
  const route = routeOf(address.pathname, address.search);
  assert.equal(route.place, "sessions/*/files");
  assert.deepEqual(
    [...route.query],
    [
      ["path", path],
      ["line", "3"],
    ],
  );
  assert.equal(sessionOf(route), "a/b");
  assert.equal(sessionPartAddress("a", "changes"), "/sessions/a/changes");
  assert.equal(sessionOf(routeOf("/machines/m")), null);
});
