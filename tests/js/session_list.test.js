import assert from "node:assert/strict";
import { test } from "node:test";
import { load, MemoryStorage } from "./support.js";

const { filterCount, isUnread, listItems, NO_FILTERS } = await load(
  "data/sessions/session-list.js",
);
const { Folds } = await load("data/sessions/folds.js");
const { SeenSessions } = await load("data/sessions/seen.js");
const { AgentCatalog } = await load("data/sessions/agents.js");
const { rowsBetween } = await load("lib/lists/row-list.js");
const { initials } = await load("views/sessions/rows.js");

const NOW = 1_000_000_000;
const DAY = 86_400_000;

const session = (id, { path = "/home/dev/shop", machineId = "m", ...more } = {}) => ({
  id,
  active: true,
  updatedAt: 1,
  ...more,
  metadata: { flavor: "codex", name: id, path, machineId, homeDir: "/home/dev", ...more.metadata },
});

const ended = (id, more = {}) => session(id, { active: false, ...more });

const FACTS = {
  machines: new Map(),
  catalog: new AgentCatalog(),
  seen: new SeenSessions(new MemoryStorage(), NOW),
  openId: null,
  filters: NO_FILTERS,
  foldOf: () => undefined,
  now: NOW,
};

/** The items of the list, as short texts. */
function shown(sessions, more = {}) {
  const facts = {
    ...FACTS,
    sessions: new Map(sessions.map((each) => [each.id, each])),
    seen: new SeenSessions(new MemoryStorage(), NOW),
    ...more,
    filters: { ...NO_FILTERS, ...more.filters },
  };
  return listItems(facts).map((item) => {
    if (item.kind === "title") return `# ${item.text}`;
    if (item.kind === "project")
      return `${item.isOpen ? "v" : ">"} ${item.project.name} ${item.project.active}/${item.project.sessions.length}`;
    if (item.kind === "earlier") return `${item.isOpen ? "v" : ">"} ${item.count} earlier`;
    return item.session.id;
  });
}

test("what needs the person stands first, then what is pinned, then the projects", () => {
  const asking = session("asking", { agentState: { requests: { r: { tool: "Run" } } } });
  const pinned = ended("pinned", { globalPinned: true });
  const items = shown([ended("old"), session("new", { updatedAt: 5 }), pinned, asking]);
  assert.deepEqual(items, [
    ...["# Needs attention", "asking"],
    ...["# Pinned", "pinned"],
    ...["v shop 1/2", "new", "old"],
  ]);
  assert.deepEqual(shown([]), []);
});

test("a project counts its sessions that are listed above it", () => {
  const asking = session("asking", { agentState: { requests: { r: { tool: "Run" } } } });
  const pinned = ended("pinned", { globalPinned: true });
  const elsewhere = session("other", { path: "/home/dev/blog", globalPinned: true });
  const sessions = [session("a"), ended("b"), asking, pinned, elsewhere];
  const [project] = listItems({ ...FACTS, sessions: new Map(sessions.map((s) => [s.id, s])) })
    .filter(({ kind }) => kind === "project")
    .map((item) => item.project);
  assert.deepEqual([project.running, project.total], [2, 4]);
  assert.deepEqual(
    [...project.others, ...project.sessions].map(({ id }) => id),
    ["asking", "pinned", "a", "b"], // what its menu is for
  );
});

test("a project is a directory on a machine, and a worktree belongs to the one that it was made from", () => {
  const worktree = session("tree", {
    path: "/home/dev/shop-tree",
    metadata: { worktree: { basePath: "/home/dev/shop", branch: "b" } },
  });
  const elsewhere = session("other", { machineId: "n" });
  const home = session("home", { path: "/home/dev" });
  assert.deepEqual(shown([session("main"), worktree, elsewhere, home]), [
    ...["v ~ 1/1", "home"],
    ...["v shop 2/2", "main", "tree"],
    ...["v shop 1/1", "other"],
  ]);
  assert.deepEqual(shown([session("none", { path: null })]), ["v No directory 1/1", "none"]);
});

test("thirty ended sessions of a project are one row, until a person opens it", () => {
  const many = Array.from({ length: 30 }, (_, number) => ended(`e${number}`));
  assert.deepEqual(shown(many), ["> shop 0/30"]);
  const key = "m:/home/dev/shop";
  assert.equal(shown(many, { foldOf: (wanted) => wanted === key || undefined }).length, 31);
  assert.deepEqual(shown([session("now"), ...many]), ["v shop 1/31", "now", "> 30 earlier"]);
  const open = shown([session("now"), ...many], {
    foldOf: (wanted) => wanted === `earlier:${key}` || undefined,
  });
  assert.equal(open.length, 33);
  assert.equal(open[2], "v 30 earlier");
});

test("a project with news or with the session on screen is open", () => {
  const sessions = [ended("a"), ended("b", { path: "/home/dev/blog", updatedAt: 2 })];
  assert.deepEqual(shown(sessions), ["> blog 0/1", "> shop 0/1"]);
  assert.deepEqual(shown(sessions, { openId: "a" }), ["> blog 0/1", "v shop 0/1", "a"]);
  const news = [ended("a", { updatedAt: NOW + 1 }), sessions[1]];
  assert.deepEqual(shown(news), ["v shop 0/1", "a", "> blog 0/1"]);
});

test("an ended session without any message has no news", () => {
  const facts = { seen: new SeenSessions(new MemoryStorage(), 0), openId: null };
  assert.equal(isUnread(ended("a", { hasConversationContent: false }), facts), false);
  assert.equal(isUnread(ended("a"), facts), true);
  assert.equal(isUnread(session("a", { hasConversationContent: false }), facts), true);
  assert.equal(isUnread(ended("a"), { ...facts, openId: "a" }), false);
});

test("a search finds every word in title, path, agent and id, and opens what holds it", () => {
  const sessions = [ended("Apple pie"), ended("Apple"), session("Pear", { path: "/home/dev/pie" })];
  const found = (text) => shown(sessions, { filters: { text } });
  assert.deepEqual(found("apple PIE"), ["v shop 0/1", "Apple pie"]);
  assert.deepEqual(found("pie"), ["v pie 1/1", "Pear", "v shop 0/1", "Apple pie"]);
  assert.deepEqual(found("codex apple"), ["v shop 0/2", "Apple pie", "Apple"]);
  assert.deepEqual(found("zzz"), []);
});

test("a search finds a session by the beginning of its id, and not by a digit within it", () => {
  const named = (id, name) => ended(id, { metadata: { name } });
  const sessions = [named("4bd3a1c0-93", "Old 1"), named("77aa0b12-13", "Old 3")];
  const found = (text) => shown(sessions, { filters: { text } }).slice(1);
  assert.deepEqual(found("old 3"), ["77aa0b12-13"]);
  assert.deepEqual(found("4bd3"), ["4bd3a1c0-93"]);
  assert.deepEqual(found("4bd3a1c0-93"), ["4bd3a1c0-93"]);
});

test("filters narrow the list, each by itself and together", () => {
  const sessions = [
    session("working", { thinking: true, updatedAt: NOW - 2 * DAY }),
    session("ready", { updatedAt: NOW, metadata: { flavor: "claude" } }),
    ended("over", { machineId: "n", updatedAt: NOW + 1 }),
    session("asking", { pendingRequestsCount: 1, agentState: undefined, updatedAt: NOW }),
  ];
  const ids = (filters) => shown(sessions, { filters }).filter((line) => /^[a-z]+$/.test(line));
  assert.deepEqual(ids({ state: "working" }), ["working"]);
  assert.deepEqual(ids({ state: "active" }), ["ready"]);
  assert.deepEqual(ids({ state: "ended" }), ["over"]);
  assert.deepEqual(ids({ state: "waiting" }), ["asking"]);
  assert.deepEqual(ids({ agent: "claude" }), ["ready"]);
  assert.deepEqual(ids({ machine: "n" }), ["over"]);
  assert.deepEqual(ids({ days: 1 }).sort(), ["asking", "over", "ready"]);
  assert.deepEqual(ids({ unread: true }), ["over"]);
  assert.deepEqual(ids({ days: 1, agent: "codex", state: "ended" }), ["over"]);
  assert.equal(filterCount({ ...NO_FILTERS, text: "x", days: 1, unread: true }), 2);
});

test("what a person folded is kept on the device, the latest choices of many", () => {
  const storage = new MemoryStorage();
  const folds = new Folds(storage);
  assert.equal(folds.get("a"), undefined);
  folds.set("a", false);
  assert.equal(new Folds(storage).get("a"), false);
  for (let number = 0; number < 600; number += 1) folds.set(`p${number}`, true);
  assert.equal(new Folds(storage).get("a"), undefined);
  assert.equal(new Folds(storage).get("p599"), true);
  assert.equal(new Folds(new MemoryStorage({ "hapi.folds": "{" })).get("a"), undefined);
});

test("the rows in sight are those between two heights", () => {
  const tops = [0, 10, 30, 40, 50]; // four rows
  assert.deepEqual(rowsBetween(tops, 0, 5), [0, 1]);
  assert.deepEqual(rowsBetween(tops, 10, 30), [1, 3]);
  assert.deepEqual(rowsBetween(tops, 35, 1000), [2, 4]);
  assert.deepEqual(rowsBetween(tops, -100, 1000), [0, 4]);
  assert.deepEqual(rowsBetween([0], -10, 100), [0, 0]);
});

test("an agent's sign is two letters of its label", () => {
  assert.deepEqual(["Claude Code", "Codex", "OpenCode", "Gemini CLI", "x", ""].map(initials), [
    "CC",
    "Co",
    "OC",
    "GC",
    "X",
    "?",
  ]);
});
