import assert from "node:assert/strict";
import { test } from "node:test";
import { load, page, prompt, record } from "./support.js";

const { Transcript } = await load("data/conversation/transcript.js");

const ids = (transcript) => transcript.ordered().map((message) => message.id);

test("without the first page the newest one is read", () => {
  assert.equal(new Transcript().catchUpPosition(), null);
});

test("catching up goes on after the newest message that is not queued", () => {
  const transcript = new Transcript();
  const read = prompt("read", { localId: "a", invokedAt: 77, seq: 4 });
  transcript.addPage(page([read, prompt("queued", { localId: "b" })]));
  assert.deepEqual(transcript.catchUpPosition(), { afterSeq: 4, afterAt: 77, epoch: "e" });
  transcript.forgetPosition();
  assert.equal(transcript.catchUpPosition(), null);
});

test("a page of the newest messages, or one of another epoch, starts the transcript over", () => {
  for (const start of [{}, { direction: "after", reset: true }]) {
    const transcript = new Transcript();
    transcript.addPage(page([record({ type: "message", message: "old" })]));
    const news = record({ type: "message", message: "new" });
    transcript.addPage(
      page([news], { ...start, hasMore: true, nextBeforeSeq: 3, nextBeforeAt: 9 }),
    );
    assert.deepEqual(ids(transcript), [news.id]);
    assert.deepEqual(transcript.olderPosition(), { beforeSeq: 3, beforeAt: 9 });
  }
});

test("a page of missed messages is added", () => {
  const transcript = new Transcript();
  const [first, second] = [1, 2].map((n) => record({ type: "message", message: String(n) }));
  transcript.addPage(page([first]));
  transcript.addPage(page([second], { direction: "after" }));
  assert.deepEqual(ids(transcript), [first.id, second.id]);
});

test("an older page goes before what is known and replaces none of it", () => {
  const transcript = new Transcript();
  const [older, newer] = [1, 2].map((n) => record({ type: "message", message: String(n) }));
  transcript.addPage(page([newer], { hasMore: true, nextBeforeSeq: 2, nextBeforeAt: 2 }));
  transcript.addOlderPage(page([older, { ...newer, content: "stale" }]));
  assert.deepEqual(ids(transcript), [older.id, newer.id]);
  assert.equal(transcript.messages.get(newer.id), newer);
  assert.equal(transcript.olderPosition(), null);
});

test("a message that the agent has received stays received when an older copy comes", () => {
  const transcript = new Transcript();
  const queued = prompt("x", { localId: "a" });
  transcript.upsert(queued);
  transcript.markConsumed(["a"], 50);
  transcript.upsert(queued);
  assert.equal(transcript.messages.get(queued.id).invokedAt, 50);
  assert.equal(transcript.queued().length, 0);
});

test("a newer snapshot of a thought replaces the live one and stands where it stood", () => {
  const transcript = new Transcript();
  const live = record({ type: "reasoning", id: "r", message: "Let", live: true });
  const between = record({ type: "message", message: "between" });
  const final = record({ type: "reasoning", id: "r", message: "Let me see." });
  for (const each of [live, between, final]) transcript.upsert(each);
  assert.deepEqual(ids(transcript), [final.id, between.id]);
});

test("what became of queued messages is taken from the hub's report", () => {
  const transcript = new Transcript();
  for (const localId of ["kept", "taken", "unsure", "gone"]) {
    transcript.upsert(prompt(localId, { localId, id: localId }));
  }
  transcript.settleQueued({
    queuedLocalIds: ["kept"],
    indeterminateLocalIds: ["unsure"],
    invokedLocalMessages: [{ localId: "taken", invokedAt: 9 }],
  });
  assert.deepEqual(
    transcript.queued().map((message) => [message.id, message.deliveryState]),
    [
      ["kept", undefined],
      ["unsure", "indeterminate"],
    ],
  );
  assert.equal(transcript.messages.get("taken").invokedAt, 9);
  assert.equal(transcript.messages.has("gone"), false);
});

test("every change has a revision of its own", () => {
  const transcript = new Transcript();
  const seen = new Set([transcript.revision]);
  const steps = [
    () => transcript.addPage(page([])),
    () => transcript.upsert(prompt("x", { localId: "a" })),
    () => transcript.markDelivery(["a"], "indeterminate"),
    () => transcript.markConsumed(["a"], 1),
    () => transcript.remove(undefined, "a"),
    () => transcript.addOlderPage(page([])),
  ];
  for (const step of steps) {
    step();
    assert.equal(seen.has(transcript.revision), false);
    seen.add(transcript.revision);
  }
});

/** A transcript that shows messages 4 to 6 of a long conversation. */
function farBack() {
  const transcript = new Transcript();
  const messages = [1, 2, 3, 4, 5, 6, 7, 8, 9].map((n) =>
    record({ type: "message", message: String(n) }),
  );
  transcript.addPage(page([messages[8]], { hasMore: true, nextBeforeSeq: 9, nextBeforeAt: 9 }));
  transcript.addAroundPage(
    page(messages.slice(3, 6), {
      direction: "around",
      hasMore: true,
      hasMoreAfter: true,
      nextBeforeSeq: 4,
      nextBeforeAt: 40,
      nextAfterSeq: 6,
      nextAfterAt: 60,
    }),
  );
  return { transcript, messages, named: messages.map((message) => message.id) };
}

test("a page around a message takes the place of what was known, and goes on in both directions", () => {
  const { transcript, messages, named } = farBack();
  assert.deepEqual(ids(transcript), named.slice(3, 6));
  assert.deepEqual(transcript.olderPosition(), { beforeSeq: 4, beforeAt: 40 });
  assert.deepEqual(transcript.newerPosition(), { afterSeq: 6, afterAt: 60, epoch: "e" });
  transcript.addNewerPage(
    page(messages.slice(6, 8), {
      direction: "after",
      hasMore: true,
      nextAfterSeq: 8,
      nextAfterAt: 80,
    }),
  );
  assert.deepEqual(transcript.newerPosition(), { afterSeq: 8, afterAt: 80, epoch: "e" });
  transcript.addNewerPage(page(messages.slice(8), { direction: "after" }));
  assert.equal(transcript.newerPosition(), null);
  assert.deepEqual(ids(transcript), named.slice(3));
});

test("what comes while a part far back is shown waits until the end is reached", () => {
  const { transcript, messages, named } = farBack();
  const news = record({ type: "message", message: "news" });
  transcript.upsert(news);
  assert.deepEqual(ids(transcript), named.slice(3, 6));
  transcript.addNewerPage(page([...messages.slice(6), news], { direction: "after" }));
  const later = record({ type: "message", message: "later" });
  transcript.upsert(later);
  transcript.upsert(later);
  assert.deepEqual(ids(transcript), [...named.slice(3), news.id, later.id]);
});

test("a queued prompt is shown far back, and stands at the end once the agent has it", () => {
  const { transcript, named } = farBack();
  const queued = prompt("wait", { localId: "q" });
  transcript.upsert(queued);
  assert.deepEqual(ids(transcript), [...named.slice(3, 6), queued.id]);
  transcript.markConsumed(["q"], 99_000);
  assert.deepEqual(ids(transcript), named.slice(3, 6));
});

test("a conversation that was left far back begins with its end again", () => {
  const { transcript } = farBack();
  transcript.leave();
  assert.equal(transcript.ready, false);
  assert.equal(transcript.catchUpPosition(), null);
  assert.deepEqual(ids(transcript), []);
});
