import assert from "node:assert/strict";
import { test } from "node:test";
import { installDom, load, message, prompt, record } from "./support.js";

installDom();
const { blocksOf } = await load("data/conversation/blocks.js");
const { describeUsage, knownUsage, turnFacts } = await load("data/sessions/usage.js");
const { drawBlock } = await load("views/chat/blocks/block.js");

const context = { active: true, expanded: new Map(), decisions: new Map() };
const ready = (more) =>
  message({ role: "agent", content: { type: "event", data: { type: "ready" } } }, more);
const output = (data) => message({ role: "agent", content: { type: "output", data } });
const counted = (total, more = {}) =>
  record({ type: "token_count", ...more, info: { total, ...more.info } });
const turnsOf = (...messages) => blocksOf(messages, [], null).filter(({ kind }) => kind === "turn");

test("a turn ends with its time, tokens, cost and model, and its answer can be copied", () => {
  const [turn] = turnsOf(
    prompt("go", { localId: "a", invokedAt: 1000 }),
    record({ type: "message", id: "m", message: "First." }),
    record({ type: "message", id: "n", message: "The *answer*." }),
    counted(
      { inputTokens: 12_300, outputTokens: 45 },
      {
        model: "opus",
        cost: { amount: 0.0123, currency: "USD" },
        info: { contextTokens: 500, modelContextWindow: 1000 },
      },
    ),
    ready({ createdAt: 43_000 }),
  );
  assert.deepEqual(turnFacts(turn), ["42 s", "12.3K tokens in, 45 out", "0.0123 USD", "opus"]);
  assert.deepEqual(turn.context, { tokens: 500, window: 1000 });
  assert.equal(turn.answer.text, "The *answer*.");
  assert.match(drawBlock(turn, context).textContent, /42 s12.3K tokens in, 45 out0.0123 USDopus/);
});

test("Claude's own records give tokens once for each message, and the time of the turn", () => {
  const usage = { input_tokens: 10, cache_read_input_tokens: 90, output_tokens: 5 };
  const said = (id) =>
    output({ type: "assistant", message: { id, model: "sonnet", content: "x", usage } });
  const turns = turnsOf(
    said("1"),
    said("1"),
    said("2"),
    ready(),
    output({ type: "system", subtype: "turn_duration", durationMs: 4000 }),
  );
  assert.equal(turns.length, 1);
  assert.deepEqual(turnFacts(turns[0]), ["4 s", "200 tokens in, 10 out", "sonnet"]);
});

test("nothing is said of a turn of which nothing is known", () => {
  assert.deepEqual(turnsOf(ready(), ready()), []);
  assert.deepEqual(turnFacts(turnsOf(record({ type: "message", message: "x" }), ready())[0]), []);
  assert.deepEqual(turnsOf(counted("odd", { model: "default" }), ready()), []);
});

test("usage is a share of the context and the rest in rows", () => {
  assert.deepEqual(
    describeUsage({
      contextTokens: 2000,
      contextWindow: 8000,
      inputTokens: 12000,
      outputTokens: 30,
      cost: { amount: 0.25, currency: "USD" },
      turnMs: 4000,
    }),
    {
      label: "25% · 2K of 8K",
      details: [
        ["Context", "2,000 of 8,000 tokens"],
        ["Left", "6,000 tokens"],
        ["Tokens in", "12,000"],
        ["Tokens out", "30"],
        ["Cost", "0.2500 USD"],
        ["Last turn", "4 s"],
      ],
      share: 0.25,
    },
  );
  assert.equal(describeUsage({ inputTokens: 12340, outputTokens: 30 })?.label, "12.3K in, 30 out");
  assert.equal(describeUsage({ turnMs: 4000 })?.label, "Last turn: 4 s");
  for (const nothing of [undefined, null, "x", {}, { contextTokens: "1", contextWindow: 2 }])
    assert.equal(describeUsage(nothing), null);
});

test("the usage of a session that tells none is that of its last turn", () => {
  const turns = turnsOf(
    counted({}, { info: { contextTokens: 5, modelContextWindow: 10 } }),
    ready(),
  );
  assert.equal(describeUsage(knownUsage(undefined, turns))?.share, 0.5);
  assert.equal(knownUsage(undefined, []), null);
  assert.deepEqual(knownUsage({ turns: 1 }, turns), { turns: 1 });
});
