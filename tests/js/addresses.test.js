import assert from "node:assert/strict";
import { test } from "node:test";
import { load } from "./support.js";

const { isLoopback, loopbackNote } = await load("lib/loopback.js");
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

test("addresses of the machine itself are told from those that other devices can open", () => {
  const own = ["localhost", "hub.localhost", "127.0.0.1", "127.8.9.1", "[::1]"];
  const reachable = ["192.168.1.7", "hub.example.com", "127.example.com", "[fe80::1]"];
  assert.deepEqual(own.filter(isLoopback), own);
  assert.deepEqual(reachable.filter(isLoopback), []);
  const page = { host: "127.0.0.1:3006", hostname: "127.0.0.1" };
  assert.match(loopbackNote(page) ?? "", /cannot open 127\.0\.0\.1:3006: start HAPI with --tunnel/);
  assert.equal(loopbackNote({ host: "hub.example.com", hostname: "hub.example.com" }), null);
});
