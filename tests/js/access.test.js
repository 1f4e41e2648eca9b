// What a token allows on the page.

import assert from "node:assert/strict";
import { test } from "node:test";
import { load } from "./support.js";

const { Access, accessOf, FULL_ACCESS } = await load("data/hub/access.js");

/** @param {object} claims */
const jwt = (claims) => `e30.${Buffer.from(JSON.stringify(claims)).toString("base64url")}.sig`;

test("a token with scopes allows these and says why not the others", () => {
  const access = accessOf(jwt({ scp: ["read", "chat"] }));
  assert.equal(access.allows("chat"), true);
  assert.equal(access.refusal("chat"), null);
  assert.equal(access.allows("approve"), false);
  assert.match(access.refusal("approve") ?? "", /does not allow answering permission requests/);
  assert.equal(access.refusals(["read", "chat", "approve", "spawn"]).length, 2);
});

test("a token without scopes, and one that is not readable, allow all: the hub decides", () => {
  for (const token of [jwt({}), jwt({ scp: "read" }), "", "a.b.c", null])
    assert.equal(accessOf(token), FULL_ACCESS);
});

test("a token with no scopes allows nothing", () => {
  assert.equal(new Access([]).allows("read"), false);
});
