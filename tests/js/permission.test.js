import assert from "node:assert/strict";
import { test } from "node:test";
import { installDom, load } from "./support.js";

installDom();
const { SessionActions } = await load("views/chat/actions.js");
const { permissionPrompt } = await load("views/chat/blocks/permission.js");
const { AgentCatalog } = await load("data/sessions/agents.js");
const { Unreachable } = await load("lib/errors.js");
const { extraContent, rulesOf, ruleText } = await load("data/sessions/permissions.js");

const context = { active: true, expanded: new Map(), decisions: new Map() };
const PLAN = {
  tool: "Approve plan",
  kind: "switch_mode",
  byName: true,
  options: [
    { id: "auto", name: "Yes, and use auto mode", kind: "allow_always" },
    { id: "default", name: "Yes, manually approve edits", kind: "allow_once" },
    { id: "plan", name: "No, keep planning", kind: "reject_once" },
  ],
};

test("options that differ by name are shown by name, others as allow and deny", () => {
  const drawn = (request) => permissionPrompt("r", request, context).textContent;
  assert.match(drawn(PLAN), /use auto mode.*manually approve.*keep planning/);
  assert.doesNotMatch(drawn(PLAN), /Allow for session/);
  const plain = drawn({ ...PLAN, byName: undefined, kind: "edit" });
  assert.match(plain, /Allow for session.*Deny/);
  assert.doesNotMatch(plain, /auto mode/);
  assert.match(drawn({ ...PLAN, options: PLAN.options.slice(0, 2) }), /edits.*Deny/);
  assert.match(drawn({ tool: "x", byName: true, options: "odd" }), /Allow for session/);
});

test("an edit can be allowed with all others, as a rule that says what it allows", () => {
  const drawn = (request) => permissionPrompt("r", request, context).textContent;
  assert.match(drawn({ tool: "Edit a", kind: "edit" }), /Allow all edits/);
  assert.doesNotMatch(drawn({ tool: "Run", kind: "execute" }), /Allow all edits/);
  assert.deepEqual(new AgentCatalog().approval("claude", "edits", { tool: "Edit a" }), [
    "approve",
    { decision: "approved_for_session", allowTools: ["Edit"] },
  ]);
  assert.equal(ruleText({ id: "1", kind: "edit" }).label, "Change any file");
});

test("the chosen option and the reason of a denial are sent", async () => {
  const sent = [];
  const api = { answerPermission: async (...call) => sent.push(call.slice(1)) };
  const store = {
    catalog: new AgentCatalog(),
    sessions: new Map([["s", { id: "s", metadata: { flavor: "claude" } }]]),
    changed() {},
    readCatalog: async () => {},
  };
  const actions = new SessionActions({ store, api, id: "s" });
  await actions.decide("r", PLAN, "option:auto");
  await actions.decide("r", PLAN, "option:plan", undefined, "Not yet");
  await actions.decide("r", { tool: "Run", options: [] }, "deny", undefined, "Use make");
  assert.deepEqual(sent, [
    ["r", "approve", { optionId: "auto" }],
    ["r", "deny", { optionId: "plan", reason: "Not yet" }],
    ["r", "deny", { reason: "Use make" }],
  ]);
});

test("what a request says besides its arguments is shown once", () => {
  const request = {
    tool: "Shell",
    arguments: { command: "ls -l", nested: { path: "/w/a" } },
    text: "Run command `ls -l`",
    locations: [{ path: "/w/a" }, { path: "/w/b", line: 3 }, { path: "/w/b", line: 3 }, "odd"],
  };
  assert.deepEqual(extraContent(request), { text: null, paths: ["/w/b:3"] });
  assert.equal(extraContent({ ...request, text: "Needs **care**" }).text, "Needs **care**");
  assert.deepEqual(extraContent({ tool: "x", text: 1, locations: {} }), { text: null, paths: [] });
});

test("rules are told in words", () => {
  const rules = rulesOf({ permissionRules: [{ id: "a", command: "make" }, 1, { id: 2 }] });
  assert.equal(rules.length, 1);
  assert.deepEqual(ruleText(rules[0]), { label: "Run this command", value: "make" });
  assert.deepEqual(ruleText({ id: "b", kind: "edit", paths: ["/a", "/b"] }), {
    label: "Change",
    value: "/a\n/b",
  });
  const short = (path) => path.replace("/home/ada", "~");
  assert.equal(ruleText({ id: "b", kind: "edit", paths: ["/home/ada/a"] }, short).value, "~/a");
  assert.deepEqual(ruleText({ id: "c", kind: "edit" }), { label: "Change any file", value: "" });
  assert.equal(ruleText({ id: "d", tool: "WebFetch" }).value, "WebFetch");
  assert.match(ruleText({ id: "e", prefix: "npm test" }).label, /begin with/);
  assert.deepEqual(rulesOf(null), []);
});

test("once the hub is back, a card no longer says that it does not respond", async () => {
  const api = {
    answerPermission: async () => {
      throw new Unreachable();
    },
  };
  const watchers = new Set();
  const store = {
    catalog: new AgentCatalog(),
    connection: { phase: "live", since: 0 },
    sessions: new Map(),
    watch(watcher) {
      watchers.add(watcher);
      return () => watchers.delete(watcher);
    },
    changed: () => watchers.forEach((watcher) => watcher()),
    readCatalog: async () => {},
  };
  const actions = new SessionActions({ store, api, id: "s" });
  await actions.decide("r", { tool: "Run" }, "allow");
  for (const phase of ["live", "lost"]) {
    store.connection = { phase, since: 0 };
    store.changed();
    assert.match(actions.decisions.get("r").error, /hub does not respond/);
  }
  store.connection = { phase: "live", since: Date.now() };
  store.changed();
  assert.equal(actions.decisions.size, 0);
  assert.equal(watchers.size, 0);
});
