// Records, requests and sessions that are not what they should be: each hurts only itself.

import assert from "node:assert/strict";
import { test } from "node:test";
import { installDom, load, MemoryStorage, message, prompt, record } from "./support.js";

installDom();
globalThis.location = { pathname: "/" };
const { blocksOf } = await load("data/conversation/blocks.js");
const { withDays } = await load("data/conversation/day-marks.js");
const { LiveText } = await load("data/conversation/live.js");
const { drawBlock } = await load("views/chat/blocks/block.js");
const { messageList } = await load("views/chat/message-list.js");
const { planStrip } = await load("views/chat/blocks/plan.js");
const { SessionsView } = await load("views/sessions/sessions.js");
const { pendingRequests, progressOf, readable, titleOf } = await load("data/sessions/sessions.js");
const { AgentCatalog } = await load("data/sessions/agents.js");
const { Transcript } = await load("data/conversation/transcript.js");
const { Store } = await load("data/store/store.js");

const VALUES = [null, 0, -1.5, true, "text", "", [], [null], {}, { a: { b: [1] } }];

/** A value that is nested `depth` levels. */
function nested(depth) {
  let made = "deep";
  for (let level = 0; level < depth; level += 1) made = level % 2 ? { a: made } : [made];
  return made;
}

const agent = (content) => ({ role: "agent", content });
const codex = (data) => agent({ type: "codex", data });
const output = (data) => agent({ type: "output", data });

/** The fields that the views read of each kind of record, with a record that is right. */
const SAMPLES = {
  message: { type: "message", message: "hi", id: "i", side: false },
  reasoning: { type: "reasoning", message: "hm", id: "r", live: true },
  "tool-call": {
    type: "tool-call",
    callId: "c",
    name: "Run",
    input: { command: "ls" },
    status: "pending",
    nativeTitle: "Run ls",
    nativeKind: "execute",
    description: "d",
    progress: "p",
  },
  "tool-call-result": { type: "tool-call-result", callId: "c", output: "out", is_error: false },
  plan: { type: "plan", entries: [{ content: "step", status: "pending" }] },
  error: { type: "error", message: "no" },
  "generated-image": { type: "generated-image", imageId: "i", fileName: "f" },
};

/** Records with each field of each kind given each value. */
const FIELDS = Object.values(SAMPLES).flatMap((sample) =>
  Object.keys(sample).flatMap((field) =>
    VALUES.map((value) => codex({ ...sample, [field]: value })),
  ),
);

/** Records that have the shape of none. */
const SHAPELESS = [
  ...VALUES,
  ...VALUES.map((role) => ({ role, content: { type: "text", text: "x" } })),
  ...VALUES.filter((value) => typeof value !== "string").map((content) => ({
    role: "user",
    content,
  })),
  ...VALUES.map((content) => agent(content)),
  ...VALUES.map((type) => agent({ type, data: { type: "message", message: "x" } })).filter(
    (odd) => typeof odd.content.type !== "string",
  ),
  ...["codex", "event", "output"].flatMap((type) => VALUES.map((data) => agent({ type, data }))),
  ...VALUES.filter((value) => typeof value !== "string").map((type) => codex({ type })),
  { role: "user" },
  { role: "agent" },
  { content: { type: "text", text: "no role" } },
  agent({ type: "codex" }),
  agent({ data: { type: "message" } }),
];

/** Records of Claude that are odd inside, and records that are deep or long. */
const INNER = [
  ...VALUES.flatMap((value) => [
    output({ type: "assistant", message: value }),
    output({ type: "assistant", message: { content: value } }),
    output({ type: "assistant", message: { content: [value] } }),
    output({ type: "assistant", message: { content: [{ type: "text", text: value }] } }),
    output({ type: "assistant", message: { content: [{ type: "thinking", thinking: value }] } }),
    output({
      type: "assistant",
      message: { content: [{ type: "tool_use", id: value, input: value }] },
    }),
    output({ type: "user", message: { content: [{ type: "tool_result", content: value }] } }),
    output({ type: "user", message: { content: [{ type: "tool_result", content: [value] }] } }),
    output({
      type: "user",
      isSidechain: true,
      message: { content: [{ type: "text", text: value }] },
    }),
    output({ type: "system", subtype: "turn_duration", durationMs: value }),
    agent({ type: "event", data: { type: "message", message: value } }),
    agent({ type: "event", data: { type: "title-changed", title: value } }),
    { role: "user", content: { type: "text", text: value, attachments: value } },
    { role: "user", content: { type: "text", text: "x", attachments: [value] } },
    codex({ type: "tool-call", callId: "t", name: "TodoWrite", input: { todos: [value] } }),
    codex({ type: "tool-call", callId: "t", name: "Edit", input: { path: value, content: value } }),
    codex({ type: "plan", entries: [{ content: value, status: value }] }),
  ]),
  codex({ type: "message", message: nested(60) }),
  codex({ type: "tool-call", callId: "deep", name: "Run", input: nested(3000) }),
  codex({ type: "tool-call-result", callId: "deep", output: nested(3000) }),
  codex({ type: "message", message: nested(20_000) }),
  nested(20_000),
  codex({ type: "message", message: "x".repeat(500_000) }),
  { strange: "y".repeat(500_000) },
];

const context = () => ({
  active: true,
  expanded: new Map(),
  decisions: new Map(),
  image: () => [],
});

/** The blocks of `records` between two that are right, drawn. */
function drawn(...records) {
  const messages = [prompt("before"), ...records.map((odd) => message(odd)), prompt("after")];
  return withDays(blocksOf(messages, [], null)).map((block) => drawBlock(block, context()));
}

const isOdd = (node) => node.dataset.kind === "odd";

test("a record without a known shape is a neutral block with its JSON behind a disclosure", () => {
  assert.ok(SHAPELESS.length > 60);
  for (const odd of SHAPELESS) {
    const nodes = drawn(odd).filter((node) => node.dataset.kind !== "day");
    assert.equal(nodes.length, 3, JSON.stringify(odd));
    assert.ok(isOdd(nodes[1]), JSON.stringify(odd));
    assert.equal(nodes[1].tagName, "DETAILS");
    assert.match(nodes[1].textContent, /^This record cannot be shown\./);
    assert.ok(nodes[1].textContent.includes(JSON.stringify(odd, null, 2)), JSON.stringify(odd));
  }
});

test("a record with a field of another type keeps nothing else from being shown", () => {
  for (const odd of [...FIELDS, ...INNER]) {
    const texts = drawn(odd).map((node) => node.textContent);
    assert.ok(texts.some((text) => text.startsWith("before")));
    assert.ok(texts.some((text) => text.startsWith("after")));
    for (const text of texts) assert.ok(text.length < 600_000);
  }
});

test("all odd records together are one conversation, and no two blocks have one key", () => {
  const odd = [...SHAPELESS, ...FIELDS, ...INNER].map((content) => message(content));
  const blocks = blocksOf([prompt("before"), ...odd, prompt("after")], [], null);
  assert.equal(new Set(blocks.map((block) => block.key)).size, blocks.length);
  assert.equal(blocks[0].text, "before");
  assert.equal(blocks.findLast((block) => block.kind === "user").text, "after");
});

test("records of kinds that show nothing still show nothing", () => {
  const silent = [
    codex({ type: "token_count", info: {} }),
    agent({ type: "event", data: { type: "ready" } }),
    agent({ type: "something-new", data: 1 }),
    output({ type: "system", subtype: "init" }),
    output({ type: "summary", summary: "s" }),
  ];
  assert.deepEqual(
    blocksOf(
      silent.map((content) => message(content)),
      [],
      null,
    ),
    [],
  );
});

test("a message list draws odd records once and keeps them when others come", () => {
  const transcript = new Transcript();
  const store = {
    live: new LiveText(),
    transcript: () => transcript,
    catalog: new AgentCatalog(),
  };
  const outbox = { of: () => [] };
  const list = messageList({
    store,
    outbox,
    id: "s",
    context: context(),
    onOlder: () => {},
    footer: document.createElement("p"),
  });
  const odd = [message(null), message({ role: "agent", content: null }), null, { seq: 1 }, 7];
  transcript.addPage({
    messages: odd,
    page: { direction: "latest", hasMore: false, epoch: 1 },
  });
  list.draw({ id: "s", active: true, agentState: { requests: null, completedRequests: 7 } });
  const first = list.content.childNodes.find(isOdd);
  transcript.upsert(record({ type: "message", message: "fine" }));
  list.draw({ id: "s", active: true, agentState: null });
  assert.ok(list.content.childNodes.includes(first));
  assert.equal(list.content.childNodes.filter(isOdd).length, 2);
  assert.match(list.content.textContent, /fine$/);
});

test("an odd request of the agent can still be answered", () => {
  for (const value of VALUES) {
    const request = { tool: value, arguments: value, createdAt: value, toolCallId: value };
    const state = readable({
      id: "s",
      agentState: { requests: { r: request, s: value } },
    }).agentState;
    const blocks = blocksOf([], [], state).filter((block) => block.requestId === "r");
    assert.equal(blocks.length, 1, JSON.stringify(value));
    assert.match(drawBlock(blocks[0], context()).textContent, /Deny/);
  }
  const questions = {
    questions: [null, { question: "?", options: [null, 1] }, { question: "!", options: 7 }],
  };
  const [block] = blocksOf([], [], { requests: { r: { tool: "Ask", arguments: questions } } });
  assert.match(drawBlock(block, context()).textContent, /Decline/);
});

// --- sessions ---

const FIELDS_OF_SESSION = [
  ...["metadata", "agentState", "todos", "todoProgress", "updatedAt", "active", "thinking"],
  ...["permissionMode", "pendingRequestsCount", "createdAt", "damaged", "globalPinned"],
];
const FIELDS_OF_METADATA = [
  ...["name", "path", "summary", "flavor", "machineId", "homeDir", "lifecycleState"],
  ...["archiveReason", "agentSessionId", "worktree"],
];
const ODD_SESSIONS = [
  ...FIELDS_OF_SESSION.flatMap((field) => VALUES.map((value) => ({ [field]: value }))),
  ...FIELDS_OF_METADATA.flatMap((field) =>
    VALUES.map((value) => ({ metadata: { path: "/home/dev/shop", [field]: value } })),
  ),
].map((odd, index) => ({ id: `s${index}`, active: index % 2 === 0, updatedAt: 1, ...odd }));

/** A store that has read a list of sessions, and events about them. */
async function filledStore(sessions) {
  const api = {
    sessions: async () => sessions,
    session: async (id) => sessions.find((one) => one?.id === id),
    machines: async () => [null, { id: 7 }, { id: "m", active: true }],
    agentAvailability: async () => [],
  };
  const outbox = { releaseHeld: () => {}, confirm: () => {} };
  const store = new Store(api, outbox, { isUnread: () => false, isMarked: () => false });
  await store.readSessions();
  await store.readMachines();
  return store;
}

test("odd sessions are listed beside the others", async () => {
  const good = { id: "good", active: true, updatedAt: 2, metadata: { name: "Good one" } };
  const store = await filledStore([null, 7, {}, { id: 5 }, ...ODD_SESSIONS, good]);
  store.loaded = true;
  const does = () => {};
  const storage = new MemoryStorage();
  const frame = { store, api: {}, storage, go: does, newSession: does, openMenu: does };
  const view = new SessionsView(frame);
  view.draw();
  assert.match(view.node.textContent, /Good one/);
  assert.equal(store.sessions.size, ODD_SESSIONS.length + 1);
  assert.equal(store.machines.size, 1);
});

test("what is read of an odd session never fails", () => {
  for (const odd of ODD_SESSIONS) {
    const session = readable(odd);
    assert.equal(typeof titleOf(session), "string");
    pendingRequests(session);
    progressOf(session);
    planStrip().draw(session.todos ?? []);
  }
});

test("an event that is malformed keeps nothing of the others from being heard", async () => {
  const store = await filledStore([{ id: "s", active: true, updatedAt: 1 }]);
  store.transcript("s");
  const types = [
    ...["session-updated", "session-added", "session-ended", "session-removed", "message-received"],
    ...["messages-consumed", "message-cancelled", "messages-indeterminate", "messages-requeued"],
  ];
  for (const type of types)
    for (const value of VALUES) {
      const event = { sessionId: "other", data: value, message: value, localIds: value };
      store.receive({ type, ...event, machineId: value });
    }
  for (const value of VALUES) store.receive(value ?? {});
  store.receive({ type: "session-updated", sessionId: "s", data: { thinking: true } });
  assert.equal(store.sessions.get("s").thinking, true);
});
