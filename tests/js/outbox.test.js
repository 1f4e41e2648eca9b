import assert from "node:assert/strict";
import { mock, test } from "node:test";
import { deferred, load, MemoryStorage, settle } from "./support.js";

const { Outbox, randomId } = await load("data/store/outbox.js");
const { aheadOf, behind, movedQueue } = await load("data/conversation/queue.js");
const { localDateTime, suggestedTimes, timeProblem } = await load("data/composer/schedule.js");
const { ApiError, Unreachable } = await load("lib/errors.js");

/** An API that keeps what it is sent; `answers` are taken one after the other. */
function api(...answers) {
  const sent = [];
  return {
    sent,
    async sendMessage(_, text) {
      sent.push(text);
      const answer = answers.shift();
      if (answer instanceof Error) throw answer;
      return answer;
    },
  };
}

const states = (outbox, id = "s") => outbox.of(id).map(({ text, state }) => [text, state]);

test("messages of a session go out one after the other, in their order", async () => {
  const first = deferred();
  const hub = api(first.promise);
  const outbox = new Outbox(hub, new MemoryStorage());
  outbox.add("s", "one");
  outbox.add("s", "two");
  assert.deepEqual(hub.sent, ["one"]);
  first.resolve();
  await settle();
  assert.deepEqual(hub.sent, ["one", "two"]);
  assert.deepEqual(states(outbox), [
    ["one", "posted"],
    ["two", "posted"],
  ]);
});

test("a message that does not reach the hub is sent again, and those behind it wait", async () => {
  mock.timers.enable({ apis: ["setTimeout"] });
  try {
    const hub = api(new Unreachable());
    const outbox = new Outbox(hub, new MemoryStorage());
    outbox.add("s", "one");
    outbox.add("s", "two");
    await settle();
    assert.deepEqual(states(outbox), [
      ["one", "waiting"],
      ["two", "waiting"],
    ]);
    mock.timers.tick(1000);
    await settle();
    assert.deepEqual(hub.sent, ["one", "one", "two"]);
  } finally {
    mock.timers.reset();
  }
});

test("a message that the hub cannot store is kept with the hub's own sentence, and sent again", async () => {
  mock.timers.enable({ apis: ["setTimeout"] });
  try {
    const hub = api(
      new ApiError(503, null, "The hub's database was deleted"),
      new ApiError(507, null, "No space left for the database"),
      new Unreachable(),
    );
    const outbox = new Outbox(hub, new MemoryStorage());
    outbox.add("s", "one");
    await settle();
    assert.deepEqual(states(outbox), [["one", "waiting"]]);
    assert.equal(outbox.of("s")[0].error, "The hub's database was deleted");
    assert.equal(outbox.refusal, "The hub's database was deleted");
    mock.timers.tick(1000);
    await settle();
    assert.equal(outbox.refusal, "No space left for the database");
    mock.timers.tick(2000);
    await settle();
    assert.deepEqual([outbox.of("s")[0].error, outbox.refusal], [null, null]);
    mock.timers.tick(4000);
    await settle();
    assert.deepEqual(states(outbox), [["one", "posted"]]);
    assert.equal(outbox.refusal, null);
  } finally {
    mock.timers.reset();
  }
});

test("a message waits for a session that has not yet connected to a hub that was restarted", async () => {
  mock.timers.enable({ apis: ["setTimeout", "Date"], now: 1_000_000 });
  const inactive = () => new ApiError(409, "session_inactive", "Session is inactive");
  try {
    const hub = api(inactive(), undefined);
    const outbox = new Outbox(hub, new MemoryStorage());
    outbox.add("s", "one");
    await settle();
    assert.deepEqual(states(outbox), [["one", "waiting"]]);
    assert.equal(outbox.refusal, null);
    mock.timers.tick(1000);
    await settle();
    assert.deepEqual(hub.sent, ["one", "one"]);
    assert.deepEqual(states(outbox), [["one", "posted"]]);

    const never = new Outbox(api(...Array.from({ length: 20 }, inactive)), new MemoryStorage());
    never.add("s", "two");
    for (let second = 0; second < 90; second += 1) {
      await settle();
      mock.timers.tick(1000);
    }
    await settle();
    assert.match(never.of("s")[0].error, /has ended. Resume it first/);
    assert.deepEqual(states(never), [["two", "failed"]]);

    const ended = new Outbox(api(inactive()), new MemoryStorage());
    ended.hasEnded = () => true;
    ended.add("s", "three");
    await settle();
    assert.deepEqual(states(ended), [["three", "failed"]]);
  } finally {
    mock.timers.reset();
  }
});

test("a message that the hub refuses has failed, can be tried again, and holds up no other", async () => {
  const hub = api(new ApiError(400, "bad", "Not like this"));
  const outbox = new Outbox(hub, new MemoryStorage());
  const localId = outbox.add("s", "one");
  outbox.add("s", "two");
  await settle();
  assert.deepEqual(states(outbox), [
    ["one", "failed"],
    ["two", "posted"],
  ]);
  assert.equal(outbox.of("s")[0].error, "Not like this");
  outbox.retry(localId);
  await settle();
  assert.equal(outbox.of("s")[0].state, "posted");
});

test("a held message waits until its session is active", async () => {
  const hub = api();
  const outbox = new Outbox(hub, new MemoryStorage());
  outbox.add("s", "one", { held: true });
  await settle();
  assert.deepEqual(hub.sent, []);
  outbox.releaseHeld("s");
  await settle();
  assert.deepEqual(hub.sent, ["one"]);
});

test("a held message fails with the reason why its session could not be resumed", () => {
  const outbox = new Outbox(api(), new MemoryStorage());
  outbox.add("s", "one", { held: true });
  outbox.failHeld("s", "offline");
  assert.deepEqual(
    outbox.of("s").map(({ state, error }) => [state, error]),
    [["failed", "offline"]],
  );
});

test("what the hub does not have survives a reload, and what it has does not", async () => {
  const storage = new MemoryStorage();
  const before = new Outbox(api(undefined, new ApiError(400, null, "no")), storage);
  before.add("s", "posted");
  before.add("s", "failed");
  before.add("s", "held", { held: true });
  await settle();
  const after = new Outbox(api(), storage);
  assert.deepEqual(states(after), [
    ["failed", "waiting"],
    ["held", "waiting"],
  ]);
});

test("storage that is broken, full or forbidden does not keep a message from being sent", async () => {
  const hub = api();
  const storage = new MemoryStorage({ "hapi.outbox": "{not json" });
  storage.setItem = () => {
    throw new Error("full");
  };
  new Outbox(hub, storage).add("s", "one");
  await settle();
  assert.deepEqual(hub.sent, ["one"]);
});

test("messages follow a session that goes on under another id", () => {
  const outbox = new Outbox(api(), new MemoryStorage());
  outbox.add("s", "one", { held: true });
  outbox.moveSession("s", "t");
  assert.deepEqual(states(outbox, "t"), [["one", "held"]]);
});

test("a message that the hub has confirmed, or cancelled elsewhere, is gone", async () => {
  const outbox = new Outbox(api(), new MemoryStorage());
  const localId = outbox.add("s", "confirmed");
  outbox.add("s", "cancelled elsewhere");
  outbox.add("s", "held", { held: true });
  await settle();
  outbox.confirm(localId);
  outbox.forgetPosted("s", () => false);
  assert.deepEqual(states(outbox), [["held", "held"]]);
  assert.equal(await outbox.discard(outbox.of("s")[0].localId), "held");
  assert.deepEqual(states(outbox), []);
});

test("ids are UUIDs and differ", () => {
  const ids = new Set(Array.from({ length: 50 }, randomId));
  assert.equal(ids.size, 50);
  for (const id of ids)
    assert.match(id, /^[\da-f]{8}-[\da-f]{4}-4[\da-f]{3}-[89ab][\da-f]{3}-[\da-f]{12}$/);
});

test("attachments are sent with their message, also after a reload", async () => {
  const storage = new MemoryStorage();
  const attachments = [{ filename: "a.txt", path: "/up/a.txt" }];
  const first = new Outbox({ sendMessage: () => deferred().promise }, storage);
  first.add("s", "look", { attachments });
  const sent = [];
  const again = new Outbox(
    {
      sendMessage: async (_, text, __, { attachments: files }) => sent.push([text, files]),
    },
    storage,
  );
  again.retryAll();
  await settle();
  assert.deepEqual(sent, [["look", attachments]]);
});

/** Locks as browsers have them, shared by the tabs of a device. */
class MemoryLocks {
  #held = new Map();

  async request(name, { ifAvailable }, run) {
    const held = this.#held.get(name);
    if (held && ifAvailable) return run(null);
    const turn = (held ?? Promise.resolve()).then(() => run({ name }));
    const over = turn.then(
      () => {},
      () => {},
    );
    this.#held.set(name, over);
    over.then(() => {
      if (this.#held.get(name) === over) this.#held.delete(name);
    });
    return turn;
  }
}

/** Two outboxes on one storage that hear of each other's changes, as those of two tabs do. */
function twoTabs(hub, locks = new MemoryLocks()) {
  const storage = new MemoryStorage();
  const tabs = [];
  const storageOf = (index) => ({
    get length() {
      return storage.length;
    },
    key: (at) => storage.key(at),
    getItem: (key) => storage.getItem(key),
    setItem(key, value) {
      storage.setItem(key, value);
      tabs[1 - index]?.onStorage({ key, newValue: value });
    },
    removeItem(key) {
      if (storage.getItem(key) === null) return;
      storage.removeItem(key);
      tabs[1 - index]?.onStorage({ key, newValue: null });
    },
  });
  tabs.push(new Outbox(hub, storageOf(0), locks));
  tabs.push(new Outbox(hub, storageOf(1), locks));
  return [...tabs, storage];
}

test("neither of two tabs loses what the other has not sent", async () => {
  const [one, two, storage] = twoTabs(
    api(new ApiError(400, "", "no"), new ApiError(400, "", "no")),
  );
  one.add("s", "from the first");
  await settle();
  two.add("t", "from the second");
  await settle();
  const reloaded = new Outbox(api(), storage);
  assert.deepEqual(states(reloaded), [["from the first", "waiting"]]);
  assert.deepEqual(states(reloaded, "t"), [["from the second", "waiting"]]);
  assert.deepEqual(states(two), [["from the first", "waiting"]]);
});

test("a message is sent by one tab, and gone in both when the hub has confirmed it", async () => {
  const answer = deferred();
  const hub = api(answer.promise);
  const [one, two] = twoTabs(hub);
  const localId = one.add("s", "once");
  await settle();
  two.retryAll();
  assert.equal(await two.discard(localId), null);
  answer.resolve();
  await settle();
  assert.deepEqual(hub.sent, ["once"]);
  assert.deepEqual(states(two), [["once", "posted"]]);
  one.confirm(localId);
  assert.deepEqual([states(one), states(two)], [[], []]);
});

test("a tab sends what another one has left, unless that was given up", async () => {
  mock.timers.enable({ apis: ["setTimeout"] });
  try {
    const hub = api(new Unreachable(), new Unreachable(), undefined, undefined);
    const [one, two] = twoTabs(hub);
    one.add("s", "left");
    await settle();
    const given = one.add("t", "given up");
    await settle();
    assert.equal(await one.discard(given), "given up");
    assert.deepEqual(states(two, "t"), []);
    mock.timers.tick(5000); // the first tab may be closed by now; both try
    await settle();
    assert.deepEqual(hub.sent.filter((text) => text === "left").length, 2);
    assert.deepEqual(hub.sent.filter((text) => text === "given up").length, 1);
    assert.deepEqual([states(one), states(two)], [[["left", "posted"]], [["left", "posted"]]]);
  } finally {
    mock.timers.reset();
  }
});

test("messages of a build that kept one list are taken over", () => {
  const former = [{ localId: "1", sessionId: "s", text: "old", createdAt: 1 }, { text: "odd" }];
  const storage = new MemoryStorage({ "hapi.outbox": JSON.stringify(former) });
  assert.deepEqual(states(new Outbox(api(), storage)), [["old", "waiting"]]);
  assert.equal(storage.getItem("hapi.outbox"), null);
  assert.deepEqual(states(new Outbox(api(), storage)), [["old", "waiting"]]);
});

/** A hub with messages that wait; `fates` tells what becomes of those that are taken back. */
function queueingHub(fates = {}) {
  const calls = [];
  return {
    calls,
    async sendMessage(_, text) {
      calls.push(`send ${text}`);
    },
    async cancelMessage(_, localId) {
      calls.push(`cancel ${localId}`);
      return { status: fates[localId] ?? "cancelled" };
    },
  };
}

test("a message that is sent in another's place goes out when that has been taken back", async () => {
  const hub = queueingHub({ b: "invoked", c: "busy" });
  const outbox = new Outbox(hub, new MemoryStorage());
  outbox.sendAgain(
    "s",
    ["a", "b", "c"].map((localId) => ({ localId, text: localId, attachments: [] })),
  );
  await settle();
  assert.deepEqual(hub.calls, ["cancel a", "send a", "cancel b", "cancel c"]);
  assert.deepEqual(states(outbox), [
    ["a", "posted"],
    ["c", "failed"],
  ]);
});

test("a message that another tab has changed is not sent twice, and none is lost in a reload", async () => {
  const missing = {
    async cancelMessage() {
      return { status: "cancelled", localId: null };
    },
  };
  const hub = Object.assign(queueingHub(), missing);
  const storage = new MemoryStorage();
  const outbox = new Outbox(hub, storage);
  outbox.sendAgain("s", [{ localId: "a", text: "a", attachments: [] }]);
  await settle();
  assert.deepEqual([hub.calls, states(outbox)], [[], []]);
  hub.cancelMessage = () => new Promise(() => {}); // the tab is closed before the answer comes
  outbox.sendAgain("s", [{ localId: "b", text: "b", attachments: [] }]);
  await settle();
  Object.assign(hub, missing);
  const reloaded = new Outbox(hub, storage);
  reloaded.retryAll();
  await settle();
  assert.deepEqual(hub.calls, ["send b"]);
});

test("a message that was edited goes behind those that were ahead of it", () => {
  const queued = ["a", "b", "c", "d"].map((localId) => ({ localId }));
  assert.deepEqual(aheadOf(queued, "c"), ["a", "b"]);
  const ids = (left, ahead) => behind(left, ahead).map(({ localId }) => localId);
  assert.deepEqual(ids([queued[0], queued[1], queued[3]], ["a", "b"]), ["d"]);
  assert.deepEqual(ids([queued[3]], ["a", "b"]), ["d"]); // the agent has the others
  assert.deepEqual(ids(queued, []), ["a", "b", "c", "d"]);
  assert.deepEqual(ids([], ["a"]), []);
});

test("of messages that wait, those behind the one that moved are sent again", () => {
  const queued = ["a", "b", "c", "d"].map((localId) => ({ localId }));
  const again = (localId, by) => movedQueue(queued, localId, by).map((each) => each.localId);
  assert.deepEqual(again("c", -1), ["b", "d"]);
  assert.deepEqual(again("b", 1), ["b", "d"]);
  assert.deepEqual(again("c", 1), ["c"]);
  assert.deepEqual([again("a", -1), again("d", 1), again("x", 1)], [[], [], []]);
});

test("a message goes out with its time", async () => {
  const sent = [];
  const hub = {
    sendMessage: async (_, text, __, { scheduledAt }) => sent.push([text, scheduledAt]),
  };
  new Outbox(hub, new MemoryStorage()).add("s", "later", { scheduledAt: 5000 });
  await settle();
  assert.deepEqual(sent, [["later", 5000]]);
});

test("times to send later are ahead, and those that hubs refuse are told", () => {
  const now = Date.parse("2026-11-26T22:10:00Z");
  for (const { at } of suggestedTimes(now)) assert.equal(timeProblem(at, now), null);
  assert.match(timeProblem(now - 1, now), /passed/);
  assert.match(timeProblem(now + 8 * 86_400_000, now), /7 days/);
  assert.match(timeProblem(NaN, now), /Choose/);
  assert.equal(new Date(localDateTime(now)).getTime(), now);
});
