import assert from "node:assert/strict";
import { test } from "node:test";
import { load, MemoryStorage } from "./support.js";

const { deviceStorage, keptName, keyOf, ownPart } = await load("lib/storage.js");
const { OutboxStorage } = await load("data/store/outbox-storage.js");
const { Drafts } = await load("data/composer/drafts.js");

test("keys have the base path in front, and at the root of a host they stay as they are", () => {
  assert.equal(keptName("hapi.jwt", ""), "hapi.jwt");
  assert.equal(keptName("hapi.jwt", "/raw"), "/raw hapi.jwt");
  assert.equal(keyOf("hapi.jwt", ""), "hapi.jwt");
  assert.equal(keyOf("/raw hapi.jwt", "/raw"), "hapi.jwt");
  for (const name of ["hapi.jwt", "/hapi hapi.jwt", "/raw/b hapi.jwt", "/rawer hapi.jwt", ""])
    assert.equal(keyOf(name, "/raw"), null, name);
});

test("pages below different paths keep things of their own in one storage", () => {
  const shared = new MemoryStorage();
  const parts = ["", "/hapi", "/raw", "/raw/b"].map((base) => ownPart(() => shared, base));
  parts.forEach((part, number) => {
    part.setItem("hapi.jwt", String(number));
  });
  assert.deepEqual(
    parts.map((part) => part.getItem("hapi.jwt")),
    ["0", "1", "2", "3"],
  );
  parts[2].removeItem("hapi.jwt");
  assert.deepEqual(
    parts.map((part) => part.getItem("hapi.jwt")),
    ["0", "1", null, "3"],
  );
});

test("a page sends and forgets the messages and drafts of its own path alone", () => {
  const shared = new MemoryStorage();
  const bases = ["", "/hapi", "/raw"];
  const parts = bases.map((base) => ownPart(() => shared, base));
  parts.forEach((part, number) => {
    const message = { localId: "m", sessionId: "s", text: bases[number], createdAt: 1 };
    part.setItem("hapi.outbox.m", JSON.stringify(message));
    new Drafts(part).set("s", `draft ${number}`);
  });
  const waiting = parts.map((part) => new OutboxStorage(part).read());
  assert.deepEqual(
    waiting.map((stored) => stored.map(({ message }) => message.text)),
    bases.map((base) => [base]),
  );
  for (const number of [1, 0]) {
    new Drafts(parts[number]).clear();
    assert.equal(new Drafts(parts[number]).get("s"), "");
    assert.equal(new Drafts(parts[2]).get("s"), "draft 2");
  }
});

test("a module in a worker, which has no storage, finds nothing in it", () => {
  assert.equal(deviceStorage.getItem("hapi.language"), null);
  assert.equal(deviceStorage.length, 0);
  deviceStorage.removeItem("hapi.language");
});
