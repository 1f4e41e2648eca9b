// The event stream: what it believes of a connection on which nothing arrives.

import assert from "node:assert/strict";
import { afterEach, beforeEach, mock, test } from "node:test";

import { load, settle } from "./support.js";

const { EventStream } = await load("data/hub/events.js");
const { ApiError, Unreachable } = await load("lib/errors.js");

const OPENED =
  'data: {"type":"connection-changed","data":{"subscriptionId":"s1","resume":"ok"}}\n\n';
const HEARTBEAT = 'data: {"type":"heartbeat"}\n\n';

/** An API whose streams the test feeds; `hangs`: connections are never answered. */
class StreamApi {
  jwtRemaining = 1e9;
  hangs = false;
  streams = [];
  attempts = 0;
  probes = 0;
  reported = [];
  report = () => Promise.resolve();

  fetch(_method, _path, { signal }) {
    this.attempts += 1;
    return new Promise((resolve, reject) => {
      const broken = () => reject(new Error("aborted"));
      signal.addEventListener("abort", broken);
      if (this.hangs) return;
      const body = new ReadableStream({
        start: (stream) => {
          this.streams.push(stream);
          signal.addEventListener("abort", () => stream.error(new Error("aborted")));
        },
      });
      resolve({ body });
    });
  }

  send(text) {
    this.streams.at(-1).enqueue(new TextEncoder().encode(text));
  }

  probe() {
    this.probes += 1;
    return Promise.reject(new Error("aborted"));
  }

  reportVisibility(id, visibility) {
    this.reported.push([id, visibility]);
    return this.report();
  }
}

let api, stream, opened;

async function pass(ms) {
  mock.timers.tick(ms);
  for (let turn = 0; turn < 10; turn++) await settle();
}

beforeEach(async () => {
  mock.timers.enable({ apis: ["setTimeout", "Date"] });
  globalThis.document = { visibilityState: "visible" };
  [api, opened] = [new StreamApi(), []];
  stream = new EventStream(api, {
    onEvent: () => {},
    onStatus: () => {},
    onOpen: (resumed) => opened.push(resumed),
    liveSession: () => null,
  });
  stream.start();
  await pass(0);
  api.send(OPENED);
  await pass(0);
  assert.equal(stream.status.phase, "live");
});

afterEach(() => {
  stream.stop();
  mock.timers.reset();
});

test("a stream that is looked at again asks the hub for a sign, and stays when that comes", async () => {
  await pass(20_000);
  stream.check();
  assert.deepEqual(api.reported, [["s1", "visible"]]);
  api.send(HEARTBEAT);
  await pass(0);
  await pass(10_000);
  assert.equal(api.attempts, 1);
  assert.equal(stream.status.phase, "live");
});

test("a stream without a sign is made again within seconds, over idle connections that are dead too", async () => {
  await pass(20_000);
  api.hangs = true;
  stream.check();
  await pass(3000);
  assert.equal(stream.status.phase, "lost");
  assert.equal(api.probes, 5);
  await pass(3000);
  assert.equal(api.attempts, 3);
  api.hangs = false;
  await pass(3000);
  api.send(OPENED);
  await pass(0);
  assert.equal(stream.status.phase, "live");
  assert.equal(opened.length, 2);
});

test("a stream that a balancer keeps while requests reach no hub is made again, and found lost", async () => {
  api.report = () => {
    stream.doubt(); // this request reaches no hub either
    return Promise.reject(new Unreachable());
  };
  api.hangs = true;
  await pass(20_000);
  stream.doubt();
  await pass(2000);
  stream.doubt();
  assert.equal(api.reported.length, 1);
  assert.equal(stream.status.phase, "live");
  await pass(1000);
  assert.equal(stream.status.phase, "lost");
  const { attempts } = api;
  stream.doubt(); // nothing to be found out
  assert.equal(api.reported.length, 1);
  assert.equal(api.attempts, attempts);
});

test("a request that reaches no hub ends no stream on which something arrives", async () => {
  await pass(20_000);
  stream.doubt();
  api.send(HEARTBEAT);
  await pass(0);
  await pass(5000);
  assert.equal(stream.status.phase, "live");
  stream.doubt(); // it is doubted anew
  assert.equal(api.reported.length, 2);
});

test("a stream that was silent for longer than a heartbeat is not waited for", async () => {
  mock.timers.setTime(Date.now() + 60_000); // the computer slept, and no timer ran
  stream.check();
  await pass(0);
  assert.equal(api.attempts, 2);
});

test("a stream that the hub has given up is made again at once", async () => {
  api.report = () => Promise.reject(new ApiError(404, null, "Subscription not found"));
  await pass(10_000);
  stream.check();
  await pass(0);
  assert.equal(api.attempts, 2);
});

test("a stream on which no heartbeat comes is live for 45 seconds at most", async () => {
  await pass(44_000);
  assert.equal(stream.status.phase, "live");
  await pass(1001);
  assert.equal(stream.status.phase, "lost");
});
