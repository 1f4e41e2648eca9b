// Errors of a model's provider, as real agents pass them on: a person reads what to do.

import assert from "node:assert/strict";
import { test } from "node:test";
import { installDom, load, message, prompt, record } from "./support.js";

installDom();
globalThis.location = { pathname: "/" };
const { failedPrompt, modelError } = await load("data/conversation/model-errors.js");
const { blocksOf } = await load("data/conversation/blocks.js");
const { findIn } = await load("data/conversation/find.js");
const { drawBlock } = await load("views/chat/blocks/block.js");

const LOGIN = /does not accept the agent's login/;
const ACCESS = /may not use this model/;
const MODEL = /does not know this model/;
const RATE = /no more requests for the moment/;
const CREDIT = /no credit or quota left/;
const PROVIDER = /a problem of its own/;
const LENGTH = /too long for the model/;
const CONNECTION = /connection to the model's provider failed/;

/** What agents said when a model's provider answered so. */
const TEXTS = [
  [
    ACCESS,
    "unexpected status 403 Forbidden: Your account may not use this model, url: http://localhost/v1/responses\n\n",
  ],
  [
    MODEL,
    "unexpected status 404 Not Found: The model `plain` does not exist, url: http://localhost/v1/responses\n\n",
  ],
  [RATE, "exceeded retry limit, last status: 429 Too Many Requests\n\n"],
  [PROVIDER, "We’re currently experiencing high demand, which may cause temporary errors.\n\n"],
  [
    PROVIDER,
    "unexpected status 529 <unknown status code>: Overloaded, url: http://localhost/v1/responses\n\n",
  ],
  [
    LENGTH,
    '{"type": "error", "error": {"type": "invalid_request_error", "message": "prompt is too long: 250000 tokens > 200000 maximum", "code": 400}}\n\n',
  ],
  [
    CONNECTION,
    "stream disconnected before completion: stream closed before response.completed\n\n",
  ],
  [LOGIN, "Failed to authenticate. API Error: 401 Incorrect API key provided: none"],
  [
    MODEL,
    "There's an issue with the selected model (claude-opus-4-8[1m]). It may not exist or you may not have access to it.",
  ],
  [RATE, "API Error: Request rejected (429) · Rate limit reached, please try again in 20s"],
  [
    CREDIT,
    "API Error: Request rejected (429) · You exceeded your current quota, please check your plan and billing details",
  ],
  [PROVIDER, "API Error: 529 Overloaded. This is a server-side issue, usually temporary"],
  [
    CONNECTION,
    "API Error: API returned an empty or malformed response (HTTP 200) — check for a proxy",
  ],
  [CONNECTION, "API Error: Unable to connect to API (ECONNRESET)"],
  [
    LOGIN,
    "Info: Request failed due to a transient API error. Retrying...Info: Request failed due to a transient API error. Retrying...Error: Authentication failed with provider at http://localhost/v1 (HTTP 401).\n  Check your COPILOT_PROVIDER_API_KEY.",
  ],
  [
    MODEL,
    "Error: Model 'plain' not found on provider at http://localhost/v1 (HTTP 404).\n  Check that the model is available on your provider.",
  ],
  [
    RATE,
    "Error: Failed to get response from the AI model; retried 5 times (total retry wait time: 53.94 seconds) Last error: 429 Rate limit reached, please try again in 20s",
  ],
];

const FAILED = [
  [LENGTH, "Claude prompt failed: Internal error: Prompt is too long"],
  [LOGIN, "Claude prompt failed: Authentication required"],
  [LOGIN, "OpenCode prompt failed: Internal error: Incorrect API key provided: none"],
  [ACCESS, "OpenCode prompt failed: Internal error: Your account may not use this model"],
  [MODEL, "OpenCode prompt failed: Internal error: The model `plain` does not exist"],
  [
    LOGIN,
    'Gemini prompt failed: {"type":"error","error":{"type":"authentication_error","message":"Incorrect API key provided: none","code":401}}',
  ],
  [CONNECTION, "Gemini prompt failed: Incomplete JSON segment at the end"],
  [CONNECTION, "Gemini prompt failed: terminated"],
  [LOGIN, "Mistral Vibe prompt failed: Invalid API key (from env var SCRIPTED_KEY)."],
  [LOGIN, "Mistral Vibe prompt failed: The scripted credential was rejected."],
  [LENGTH, "Qwen Code prompt failed: Internal error: 400 prompt is too long: 250000 tokens"],
  [
    CONNECTION,
    "Qwen Code prompt failed: Internal error: Streaming request received a non-SSE response (HTTP 200, Content-Type: text/html).",
  ],
];

test("an agent's text that is an error of its provider tells what to do", () => {
  for (const [expected, text] of TEXTS) {
    const found = modelError(text);
    assert.match(found?.text ?? "", expected, text);
    assert.equal(found?.details, text.trim());
  }
  for (const [expected, text] of FAILED) assert.match(failedPrompt(text)?.text ?? "", expected);
});

test("an answer about errors stays an answer", () => {
  const answers = [
    "The server answers 429 when there are too many requests.",
    "API errors are in `errors.py`.",
    "API Error: 500 is what the log says.\n\nI have found the cause: the key is missing.",
    '{"error": "none", "a": 1, "b": 2, "c": 3}',
    '{"status": "error"}',
    "{not JSON}",
    `{"error": {"message": "${"x".repeat(9000)}"}}`,
    "",
  ];
  for (const text of answers) assert.equal(modelError(text), null, text.slice(0, 80));
  assert.equal(failedPrompt("Demo prompt failed: it did not like it"), null);
});

test("an error that no kind fits is still told as a refusal, with the provider's message", () => {
  const found = modelError('{"error": {"message": "Your request was flagged", "code": "policy"}}');
  assert.equal(found?.text, "The model's provider refused the request. Your request was flagged");
});

const event = (text) =>
  message({ role: "agent", content: { type: "event", data: { type: "message", message: text } } });
const READY = message({ role: "agent", content: { type: "event", data: { type: "ready" } } });
const shownOf = (...messages) => blocksOf(messages, [], null);

test("an error that the agent and the session tell is shown once", () => {
  const said = "API Error: Unable to connect to API (ECONNRESET)";
  const [, error, ...others] = shownOf(
    prompt("hello"),
    record({ type: "message", message: said, id: "x" }),
    event(`Claude prompt failed: Internal error: ${said}`),
    READY,
  );
  assert.equal(error.kind, "event");
  assert.match(error.text, CONNECTION);
  assert.equal(error.details, said);
  assert.deepEqual(
    others.map(({ kind, answer }) => [kind, answer]),
    [["turn", null]],
  );
  const kinds = shownOf(
    prompt("hello"),
    record({ type: "message", message: "Failed to authenticate. API Error: 401 no", id: "x" }),
    event("Claude prompt failed: Authentication required"),
  ).map(({ kind }) => kind);
  assert.deepEqual(kinds, ["user", "event"]);
});

test("a turn without an answer says what may be the reason", () => {
  const [, error] = shownOf(prompt("hello"), event("Kimi ended the turn without an answer"), READY);
  assert.equal(error.tone, "bad");
  assert.match(error.text, /check the login, the model and the network/);
});

test("an answer before a failure stays, and so does a failure of which nothing is known", () => {
  const shown = shownOf(
    prompt("hello"),
    record({ type: "message", message: "I begin", id: "x" }),
    event("Demo prompt failed: it did not like it"),
  );
  assert.deepEqual(
    shown.map(({ text }) => text),
    ["hello", "I begin", "Demo prompt failed: it did not like it"],
  );
});

test("the agent's own words are behind a disclosure and are found by a search", () => {
  const shown = shownOf(record({ type: "message", message: TEXTS[0][1], id: "x" }));
  const node = drawBlock(shown[0], { expanded: new Map(), decisions: new Map() });
  assert.match(node.textContent, /^The account may not use this model\./);
  const details = node.querySelector("details");
  assert.equal(details.open ?? false, false);
  assert.match(details.textContent, /unexpected status 403/);
  assert.equal(findIn(shown, "unexpected status")[0].key, shown[0].key);
});
