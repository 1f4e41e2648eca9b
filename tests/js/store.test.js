import assert from "node:assert/strict";
import { test } from "node:test";
import {
  deferred,
  installDom,
  load,
  MemoryStorage,
  page,
  prompt,
  record,
  settle,
} from "./support.js";

installDom();
const { Outbox } = await load("data/store/outbox.js");
const { ApiError } = await load("lib/errors.js");
const { SeenSessions } = await load("data/sessions/seen.js");
const { Store } = await load("data/store/store.js");

const EMPTY_CATALOG = { agents: [], generic: {}, permissionModes: [] };

/** A store on an API whose answers are `answers`, a value or a function per method. */
function storeWith(answers = {}) {
  const calls = [];
  const defaults = {
    sessions: [],
    machines: [],
    agentCatalog: EMPTY_CATALOG,
    agentAvailability: [],
    messages: () => page([]),
    queuedStates: { queuedLocalIds: [], indeterminateLocalIds: [], invokedLocalMessages: [] },
    sendMessage: {},
    ...answers,
  };
  const api = Object.fromEntries(
    Object.entries(defaults).map(([name, answer]) => [
      name,
      async (...parameters) => {
        calls.push([name, ...parameters]);
        return typeof answer === "function" ? answer(...parameters) : answer;
      },
    ]),
  );
  const store = new Store(
    api,
    new Outbox(api, new MemoryStorage()),
    new SeenSessions(new MemoryStorage()),
  );
  return { store, calls };
}

const session = (more = {}) => ({
  id: "s",
  active: true,
  updatedAt: 1,
  metadata: { name: "S" },
  metadataVersion: 1,
  ...more,
});

test("events that come during a read are applied to its answer, which may be older", async () => {
  const answer = deferred();
  const { store } = storeWith({ session: () => answer.promise });
  const reading = store.readSession("s");
  store.sessions.set("s", session());
  store.receive({ type: "session-updated", sessionId: "s", data: { thinking: true } });
  answer.resolve(session({ thinking: false }));
  await reading;
  assert.equal(store.sessions.get("s").thinking, true);
});

test("a versioned field never goes back to an older version", () => {
  const { store } = storeWith();
  store.sessions.set("s", session({ metadataVersion: 5, detailed: true }));
  const update = (version, name) =>
    store.receive({
      type: "session-updated",
      sessionId: "s",
      data: { metadata: { version, value: { name } } },
    });
  update(4, "older");
  assert.equal(store.sessions.get("s").metadata.name, "S");
  update(6, "newer");
  assert.equal(store.sessions.get("s").metadata.name, "newer");
  store.receive({
    type: "session-updated",
    sessionId: "s",
    data: session({ metadataVersion: 2, metadata: { name: "whole" } }),
  });
  assert.equal(store.sessions.get("s").metadata.name, "newer");
});

test("the list does not take away what is known of a session in detail", async () => {
  const summary = session({ metadata: { name: "S" }, metadataVersion: 1 });
  const { store } = storeWith({ sessions: [summary] });
  store.sessions.set(
    "s",
    session({ metadata: { name: "S", path: "/a" }, agentState: {}, detailed: true }),
  );
  store.sessions.set("gone", session({ id: "gone" }));
  await store.readSessions();
  assert.equal(store.sessions.get("s").metadata.path, "/a");
  assert.equal(store.sessions.get("s").detailed, true);
  assert.equal(store.sessions.has("gone"), false);
});

test("a patch of an unknown session reads the session", async () => {
  const { store } = storeWith({ session: session() });
  store.receive({ type: "session-updated", sessionId: "s", data: { thinking: true } });
  await settle();
  assert.equal(store.sessions.get("s").metadata.name, "S");
});

test("a session that ends has been active and is not called starting", () => {
  const { store } = storeWith();
  store.sessions.set("s", session());
  store.receive({ type: "session-ended", sessionId: "s" });
  assert.equal(store.sessions.get("s").active, false);
  assert.equal(store.sessions.get("s").wasActive, true);
});

test("held messages are sent when their session becomes active", async () => {
  const { store, calls } = storeWith();
  store.sessions.set("s", session({ active: false }));
  store.outbox.add("s", "early", { held: true });
  store.receive({ type: "session-updated", sessionId: "s", data: { active: true } });
  await settle();
  assert.deepEqual(
    calls.filter(([name]) => name === "sendMessage").map((call) => call[2]),
    ["early"],
  );
});

test("catching up reads page after page, then what became of queued messages", async () => {
  const first = record({ type: "message", message: "1" });
  const queued = prompt("q", { localId: "q" });
  const pages = [
    page([first, queued]),
    page([], { direction: "after", hasMore: true }),
    page([], { direction: "after" }),
  ];
  const { store, calls } = storeWith({ messages: () => pages.shift() });
  await store.conversations.catchUp("s");
  await store.conversations.catchUp("s");
  assert.deepEqual(
    calls.map(([name, , parameter]) => [name, parameter]),
    [
      ["messages", 50],
      ["queuedStates", ["q"]],
      ["messages", 200],
      ["messages", 200],
    ],
  );
  assert.equal(store.transcript("s").hasLocalId("q"), false); // the hub did not know it any more
});

test("messages of events are confirmed in the outbox and added to the conversation", async () => {
  const { store } = storeWith();
  store.sessions.set("s", session());
  const localId = store.outbox.add("s", "hi");
  await settle();
  store.transcript("s");
  store.receive({
    type: "message-received",
    sessionId: "s",
    message: prompt("hi", { localId, createdAt: 99 }),
  });
  assert.deepEqual(store.outbox.of("s"), []);
  assert.equal(store.sessions.get("s").updatedAt, 99);
  store.receive({ type: "messages-consumed", sessionId: "s", localIds: [localId], invokedAt: 100 });
  assert.equal(store.transcript("s").ordered()[0].invokedAt, 100);
  store.receive({ type: "message-cancelled", sessionId: "s", localId, messageId: "none" });
  assert.equal(store.transcript("s").messages.size, 0);
});

test("a conversation that was changed is read anew when it is on screen", async () => {
  const { store, calls } = storeWith();
  store.openId = "s";
  await store.conversations.catchUp("s");
  store.receive({ type: "messages-invalidated", sessionId: "s" });
  await settle();
  assert.deepEqual(
    calls.map(([name, , limit]) => [name, limit]),
    [
      ["messages", 50],
      ["messages", 50],
    ],
  );
});

test("machines come, change and go, and their agents are asked for when they come online", async () => {
  const { store, calls } = storeWith({ machines: [{ id: "m", active: true }] });
  store.receive({ type: "machine-updated", machineId: "m", data: { active: true } });
  await settle();
  assert.deepEqual([...store.machines.keys()], ["m"]);
  assert.deepEqual([...store.agents.keys()], ["m"]);
  store.receive({ type: "machine-updated", machineId: "m", data: { active: false } });
  store.receive({ type: "machine-updated", machineId: "m", data: { active: true } });
  await settle();
  assert.equal(calls.filter(([name]) => name === "agentAvailability").length, 2);
  store.receive({ type: "machine-updated", machineId: "m", data: null });
  assert.equal(store.machines.size, 0);
});

test("the table of agents is read once, and again after a failure", async () => {
  let attempts = 0;
  const { store } = storeWith({
    agentCatalog() {
      attempts += 1;
      if (attempts === 1) throw new Error("lost");
      return EMPTY_CATALOG;
    },
  });
  await assert.rejects(store.readCatalog());
  await Promise.all([store.readCatalog(), store.readCatalog()]);
  assert.equal(attempts, 2);
});

test("a session that is removed takes its conversation with it, and the view is told", () => {
  const { store } = storeWith();
  const removed = [];
  store.onRemoved = (id) => removed.push(id);
  store.sessions.set("s", session());
  const before = store.transcript("s");
  store.receive({ type: "session-removed", sessionId: "s" });
  assert.deepEqual([store.sessions.size, removed], [0, ["s"]]);
  assert.notEqual(store.transcript("s"), before);
});

test("watchers are called once for changes that come together", async (t) => {
  t.mock.timers.enable({ apis: ["setTimeout"] });
  const { store } = storeWith();
  let draws = 0;
  const unwatch = store.watch(() => {
    draws += 1;
  });
  store.changed();
  store.changed();
  t.mock.timers.tick(200);
  assert.equal(draws, 1);
  unwatch();
  store.changed();
  t.mock.timers.tick(200);
  assert.equal(draws, 1);
});

test("a session that the hub removes while it is resumed stays until that is done", async () => {
  const { store } = storeWith({ session: session({ active: false }) });
  const removed = [];
  store.onRemoved = (id) => removed.push(id);
  await store.readSession("s");
  const answer = deferred();
  const resumed = store.keepDuring("s", () => answer.promise);
  store.receive({ type: "session-removed", sessionId: "s" });
  await store.readSessions(); // the list has it no more
  assert.deepEqual([[...store.sessions.keys()], removed], [["s"], []]);
  answer.resolve();
  await resumed;
  assert.deepEqual([[...store.sessions.keys()], removed], [[], ["s"]]);
});

test("a session that the hub does not show is asked for once per connection, and when the hub tells of it", async () => {
  let isThere = false;
  const { store, calls } = storeWith({
    session: () => {
      if (isThere) return session();
      throw new ApiError(404, null, "Session not found");
    },
    sessions: () => (isThere ? [session()] : []),
  });
  const asked = () => calls.filter(([name]) => name === "session").length;
  store.open("s");
  await store.refresh(); // nothing else fails for it
  assert.equal(store.loaded, true);
  await assert.rejects(store.readConversation("s"), /not found/);
  assert.equal(asked(), 1);
  await store.refresh();
  assert.equal(asked(), 2);
  isThere = true;
  await store.readSessions();
  assert.equal(store.refusals.size, 0);
  await store.readConversation("s");
  assert.equal(asked(), 3);
  isThere = false;
  await assert.rejects(store.readConversation("s"), /not found/);
  store.open("s"); // by a person, again
  await assert.rejects(store.readConversation("s"), /not found/);
  assert.equal(asked(), 5);
});

test("a failure to read the session on screen fails the reading of everything, which is tried again", async () => {
  const { store } = storeWith({
    session: () => {
      throw new ApiError(500, null, "Internal Server Error");
    },
  });
  store.open("s");
  await assert.rejects(store.refresh(), /Internal/);
  assert.equal(store.refusals.size, 0);
});

/** A store that shows the second of three parts of a conversation; the hub answers by the position asked for. */
async function storeFarBack(answers = {}) {
  const [first, middle, last] = [1, 2, 3].map((n) =>
    record({ type: "message", message: String(n) }),
  );
  const around = { hasMore: true, hasMoreAfter: true, nextBeforeSeq: 2, nextAfterSeq: 2 };
  const messages = (id, limit, position) => {
    if ("around" in position) {
      if (position.around !== middle.id) throw new ApiError(404, "Message not found");
      return page([middle], { direction: "around", ...around });
    }
    if ("beforeSeq" in position) return answers.older ?? page([first], { direction: "before" });
    if ("afterSeq" in position) return answers.newer ?? page([last], { direction: "after" });
    return page([last], { hasMore: true, nextBeforeSeq: 3 });
  };
  const { store, calls } = storeWith({ messages });
  store.sessions.set("s", session());
  await store.conversations.catchUp("s");
  const shown = () =>
    store
      .transcript("s")
      .ordered()
      .map((message) => message.id);
  return { store, calls, shown, first, middle, last };
}

test("a message far back is reached with one request, and both sides are read from there", async () => {
  const { store, calls, shown, first, middle, last } = await storeFarBack();
  const before = calls.length;
  assert.equal(await store.conversations.readAround("s", middle.id), true);
  assert.equal(calls.length, before + 1);
  assert.deepEqual(shown(), [middle.id]);
  await store.conversations.readOlder("s");
  await store.conversations.readNewer("s");
  assert.deepEqual(shown(), [first.id, middle.id, last.id]);
  assert.equal(store.transcript("s").hasNewer, false);
});

test("a message that the hub does not know leaves the conversation as it is", async () => {
  const { store, shown, last } = await storeFarBack();
  assert.equal(await store.conversations.readAround("s", "unknown"), false);
  assert.deepEqual(shown(), [last.id]);
});

test("messages that come while the end is read are neither lost nor doubled", async () => {
  const answer = deferred();
  const { store, shown, middle, last } = await storeFarBack({ newer: answer.promise });
  await store.conversations.readAround("s", middle.id);
  const reading = store.conversations.readNewer("s");
  const news = record({ type: "message", message: "news" });
  for (const message of [last, news])
    store.receive({ type: "message-received", sessionId: "s", message });
  assert.deepEqual(shown(), [middle.id]);
  answer.resolve(page([last], { direction: "after" })); // older than the last event
  await reading;
  assert.deepEqual(shown(), [middle.id, last.id, news.id]);
});

test("a page that was asked for before the window moved is not added to it", async () => {
  const answer = deferred();
  const { store, shown, middle, last } = await storeFarBack({ older: answer.promise });
  await store.conversations.readAround("s", middle.id);
  const reading = store.conversations.readOlder("s");
  await store.conversations.readLatest("s");
  answer.resolve(page([record({ type: "message", message: "far" })], { direction: "before" }));
  await reading;
  assert.deepEqual(shown(), [last.id]);
});

test("a new connection does not take a person away from a part far back", async () => {
  const { store, shown, middle } = await storeFarBack();
  await store.conversations.readAround("s", middle.id);
  await store.conversations.catchUp("s");
  assert.deepEqual(shown(), [middle.id]);
});

test("a notice that comes while the page is being read is shown once", async () => {
  const [sessions, machines] = [deferred(), deferred()];
  const { store } = storeWith({
    sessions: () => sessions.promise,
    machines: () => machines.promise,
  });
  const shown = [];
  store.onToast = (message) => shown.push(message.body);
  const reading = store.refresh();
  store.receive({ type: "toast", data: { title: "Permission Request", body: "Demo asks" } });
  sessions.resolve([]);
  machines.resolve([]);
  await reading;
  assert.deepEqual(shown, ["Demo asks"]);
});
