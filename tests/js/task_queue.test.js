import assert from "node:assert/strict";
import { test } from "node:test";
import { load } from "./support.js";

const { TaskQueue } = await load("lib/code/task-queue.js");
const { LruCache } = await load("lib/code/lru-cache.js");

/** A queue, with what it has begun and ended. */
function queueWith(timers) {
  timers.enable({ apis: ["setTimeout"] });
  const log = [];
  const queue = new TaskQueue({
    begin: (task, id) => log.push([task, id]),
    end: () => log.push("end"),
    late: (hasStarted) => (hasStarted ? "slow" : "unavailable"),
    done: (task, result) => log.push(`${task}: ${result}`),
    limits: { load: 100, task: 10, idle: 1000 },
  });
  return { queue, log };
}

test("tasks are done one after the other, and each gets its own result", async (t) => {
  const { queue, log } = queueWith(t.mock.timers);
  const results = ["a", "b"].map((task) => queue.add(task));
  assert.deepEqual(log, [["a", 1]]);
  queue.started();
  queue.finish("A");
  assert.deepEqual(log, [["a", 1], "a: A", ["b", 2]]);
  assert.deepEqual(queue.current, { task: "b", id: 2 });
  queue.finish("B");
  assert.deepEqual(await Promise.all(results), ["A", "B"]);
  assert.equal(queue.current, null);
});

test("a worker that does not start or takes too long is ended, and the next task goes on", async (t) => {
  const { queue, log } = queueWith(t.mock.timers);
  const results = ["a", "b", "c"].map((task) => queue.add(task));
  t.mock.timers.tick(100);
  assert.deepEqual(log, [["a", 1], "end", "a: unavailable", ["b", 2]]);
  t.mock.timers.tick(99);
  queue.started();
  t.mock.timers.tick(10);
  assert.deepEqual(log.slice(4), ["end", "b: slow", ["c", 3]]);
  queue.finish("C");
  assert.deepEqual(await Promise.all(results), ["unavailable", "slow", "C"]);
});

test("a worker without tasks is ended after a while", (t) => {
  const { queue, log } = queueWith(t.mock.timers);
  queue.add("a");
  queue.finish("A");
  t.mock.timers.tick(999);
  assert.ok(!log.includes("end"));
  t.mock.timers.tick(1);
  assert.equal(log.at(-1), "end");
});

test("a task that is done while it begins lets the next one begin", async () => {
  const queue = new TaskQueue({
    begin: (task) => queue.finish(task.toUpperCase()),
    end() {},
    late: () => null,
    done() {},
    limits: { load: 100, task: 10, idle: 0 },
  });
  assert.deepEqual(await Promise.all(["a", "b"].map((task) => queue.add(task))), ["A", "B"]);
});

test("what has not been used for longest goes first", () => {
  const dropped = [];
  const cache = new LruCache(
    4,
    (key) => key.length,
    (value) => dropped.push(value),
  );
  cache.set("aa", 1);
  cache.set("bb", 2);
  assert.equal(cache.get("aa"), 1);
  cache.set("cc", 3);
  cache.set("cc", 4);
  assert.deepEqual(
    ["aa", "bb", "cc"].map((key) => cache.get(key)),
    [1, null, 4],
  );
  assert.deepEqual(dropped, [2]);
});
