import assert from "node:assert/strict";
import { test } from "node:test";
import { load } from "./support.js";

const { placeInQueue, SessionReads, waitingRequests } = await load("data/sessions/waiting.js");

const session = (id, requests, more) => ({
  id,
  active: true,
  updatedAt: 1,
  metadata: { name: id },
  agentState: requests && { requests },
  ...more,
});

test("the queue holds the requests of all sessions, the one that has waited longest first", () => {
  const sessions = [
    session("a", { a1: { tool: "x", createdAt: 5 }, a2: { tool: "x", createdAt: 1 } }),
    session("b", { b1: { tool: "x", createdAt: 3 } }),
    session("idle", {}),
    session("ended", { e: { tool: "x" } }, { active: false }),
    session("summary", undefined, { pendingRequestsCount: 2 }),
  ];
  const { requests, unread } = waitingRequests(sessions);
  assert.deepEqual(
    requests.map(({ requestId, title }) => [requestId, title]),
    [
      ["a2", "a"],
      ["b1", "b"],
      ["a1", "a"],
    ],
  );
  assert.deepEqual(unread, ["summary"]);
});

test("the request on screen stays there, and another comes to its place when it is answered", () => {
  const queue = [{ key: "1" }, { key: "2" }, { key: "3" }];
  assert.equal(placeInQueue(queue, "3", 0), 2);
  assert.equal(placeInQueue(queue, "gone", 1), 1);
  assert.equal(placeInQueue(queue, "gone", 3), 2);
  assert.equal(placeInQueue([], "gone", 3), 0);
});

test("a session that cannot be read is asked again after longer and longer waits", () => {
  const reads = new SessionReads();
  const asked = [];
  const delays = [];
  for (let now = 0; now < 1_200_000; now += 1000) {
    if (!reads.begin("a", now)) continue;
    asked.push(now);
    assert.equal(reads.begin("a", now), false, "one at a time");
    delays.push(reads.failed("a", new Error("broken"), now));
  }
  assert.deepEqual(
    delays.slice(0, 8),
    [3, 6, 12, 24, 48, 96, 192, 300].map((s) => s * 1000),
  );
  assert.equal(delays.at(-1), 300_000);
  assert.ok(asked.length < 12, String(asked.length));
  assert.match(reads.problem("a"), /broken/);
  assert.equal(reads.begin("b", 0), true, "each session on its own");
  reads.hurry("a");
  assert.equal(reads.begin("a", 1), true);
  reads.succeeded("a");
  assert.equal(reads.problem("a"), null);
});
