import assert from "node:assert/strict";
import { test } from "node:test";
import { load, MemoryStorage } from "./support.js";

const { FrameParser } = await load("data/hub/events.js");
const { AgentCatalog } = await load("data/sessions/agents.js");
const { Drafts } = await load("data/composer/drafts.js");
const { Identity, lifetime, takeTokenFromAddress } = await load("data/hub/identity.js");
const { SeenSessions } = await load("data/sessions/seen.js");
const sessions = await load("data/sessions/sessions.js");
const { describeTool, outputText } = await load("data/conversation/tools.js");

const session = (more = {}) => ({ id: "0123456789", active: true, updatedAt: 1, ...more });

// --- agents ---

const agent = (name, approvalStyle, more = {}) => ({
  name,
  label: name.toUpperCase(),
  permissionModes: ["default"],
  hasModel: true,
  models: [],
  settings: [],
  approvalStyle,
  steerable: false,
  ...more,
});
const catalog = new AgentCatalog({
  agents: [
    agent("claude", "tools", { models: ["big"] }),
    agent("codex", "decision"),
    agent("pi", "plain", { hasModel: false }),
  ],
  generic: { ...agent("", "plain"), permissionModes: ["default", "plan"] },
  permissionModes: [{ name: "yolo", label: "Allow everything", unrestricted: true }],
});

test("an agent that the table does not have is shown by its name, with the general modes", () => {
  assert.equal(catalog.label("codex"), "CODEX");
  for (const name of ["mine", "constructor", "__proto__"]) {
    assert.equal(catalog.label(name), name);
    assert.deepEqual(catalog.permissionModes(name), ["default", "plan"]);
  }
});

test("a session without an agent's name is one of Claude's", () => {
  assert.equal(catalog.label(undefined), "CLAUDE");
  assert.deepEqual(catalog.models(null), ["big"]);
});

test("while the table is being read every agent is shown by its name", () => {
  const empty = new AgentCatalog();
  assert.equal(empty.label("codex"), "codex");
  assert.equal(empty.label(undefined), "Agent");
  assert.deepEqual(empty.permissionModes("codex"), []);
  assert.equal(empty.isUnrestricted("yolo"), false);
});

test("a mode has its label and is marked when the agent acts without asking", () => {
  assert.equal(catalog.modeLabel("yolo"), "Allow everything");
  assert.equal(catalog.modeLabel("unknown"), "unknown");
  assert.equal(catalog.isUnrestricted("yolo"), true);
  assert.equal(catalog.isUnrestricted("toString"), false);
  assert.equal(catalog.hasModel("pi"), false);
});

const BASH = { tool: "Bash", arguments: { command: "ls" } };
const APPROVALS = [
  ["codex", "allow", BASH, ["approve", { decision: "approved" }]],
  ["codex", "session", BASH, ["approve", { decision: "approved_for_session" }]],
  ["codex", "deny", BASH, ["deny", { decision: "abort" }]],
  ["claude", "allow", BASH, ["approve", {}]],
  ["claude", "deny", BASH, ["deny", {}]],
  ["claude", "session", BASH, ["approve", { allowTools: ["Bash(ls)"] }]],
  ["claude", "session", { tool: "Grep" }, ["approve", { allowTools: ["Grep"] }]],
  ["claude", "session", { tool: "Write" }, ["approve", { mode: "acceptEdits" }]],
  ["mine", "session", BASH, ["approve", { decision: "approved_for_session" }]],
];
for (const [name, choice, request, expected] of APPROVALS) {
  test(`${name} is told ${choice} for ${request.tool} in its own way`, () => {
    assert.deepEqual(catalog.approval(name, choice, request), expected);
  });
}

// --- events ---

test("frames come out whole wherever the stream is cut", () => {
  const whole =
    'data: {"a":1}\nid: x:1:y\n\n: note\n\ndata: line one\r\ndata: line two\r\n\r\ndata: unfinished';
  for (let cut = 1; cut < whole.length; cut += 1) {
    const frames = new FrameParser();
    assert.deepEqual(
      [...frames.feed(whole.slice(0, cut)), ...frames.feed(whole.slice(cut))],
      [
        { data: '{"a":1}', id: "x:1:y" },
        { data: "line one\nline two", id: null },
      ],
    );
  }
});

// --- sessions ---

test("a session is called by its name, its summary, its directory or its id", () => {
  const titles = [
    [{ name: "Shop", summary: { text: "s" }, path: "/a/b" }, "Shop"],
    [{ summary: { text: "s" }, path: "/a/b" }, "s"],
    [
      { summary: { text: "Formula test ```python def f(): pass ```" } },
      "Formula test def f(): pass",
    ],
    [{ summary: { text: "explain `src/app…" } }, "explain src/app…"],
    [{ summary: { text: "```" }, path: "/a/b/" }, "b"],
    [{ path: "/a/b/" }, "b"],
    [{ path: "C:\\code\\shop" }, "shop"],
    [null, "Session 01234567"],
  ];
  for (const [metadata, title] of titles)
    assert.equal(sessions.titleOf(session({ metadata })), title);
});

test("requests count while the session is active, oldest first", () => {
  const requests = { b: { tool: "B", createdAt: 2 }, a: { tool: "A", createdAt: 1 } };
  const asking = session({ agentState: { requests } });
  assert.deepEqual(
    sessions.pendingRequests(asking).map(([id]) => id),
    ["a", "b"],
  );
  assert.equal(sessions.pendingCount(asking), 2);
  assert.equal(sessions.pendingCount({ ...asking, active: false }), 0);
  assert.equal(sessions.pendingCount(session({ pendingRequestsCount: 3 })), 3);
  assert.equal(sessions.pendingRequests(session()), null);
  assert.equal(sessions.pendingCount(session({ agentState: null, pendingRequestsCount: 3 })), 0);
});

test("a session starts for a while, unless it has been active before", () => {
  const young = session({
    active: false,
    createdAt: Date.now(),
    metadata: { lifecycleState: "running" },
  });
  assert.equal(sessions.isStarting(young), true);
  assert.equal(sessions.isStarting({ ...young, wasActive: true }), false);
  assert.equal(sessions.isStarting({ ...young, createdAt: Date.now() - 60_000 }), false);
  assert.equal(sessions.isStarting({ ...young, metadata: { lifecycleState: "archived" } }), false);
  assert.equal(sessions.isStarting(undefined), false);
});

test("a session can be resumed when its agent has kept something, or nothing was said yet", () => {
  const ended = (metadata, more) => session({ active: false, metadata, ...more });
  assert.equal(sessions.canResume(ended({ agentSessionId: "a" })), true);
  assert.equal(sessions.canResume(ended({ flavor: "codex", codexSessionId: "a" })), true);
  assert.equal(sessions.canResume(ended({ claudeSessionId: "a" })), true);
  assert.equal(sessions.canResume(ended({ flavor: "codex", claudeSessionId: "a" })), false);
  assert.equal(sessions.canResume(ended({}, { hasConversationContent: false })), true);
  assert.equal(sessions.canResume(session({ metadata: { agentSessionId: "a" } })), false);
});

test("why a session is not running is a sentence", () => {
  assert.equal(
    sessions.endReason(
      session({ metadata: { lifecycleState: "archived", archiveReason: "User terminated" } }),
    ),
    "This session was ended.",
  );
  assert.equal(
    sessions.endReason(session({ metadata: { lifecycleState: "archived" } })),
    "Archived.",
  );
  const reasonOf = (archiveReason) =>
    sessions.endReason(session({ metadata: { lifecycleState: "archived", archiveReason } }));
  assert.equal(
    reasonOf("Archived from hub (CLI unreachable)"),
    "Archived. Its process was gone or could not be reached.",
  );
  assert.equal(
    reasonOf("Ended by the runner (the session did not respond)"),
    "Archived. Its process did not respond, so the runner of its machine ended it.",
  );
  assert.match(sessions.endReason(session()), /^Not connected: .*\.$/);
});

test("progress is that of the plan", () => {
  assert.deepEqual(
    sessions.progressOf(session({ todos: [{ status: "completed" }, { status: "pending" }] })),
    { completed: 1, total: 2 },
  );
  assert.equal(sessions.progressOf(session({ todos: [] })), null);
  assert.deepEqual(sessions.progressOf(session({ todoProgress: { completed: 0, total: 4 } })), {
    completed: 0,
    total: 4,
  });
});

// --- tools ---

test("a tool call shows the command, the path or the change in its input", () => {
  const cases = [
    [{ command: "ls -l" }, [["command", "ls -l"]]],
    [{ command: ["ls", "-l"] }, [["command", "ls -l"]]],
    [{ file_path: "/a" }, [["path", "/a"]]],
    [
      { path: "/a", old_string: "x\n", new_string: "y\nz" },
      [
        ["path", "/a"],
        ["diff", "-x\n+y\n+z"],
      ],
    ],
    [
      { filePath: "/a", content: "new" },
      [
        ["path", "/a"],
        ["diff", "+new"],
      ],
    ],
    [
      { fileName: "/w/a", diff: "--- a\n+++ a\n-1\n+2\n" },
      [
        ["path", "/w/a"],
        ["diff", "--- a\n+++ a\n-1\n+2"],
      ],
    ],
    [{ plan: "# First" }, [["markdown", "# First"]]],
    [{}, []],
    [null, []],
    ["text", [["plain", "text"]]],
  ];
  for (const [input, details] of cases) {
    const shown = describeTool({ name: "Tool", input });
    assert.deepEqual(
      shown.details.map(({ form, text }) => [form, text]),
      details,
    );
  }
});

test("a title that repeats the command gives way to the tool's name", () => {
  assert.equal(describeTool({ name: "Bash", title: "ls", input: { command: "ls" } }).title, "Bash");
  assert.deepEqual(
    describeTool({ name: "Read", title: "Read /a", input: { path: "/a" } }).details,
    [],
  );
});

test("an output is its readable part, whatever its shape", () => {
  assert.equal(outputText([{ text: "a" }, { output: "b" }]), "a\nb");
  assert.equal(outputText({ content: [{ type: "text", text: "a" }] }), "a");
  assert.equal(outputText({ stdout: "a", code: 1 }), "a");
  assert.equal(outputText(null), "");
  assert.match(outputText({ code: 1 }), /"code": 1/);
});

// --- what is kept on the device ---

test("a session has news when it changed after it was on screen, and on a new device none has", () => {
  const storage = new MemoryStorage();
  const fresh = new SeenSessions(storage);
  assert.equal(fresh.isUnread("a", Date.now() - 60_000), false);
  fresh.mark("a", 10);
  const later = new SeenSessions(storage);
  assert.equal(later.isUnread("a", 10), false);
  assert.equal(later.isUnread("a", 11), true);
  assert.equal(new SeenSessions(new MemoryStorage({ "hapi.seen": "{" })).isUnread("a", 1), false);
});

test("what is forgotten of many sessions does not become news again", () => {
  const storage = new MemoryStorage();
  const seen = new SeenSessions(storage, 0);
  for (let number = 1; number <= 600; number += 1) seen.mark(`s${number}`, number);
  const later = new SeenSessions(storage, 0);
  assert.equal(later.isUnread("s1", 1), false);
  assert.equal(later.isUnread("s600", 600), false);
  assert.equal(later.isUnread("s600", 601), true);
  assert.equal(later.isUnread("other", 601), true);
});

test("the marks of an earlier version are read, and a list that is broken is none", () => {
  const old = new MemoryStorage({ "hapi.seen": JSON.stringify([["a", 10]]) });
  const seen = new SeenSessions(old);
  assert.equal(seen.isUnread("a", 11), true);
  assert.equal(seen.isUnread("b", 9), false);
  for (const broken of ['{"times":1}', "[]", "7", '{"since":"x","times":[],"marked":[]}'])
    assert.equal(
      new SeenSessions(new MemoryStorage({ "hapi.seen": broken }), 5).isUnread("a", 4),
      false,
    );
});

test("a session that was marked as unread is so until it is on screen", () => {
  const storage = new MemoryStorage();
  const seen = new SeenSessions(storage);
  seen.mark("a", 10);
  seen.markUnread("a");
  assert.equal(new SeenSessions(storage).isMarked("a"), true);
  seen.mark("a", 10);
  assert.equal(new SeenSessions(storage).isMarked("a"), false);
});

test("a draft stays with its session until it is empty", () => {
  const storage = new MemoryStorage();
  const drafts = new Drafts(storage);
  drafts.set("a", "half");
  assert.equal(new Drafts(storage).get("a"), "half");
  assert.equal(drafts.get("b"), "");
  drafts.set("a", "");
  assert.equal(storage.items.size, 0);
});

// --- identity ---

const jwtOf = (claims) =>
  `h.${btoa(JSON.stringify(claims)).replaceAll("+", "-").replaceAll("/", "_")}.s`;

function answering(t, ...answers) {
  const calls = [];
  t.mock.method(globalThis, "fetch", async (path, init) => {
    calls.push([path, JSON.parse(init.body)]);
    const [status, body] = answers.shift();
    return new Response(JSON.stringify(body), { status });
  });
  return calls;
}

test("a JWT lives as long as its own claims say", () => {
  assert.equal(lifetime(jwtOf({ iat: 1000, exp: 1600 })), 600_000);
  assert.equal(lifetime("no jwt"), 3_600_000);
});

test("a login is remembered in the tab or beyond it, and forgotten by logging out", async (t) => {
  const token = jwtOf({ iat: 0, exp: 3600 });
  answering(t, [200, { token }], [200, { token }]);
  const [persistent, perTab] = [new MemoryStorage(), new MemoryStorage()];
  const identity = new Identity(persistent, perTab);
  await identity.login("secret", false);
  assert.equal(persistent.items.size, 0);
  assert.equal(new Identity(persistent, perTab).accessToken, "secret");
  await identity.login("secret", true);
  assert.equal(perTab.items.size, 0);
  identity.forget();
  assert.equal(identity.accessToken, null);
  await assert.rejects(identity.jwt(), { status: 401 });
});

test("a wrong token is refused and nothing is remembered", async (t) => {
  answering(t, [401, { error: "Invalid access token" }]);
  const identity = new Identity(new MemoryStorage(), new MemoryStorage());
  await assert.rejects(identity.login("wrong", true), { status: 401 });
  assert.equal(identity.accessToken, null);
});

test("a JWT is used until it expires or is refused, and then renewed once for all who ask", async (t) => {
  const [first, second] = [jwtOf({ iat: 0, exp: 3600 }), jwtOf({ iat: 1, exp: 3601 })];
  const calls = answering(t, [200, { token: first }], [200, { token: second }]);
  const identity = new Identity(new MemoryStorage(), new MemoryStorage());
  await identity.login("secret", true);
  assert.equal(await identity.jwt(), first);
  assert.deepEqual(await Promise.all([identity.jwt(first), identity.jwt(first)]), [second, second]);
  assert.equal(calls.length, 2);
});

test("the token of a link is taken out of the address", () => {
  const replaced = [];
  const history = { state: null, replaceState: (...call) => replaced.push(call[2]) };
  const location = { hash: "#token=a%20b&x=1", pathname: "/sessions/s", search: "?y" };
  assert.equal(takeTokenFromAddress(location, history), "a b");
  assert.deepEqual(replaced, ["/sessions/s?y#x=1"]);
  assert.equal(takeTokenFromAddress({ ...location, hash: "" }, history), null);
});
