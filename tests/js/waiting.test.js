import assert from "node:assert/strict";
import { test } from "node:test";
import { load } from "./support.js";

const { placeInQueue, waitingRequests } = await load("data/waiting.js");

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
