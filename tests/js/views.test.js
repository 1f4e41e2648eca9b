import assert from "node:assert/strict";
import { test } from "node:test";
import { installDom, load, settle } from "./support.js";

installDom();
const { append, fill, h, keyed, keyedNode } = await load("lib/dom.js");
const { SessionActions } = await load("views/chat/actions.js");
const { announcementOf } = await load("views/chat/announcements.js");
const { drawBlock } = await load("views/chat/blocks/block.js");
const { deliveryLabel } = await load("views/chat/blocks/delivery.js");
const { headerFacts } = await load("views/chat/header.js");
const { noticeOf } = await load("views/chat/notice.js");
const { planTitle } = await load("views/chat/blocks/plan.js");
const { answersOf } = await load("views/chat/blocks/questions.js");
const { healthLine } = await load("views/machine/home.js");
const { refusalText } = await load("views/sessions/spawn.js");
const { hubProblem } = await load("views/shell/banner.js");
const { loginProblem } = await load("views/shell/login.js");
const { pageTitle } = await load("views/shell/title.js");
const { AgentCatalog } = await load("data/sessions/agents.js");
const { ApiError, Unreachable } = await load("lib/errors.js");

const catalog = new AgentCatalog();
const session = (more = {}) => ({
  id: "s",
  active: true,
  updatedAt: 1,
  metadata: { flavor: "codex" },
  ...more,
});

// --- DOM ---

test("children are nodes, texts and lists of them; what is absent is left out", () => {
  const node = h(
    "p",
    { class: "a", title: null, hidden: false, "data-x": true },
    "1",
    [null, ["<b>", false]],
    2,
    undefined,
  );
  assert.equal(node.outerHTML, '<p class="a" data-x="">1&lt;b&gt;2</p>');
  assert.equal(append(h("i"), 0).textContent, "0");
});

test("a keyed list keeps the nodes of items that stay and redraws those that changed", () => {
  const parent = h("ul");
  fill(parent, "nothing yet");
  const draw = (items) =>
    keyed(
      parent,
      items,
      ([key]) => key,
      ([, version]) => version,
      ([key, version]) => h("li", null, `${key}${version}`),
    );
  draw([
    ["a", 1],
    ["b", 1],
    ["c", 1],
  ]);
  const [a, b, c] = parent.childNodes;
  draw([
    ["c", 1],
    ["x", 1],
    ["a", 2],
  ]);
  assert.equal(parent.textContent, "c1x1a2");
  assert.equal(parent.childNodes[0], c);
  assert.notEqual(parent.childNodes[2], a);
  assert.equal(b.parentNode, null);
  assert.equal(keyedNode(parent, "c"), c);
  fill(parent, "empty");
  assert.equal(keyedNode(parent, "c"), null);
  draw([["a", 1]]);
  assert.equal(parent.textContent, "a1");
});

// --- blocks ---

const context = { active: true, expanded: new Map(), decisions: new Map() };

test("a tool call that needs approval has its three buttons, none once it is on its way", () => {
  const request = { tool: "Run", arguments: {} };
  const block = {
    kind: "tool",
    key: "tool:c",
    version: "",
    at: 1,
    name: "Run",
    requestId: "c",
    request,
  };
  const html = () => drawBlock(block, context).outerHTML;
  assert.match(html(), /Needs approval.*Allow this\?.*Allow.*Allow for session.*Deny/);
  assert.doesNotMatch(html(), /is-busy/);
  context.decisions.set("c", { choice: "deny" });
  assert.match(html(), /button danger is-busy/);
  context.decisions.set("c", { choice: "deny", error: "lost" });
  assert.doesNotMatch(html(), /is-busy/);
  assert.match(html(), /role="alert">lost/);
});

test("each state of a message has its words and its ways out", () => {
  const block = (state, more = {}) => ({
    kind: "user",
    key: "u",
    version: "",
    at: 1,
    text: "hi",
    files: [],
    localId: "l",
    state,
    ...more,
  });
  const buttons = (state, more) =>
    drawBlock(block(state, more), context)
      .outerHTML.match(/class="button small">[^<]*|aria-label="Move [^"]*/g)
      ?.map((text) => text.replace(/^.*["][>]?/, "")) ?? [];
  assert.deepEqual(buttons("sent"), []);
  assert.deepEqual(buttons("queued"), ["Edit", "Cancel"]);
  assert.deepEqual(buttons("queued", { canRise: true }), [
    "Move up",
    "Move down",
    "Edit",
    "Cancel",
  ]);
  assert.deepEqual(buttons("scheduled", { scheduledAt: 1 }), ["Send now", "Edit", "Cancel"]);
  assert.deepEqual(buttons("waiting"), ["Discard"]);
  assert.deepEqual(buttons("failed"), ["Try again", "Discard"]);
  assert.deepEqual(buttons("indeterminate"), ["Send again", "Cancel"]);
  assert.equal(deliveryLabel(block("indeterminate")), "Delivery not confirmed");
  assert.equal(deliveryLabel(block("failed", { error: "Too long" })), "Too long");
  assert.equal(deliveryLabel(block("waiting")), "Waiting for the connection…");
  assert.equal(
    deliveryLabel(block("waiting", { error: "No space left for the database" })),
    "No space left for the database. The message is kept here and sent again.",
  );
  assert.equal(
    deliveryLabel(block("waiting", { error: "x", code: "session_inactive" })),
    "Waiting for the session to connect to the hub…",
  );
  assert.match(
    deliveryLabel(block("scheduled", { scheduledAt: Date.now() })),
    /^Scheduled for today at \d/,
  );
});

test("answers are given by the ids of the questions where all have one", () => {
  assert.deepEqual(answersOf([{ id: "a" }, { id: "b" }], [["1"], ["2", "3"]]), {
    a: { answers: ["1"] },
    b: { answers: ["2", "3"] },
  });
  assert.deepEqual(answersOf([{ id: "a", question: "A?" }, { question: "B?" }], [["1"], ["2"]]), {
    "A?": ["1"],
    "B?": ["2"],
  });
});

test("a plan counts what is done", () => {
  assert.equal(planTitle([{ status: "completed" }, { status: "pending" }]), "Plan · 1 of 2 done");
});

// --- parts of the chat ---

test("a session that is not active says why and whether a message resumes it", () => {
  assert.equal(noticeOf(session(), null), null);
  assert.equal(noticeOf(undefined, null), null);
  assert.deepEqual(noticeOf(undefined, "Gone"), { text: "Gone.", resumable: false });
  const ended = session({
    active: false,
    metadata: { lifecycleState: "archived", archiveReason: "User terminated", agentSessionId: "a" },
  });
  assert.deepEqual(noticeOf(ended, null), {
    text: "This session was ended. Send a message to resume the session.",
    resumable: true,
  });
  assert.match(noticeOf(session({ active: false }), null).text, /can't be resumed/);
  const refused = noticeOf(ended, null, false, "You may not resume it.");
  assert.equal(refused.resumable, false);
  assert.match(refused.text, /You may not resume it\.$/);
  assert.deepEqual(noticeOf(session({ active: false }), null, true), {
    text: "Resuming the session…",
    resumable: false,
  });
  const starting = session({
    active: false,
    createdAt: Date.now(),
    metadata: { lifecycleState: "running" },
  });
  assert.equal(noticeOf(starting, null).text, "Starting the agent…");
});

test("a session whose terminal has the agent's own program says so and can be taken over", () => {
  const local = session({ metadata: { host: "box" }, agentState: { controlledByUser: true } });
  assert.deepEqual(noticeOf(local, null), {
    text: "The agent's own program has the terminal of box. A message takes over when its turn has ended.",
    resumable: false,
    isLocal: true,
  });
  assert.equal(noticeOf({ ...local, active: false }, null).isLocal, undefined);
});

test("screen readers hear of requests first, then of work that begins and ends", () => {
  const at = (more) => announcementOf(session(more), catalog);
  const idle = at({});
  const questions = [{ question: "Which colour?" }];
  const question = { tool: "AskUserQuestion", arguments: { questions } };
  const curious = at({ thinking: true, agentState: { requests: { q: question } } });
  assert.equal(curious.after(idle), "codex asks a question: Which colour?");
  const working = at({ thinking: true });
  const asking = at({ thinking: true, agentState: { requests: { a: { tool: "Run" } } } });
  assert.equal(working.after(idle), "codex is working");
  assert.equal(asking.after(working), "codex asks for permission: Run");
  assert.equal(working.after(asking), null);
  assert.equal(idle.after(working), "codex is ready");
  assert.equal(announcementOf(undefined, catalog).after(idle), null);
});

test("the head of a session names agent, machine and directory, and a mode that is not the default", () => {
  const machines = new Map([["m", { id: "m", metadata: { host: "box", homeDir: "/home/dev" } }]]);
  const metadata = { flavor: "codex", machineId: "m", path: "/home/dev/shop" };
  const facts = headerFacts(session({ metadata, permissionMode: "plan" }), { catalog, machines });
  assert.deepEqual(facts, {
    title: "shop",
    state: "active",
    places: ["codex", "box", "~/shop"],
    mode: "plan",
    unrestricted: false,
    damaged: null,
  });
  assert.equal(
    headerFacts(session({ permissionMode: "default" }), { catalog, machines }).mode,
    null,
  );
});

function actionsWith(api, known = session()) {
  const log = [];
  const store = {
    catalog,
    sessions: new Map([["s", known]]),
    openId: "s",
    keepDuring: (_, resume) => resume(),
    changed() {},
    watch: () => () => {},
    refusals: new Map(),
    readSession: async () => {},
    conversations: { catchUp: async () => {} },
    readConversation: async () => {},
    readCatalog: async () => {},
    transcript: () => ({ remove: (...ids) => log.push(["removed", ...ids]) }),
  };
  const outbox = new Proxy(
    {},
    {
      get:
        (_, name) =>
        (...call) =>
          log.push([name, ...call]),
    },
  );
  const actions = new SessionActions({
    store,
    api,
    outbox,
    id: "s",
    go: (path, options) => log.push(["go", path, options]),
    showStatus: (text) => log.push(["status", text]),
    notify: (text) => log.push(["notify", text]),
  });
  return { actions, log, store };
}

test("a message to an active session goes to the outbox and nowhere else", () => {
  const { actions, log } = actionsWith({});
  const attachments = [{ filename: "a.txt", path: "/up/a.txt" }];
  actions.send("hi", attachments);
  assert.deepEqual(log, [["add", "s", "hi", { held: false, attachments, scheduledAt: null }]]);
});

test("a message to an ended session resumes it, and follows it to another id", async () => {
  const ended = session({ active: false, metadata: { agentSessionId: "a" } });
  const { actions, log } = actionsWith({ reopenSession: async () => ({ sessionId: "t" }) }, ended);
  assert.equal(actions.acceptsMessages, true);
  actions.send("go on");
  await settle();
  assert.deepEqual(log, [
    ["add", "s", "go on", { held: true, attachments: [], scheduledAt: null }],
    ["status", "Resuming…"],
    ["moveSession", "s", "t"],
    ["go", "/sessions/t", { replace: true }],
    ["releaseHeld", "t"],
    ["status", null],
  ]);
});

test("a resumed session is read before it is shown, and not shown to a person who has gone elsewhere", async () => {
  const ended = session({ active: false, metadata: { agentSessionId: "a" } });
  const reopenSession = async () => ({ sessionId: "t" });
  const { actions, log, store } = actionsWith({ reopenSession }, ended);
  store.readConversation = async (id) => log.push(["read", id]);
  await actions.resume();
  assert.deepEqual(
    log.filter(([name]) => ["read", "go"].includes(name)),
    [
      ["read", "t"],
      ["go", "/sessions/t", { replace: true }],
    ],
  );
  log.length = 0;
  store.openId = "other";
  await actions.resume();
  assert.ok(log.every(([name]) => name !== "go"));
});

test("a resume that fails says why, and the message has failed with it", async () => {
  const ended = session({ active: false, metadata: { agentSessionId: "a" } });
  const refused = async () => {
    throw new ApiError(409, null, "Not now");
  };
  const { actions, log } = actionsWith({ reopenSession: refused }, ended);
  actions.send("go on");
  await settle();
  assert.deepEqual(log.slice(1), [
    ["status", "Resuming…"],
    ["notify", "Not now"],
    ["status", null],
    ["failHeld", "s", "Not now"],
  ]);
});

test("a message that the agent has received can't be taken back", async () => {
  const block = { text: "hi", localId: "l", messageId: "m" };
  const taken = actionsWith({ cancelMessage: async () => ({ status: "cancelled" }) });
  assert.equal(await taken.actions.cancel(block), "hi");
  assert.deepEqual(taken.log, [["removed", "m", "l"]]);
  const late = actionsWith({ cancelMessage: async () => ({ status: "invoked" }) });
  assert.equal(await late.actions.cancel(block), null);
  assert.deepEqual(late.log, [["notify", "The agent has already received this message."]]);
});

test("a decision that is not delivered can be made again, one that came too late is dropped", async () => {
  const request = { tool: "Run" };
  const failing = (error) => ({
    answerPermission: async () => {
      throw error;
    },
  });
  const lost = actionsWith(failing(new Unreachable()));
  await lost.actions.decide("r", request, "allow");
  assert.match(lost.actions.decisions.get("r").error, /hub does not respond/);
  const late = actionsWith(failing(new ApiError(404, null, "gone")));
  await late.actions.decide("r", request, "allow");
  assert.equal(late.actions.decisions.size, 0);
  assert.match(String(late.log), /notify,.*answered elsewhere/);
  const waiting = session({ agentState: { requests: { r: request } } });
  const unknown = actionsWith(failing(new ApiError(404, null, "gone")), waiting);
  await unknown.actions.decide("r", request, "allow");
  assert.match(unknown.actions.decisions.get("r").error, /did not take this answer/);
});

test("a session that can't be read says so; one that does not exist for good", async (t) => {
  t.mock.timers.enable({ apis: ["setTimeout"] });
  const { actions, store } = actionsWith({});
  store.readConversation = async () => {
    throw new Unreachable();
  };
  await actions.open();
  assert.match(actions.problem, /hub does not respond/);
  assert.equal(actions.acceptsMessages, false);
  store.sessions.delete("s");
  assert.equal(actions.isGone, false, "a hub that does not respond says nothing of the session");
  assert.equal(actions.isUnread, true);
  store.sessions.set("s", session());
  store.readConversation = async () => {};
  t.mock.timers.tick(2000);
  await settle();
  assert.equal(actions.problem, null);
  let reads = 0;
  store.sessions.delete("s");
  store.readConversation = async () => {
    reads += 1;
    store.refusals.set("s", new ApiError(404, null, "Session not found"));
    throw store.refusals.get("s");
  };
  await actions.open();
  assert.match(actions.problem, /does not exist/);
  assert.deepEqual([actions.isGone, actions.isUnread], [true, false]);
  actions.followRefusal();
  t.mock.timers.tick(60_000);
  await settle();
  assert.equal(reads, 1);
});

test("a session that did not exist is opened once the hub tells of it", async () => {
  const { actions, store } = actionsWith({});
  store.sessions.delete("s");
  store.refusals.set("s", new ApiError(404, null, "Session not found"));
  actions.followRefusal();
  assert.match(actions.problem, /does not exist/);
  store.refusals.delete("s"); // the connection is made anew
  actions.followRefusal();
  assert.match(actions.problem, /does not exist/);
  store.sessions.set("s", session());
  actions.followRefusal();
  await settle();
  assert.equal(actions.problem, null);
});

// --- lists, forms, the frame ---

test("a machine's line shows its load, or only that it is online", () => {
  assert.equal(healthLine({ cpuPercent: 12.4, memoryPercent: 50 }), "CPU 12 % · memory 50 %");
  assert.equal(healthLine(null), "online");
});

test("a refused start is explained", () => {
  const choice = {
    machine: { id: "m", metadata: { host: "box", workspaceRoots: ["/a", "/b"] } },
    agent: "codex",
  };
  const text = (answer) => refusalText(answer, choice, catalog, "/new");
  assert.equal(
    text({ code: "agent_unavailable", message: "not found" }),
    "codex can't start on box: not found",
  );
  assert.equal(text({ code: "outside_workspace_roots" }), "box only allows sessions in /a, /b.");
  assert.match(
    text({ message: "Directory creation requires approval: x" }),
    /^\/new does not exist on box/,
  );
  assert.equal(text({ message: "process 7 exited (1)" }), "process 7 exited (1)");
  assert.equal(text({}), "The machine could not start the session.");
});

test("a login that fails says whether it was the token", () => {
  assert.match(loginProblem(new ApiError(401, null, "x")), /rejected this token/);
  assert.match(loginProblem(new Unreachable()), /hub does not respond/);
});

test("the line across the top says why the hub takes no messages although it answers", () => {
  const live = { connection: { phase: "live" }, outbox: { refusal: null }, readProblem: null };
  assert.equal(hubProblem(live), null);
  assert.equal(
    hubProblem({ ...live, outbox: { refusal: "No space left" } }),
    "No space left. Your messages are kept here and sent again.",
  );
  assert.equal(hubProblem({ ...live, readProblem: "Failed." }), "Failed.");
  assert.match(hubProblem({ ...live, connection: { phase: "lost" } }), /can't be reached/);
});

test("the title of the page begins with the sessions that need a person", () => {
  assert.equal(pageTitle("", 0), "HAPI");
  assert.equal(pageTitle("Shop", 0), "Shop · HAPI");
  assert.equal(pageTitle("Shop", 2), "(2) Shop · HAPI");
});
