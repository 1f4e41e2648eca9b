import assert from "node:assert/strict";
import { test } from "node:test";
import { load } from "./support.js";

const { Api } = await load("data/hub/api.js");

const SENTENCE = "The server at this address is not a HAPI hub.";
const READS = {
  sessions: (api) => api.sessions(),
  session: (api) => api.session("s"),
  machines: (api) => api.machines(),
  messages: (api) => api.messages("s", 50),
  results: (api) => api.search("word"),
  totals: (api) => api.usage("7d", "UTC"),
  sessionId: (api) => api.forkSession("s"),
};

function answering(context, text) {
  context.mock.method(globalThis, "fetch", async () => new Response(text));
  return new Api({ jwt: async () => "jwt" });
}

test("an answer of another form is told in a sentence, whatever it is", async (t) => {
  for (const text of ["null", "{}", "[]", "7", '"text"', "{", "<html>", ""]) {
    const api = answering(t, text);
    for (const [key, read] of Object.entries(READS))
      await assert.rejects(read(api), { message: SENTENCE, code: "not_json" }, `${key}: ${text}`);
    t.mock.restoreAll();
  }
});

test("an answer may be empty where nothing is expected of it", async (t) => {
  assert.deepEqual(await answering(t, "").request("POST", "/api/x"), {});
});

test("what is asked for is taken out of the answer", async (t) => {
  assert.deepEqual(await answering(t, '{"machines": []}').machines(), []);
});

test("a request that finds no hub says so, unless it was given up", async (t) => {
  const found = [];
  const ask = async (answer, signal) => {
    t.mock.method(globalThis, "fetch", answer);
    const api = new Api({ jwt: async () => "jwt" });
    api.onUnreachable = () => found.push(answer);
    await assert.rejects(api.fetch("GET", "/api/sessions", { signal }));
    t.mock.restoreAll();
  };
  const ofBalancer = async () => new Response("<html><h1>503</h1></html>", { status: 503 });
  const refused = async () => Promise.reject(new TypeError("Failed to fetch"));
  const ofHub = async () => new Response('{"error": "The database is busy"}', { status: 503 });
  await ask(ofBalancer);
  await ask(refused);
  await ask(ofHub);
  await ask(refused, AbortSignal.abort());
  assert.deepEqual(found, [ofBalancer, refused]);
});
