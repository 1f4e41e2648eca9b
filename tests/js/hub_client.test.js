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
