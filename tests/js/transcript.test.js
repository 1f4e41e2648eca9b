import assert from "node:assert/strict";
import { test } from "node:test";
import { load, page, prompt, record } from "./support.js";

const { Transcript } = await load("data/transcript.js");

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
