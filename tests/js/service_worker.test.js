import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { createContext, runInContext } from "node:vm";
import { load, ROOT } from "./support.js";

const { VIEWS } = await load("views/shell/routes.js");
const HOST = "https://host.example";
const BASES = ["/", "/raw/", "/raw/b/"];

/** What the browser has for an origin: caches and windows, which all workers of it see. */
function origin(...windows) {
  const kept = new Map();
  const caches = {
    open: async (name) => {
      if (!kept.has(name)) kept.set(name, new Map());
      const files = kept.get(name);
      return {
        match: async (request) => files.get(request.url ?? request),
        keys: async () => [...files.keys()].map((url) => ({ url })),
        delete: async ({ url }) => files.delete(url),
        add: async (url) => files.set(url, url),
        addAll: async (requests) => {
          for (const request of requests) {
            const url = request.url ?? request;
            files.set(url, `kept by ${name}`);
          }
        },
      };
    },
    keys: async () => [...kept.keys()],
    delete: async (name) => kept.delete(name),
  };
  return { caches, kept, windows: windows.map((path) => ({ url: HOST + path, heard: [] })) };
}

/** The worker of a hub below `base`; `fire` gives it an event, and returns what it answered. */
function workerOf({ caches, windows }, base, build = "b1") {
  const text = readFileSync(join(ROOT, "service-worker.js"), "utf8")
    .replace(/const BUILD = ".*";/, `const BUILD = "${build}";`)
    .replace(/const FILES = \[.*?\];/s, 'const FILES = ["app.js"];');
  const listeners = {};
  const opened = [];
  const clients = {
    claim: async () => {},
    openWindow: async (url) => opened.push(url),
    matchAll: async () =>
      windows.map((window) => ({
        url: window.url,
        postMessage: (data) => window.heard.push(data.path),
        focus: async () => {},
      })),
  };
  const context = createContext({
    ...{ URL, caches, clients, skipWaiting: () => {} },
    registration: { scope: HOST + base },
    Request: class {
      constructor(url) {
        this.url = url;
      }
    },
    Response: { error: () => "error" },
    fetch: async () => ({ status: 502 }), // the proxy is there, the hub is not
    addEventListener: (type, listener) => {
      listeners[type] = listener;
    },
  });
  runInContext(text, context);
  async function fire(type, event = {}) {
    let answer = null;
    const until = (promise) => {
      answer = promise;
    };
    listeners[type]({ ...event, waitUntil: until, respondWith: until });
    return answer;
  }
  const navigate = (path) =>
    fire("fetch", { request: { url: HOST + path, method: "GET", mode: "navigate" } });
  const click = (url) =>
    fire("notificationclick", { notification: { close() {}, data: { url } }, action: "" });
  return { fire, navigate, click, opened };
}

async function installed(place) {
  const workers = BASES.map((base) => workerOf(place, base));
  for (const worker of workers) {
    await worker.fire("install");
    await worker.fire("activate");
  }
  return workers;
}

test("the workers of hubs below different paths have caches of their own", async () => {
  const place = origin();
  const workers = await installed(place);
  assert.deepEqual([...place.kept.keys()], ["hapi-b1", "/raw hapi-b1", "/raw/b hapi-b1"]);
  for (const [number, base] of BASES.entries()) {
    const kept = [...[...place.kept.values()][number].keys()];
    assert.ok(kept.length > 0 && kept.every((url) => url.startsWith(HOST + base)));
    const own = `kept by ${[...place.kept.keys()][number]}`;
    for (const path of ["", "sessions/s", "sessions/s/changes"])
      assert.equal(await workers[number].navigate(base + path), own);
  }
});

test("a new build removes the one before of its own path alone", async () => {
  for (const [number, base] of BASES.entries()) {
    const place = origin();
    await installed(place);
    const next = workerOf(place, base, "b2");
    await next.fire("install");
    await next.fire("activate");
    const expected = ["hapi-b1", "/raw hapi-b1", "/raw/b hapi-b1"];
    const [old] = expected.splice(number, 1);
    assert.deepEqual([...place.kept.keys()], [...expected, old.replace("b1", "b2")]);
  }
});

test("without its hub a page gets the document of no other hub's worker", async () => {
  const [root, raw] = await installed(origin());
  for (const path of ["/raw/", "/raw/sessions/s", "/hapi/sessions/s/changes", "/share/x", "/api/x"])
    assert.equal(await root.navigate(path), null, path); // the browser asks the network
  assert.equal(await raw.navigate("/raw/b/sessions/s"), null);
  assert.equal(await raw.navigate("/sessions/s"), null);
});

test("a notification opens its session in no window of another hub", async () => {
  const place = origin("/raw/sessions/s", "/raw/b/", "/share/x");
  const [root, raw] = await installed(place);
  await root.click("/sessions/of-root");
  assert.deepEqual(root.opened, [`${HOST}/sessions/of-root`]);
  await raw.click("/sessions/of-raw");
  assert.deepEqual(raw.opened, []);
  assert.deepEqual(
    place.windows.map(({ heard }) => heard),
    [["/sessions/of-raw"], [], []],
  );
});

test("every place of the page is known to the worker", async () => {
  const [root] = await installed(origin());
  for (const place of Object.keys(VIEWS))
    assert.notEqual(await root.navigate(`/${place.replace("*", "s")}`), null, place);
});
