import assert from "node:assert/strict";
import { test } from "node:test";
import { load, message, prompt, record } from "./support.js";

const { blocksOf } = await load("data/conversation/blocks.js");
const { withDays } = await load("data/conversation/day-marks.js");

const kinds = (blocks) => blocks.map((block) => block.kind);

test("a prompt and its answer are two blocks in their order", () => {
  const blocks = blocksOf([prompt("hi"), record({ type: "message", message: "hello" })], [], null);
  assert.deepEqual(kinds(blocks), ["user", "text"]);
  assert.deepEqual(
    blocks.map((block) => block.text),
    ["hi", "hello"],
  );
});

test("records of one id replace one another where the first one stood", () => {
  const first = record({ type: "reasoning", id: "r", message: "Let me", live: true });
  const blocks = blocksOf(
    [
      first,
      record({ type: "message", id: "m", message: "Fir" }),
      record({ type: "message", id: "m", message: "First" }),
      record({ type: "reasoning", id: "r", message: "Let me see." }),
    ],
    [],
    null,
  );
  assert.deepEqual(kinds(blocks), ["thought", "text"]);
  assert.equal(blocks[0].text, "Let me see.");
  assert.equal(blocks[0].live, false);
  assert.equal(blocks[0].at, first.createdAt);
  assert.equal(blocks[1].text, "First");
});

test("the version of a block changes with each message that touches it", () => {
  const call = record({ type: "tool-call", callId: "c", name: "Run", status: "pending" });
  const result = record({ type: "tool-call-result", callId: "c", output: "ok" });
  const [before] = blocksOf([call], [], null);
  const [after] = blocksOf([call, result], [], null);
  assert.equal(before.key, after.key);
  assert.notEqual(before.version, after.version);
  assert.equal(before.status, "pending");
  assert.equal(after.status, "completed");
});

test("a call that was closed without a result, and goes on after all, is open again", () => {
  const messages = [
    record({ type: "tool-call", callId: "c", name: "Run", status: "pending" }),
    record({ type: "tool-call-result", callId: "c", output: "no result was reported" }),
    record({ type: "tool-call", callId: "c", name: "Run", status: "in_progress", reopens: true }),
  ];
  const [block] = blocksOf(messages, [], null);
  assert.equal(block.status, "in_progress");
  assert.equal(block.output, undefined);
  const result = record({ type: "tool-call-result", callId: "c", output: "ok" });
  const [ended] = blocksOf([...messages, result], [], null);
  assert.equal(ended.status, "completed");
  assert.equal(ended.output, "ok");
});

test("a status that comes after the result does not reopen a tool call", () => {
  const [block] = blocksOf(
    [
      record({ type: "tool-call-result", callId: "c", output: "no", is_error: true }),
      record({ type: "tool-call", callId: "c", name: "Run", status: "in_progress" }),
    ],
    [],
    null,
  );
  assert.equal(block.status, "failed");
  assert.equal(block.name, "Run");
});

test("a turn has one plan with its newest entries, and the next prompt begins another", () => {
  const plan = (...contents) =>
    record({ type: "plan", entries: contents.map((content) => ({ content })) });
  const blocks = blocksOf([plan("a"), plan("a", "b"), prompt("next"), plan("c")], [], null);
  assert.deepEqual(kinds(blocks), ["plan", "user", "plan"]);
  assert.deepEqual(
    blocks[0].entries.map((entry) => entry.content),
    ["a", "b"],
  );
  assert.equal(blocks[0].entries[0].status, "pending");
});

test("an empty plan takes the plan of the turn away, and shows nothing where there is none", () => {
  const plan = (...contents) =>
    record({ type: "plan", entries: contents.map((content) => ({ content })) });
  assert.deepEqual(kinds(blocksOf([plan("a"), plan()], [], null)), []);
  assert.deepEqual(kinds(blocksOf([plan()], [], null)), []);
  assert.deepEqual(kinds(blocksOf([plan("a"), plan(), plan("b")], [], null)), ["plan"]);
});

test("Claude's list of to-dos is a plan and its result shows nothing", () => {
  const todos = [{ content: "a", status: "completed" }];
  const blocks = blocksOf(
    [
      record({ type: "tool-call", callId: "t", name: "TodoWrite", input: { todos } }),
      record({ type: "tool-call-result", callId: "t", output: "ok" }),
    ],
    [],
    null,
  );
  assert.deepEqual(kinds(blocks), ["plan"]);
});

test("queued prompts stand last, whenever they were written", () => {
  const blocks = blocksOf(
    [
      prompt("queued", { localId: "q" }),
      prompt("unsure", { localId: "u", deliveryState: "indeterminate" }),
      prompt("later", { localId: "s", scheduledAt: Date.now() + 60_000 }),
      prompt("sent", { localId: "x", invokedAt: 5 }),
      record({ type: "message", message: "answer" }),
    ],
    [],
    null,
  );
  assert.deepEqual(
    blocks.map((block) => block.state ?? block.kind),
    ["sent", "text", "queued", "indeterminate", "scheduled"],
  );
});

test("a message in the outbox is shown until the hub has it", () => {
  const outgoing = {
    localId: "o",
    text: "on its way",
    attachments: [{ filename: "a.txt", path: "/up/a.txt" }],
    createdAt: 1,
    state: "sending",
    error: null,
  };
  const [block] = blocksOf([], [outgoing], null);
  assert.deepEqual([block.text, block.files], ["on its way", ["a.txt"]]);
  assert.equal(blocksOf([prompt("on its way", { localId: "o" })], [outgoing], null).length, 1);
});

test("a request joins its tool call, and without one becomes a block before the queued prompts", () => {
  const call = record({ type: "tool-call", callId: "c", name: "Run" });
  const requests = {
    c: { tool: "Run", createdAt: 1 },
    named: { tool: "Run", toolCallId: "other", createdAt: 2 },
  };
  const blocks = blocksOf([call, prompt("q", { localId: "q" })], [], { requests });
  assert.deepEqual(kinds(blocks), ["tool", "request", "user"]);
  assert.equal(blocks[0].requestId, "c");
  assert.equal(blocks[1].requestId, "named");
});

test("an answered request marks its tool call", () => {
  const call = record({ type: "tool-call", callId: "c", name: "Run" });
  const completedRequests = { c: { status: "denied" } };
  const [plain] = blocksOf([call], [], null);
  const [block] = blocksOf([call], [], { completedRequests });
  assert.equal(block.decision.status, "denied");
  assert.notEqual(block.version, plain.version);
});

test("Claude's records are texts, thoughts and tool calls with results", () => {
  const output = (data) => message({ role: "agent", content: { type: "output", data } });
  const content = [
    { type: "thinking", thinking: "Hmm." },
    { type: "text", text: "Looking." },
    {
      type: "tool_use",
      id: "t",
      name: "Bash",
      input: { command: "ls", description: "List files" },
    },
  ];
  const result = { type: "tool_result", tool_use_id: "t", content: [{ type: "text", text: "a" }] };
  const blocks = blocksOf(
    [
      output({ type: "assistant", message: { content } }),
      output({ type: "user", message: { content: [result] } }),
      output({ type: "system", subtype: "turn_duration", durationMs: 2500 }),
      output({ type: "user", isMeta: true, message: { content: "hidden" } }),
    ],
    [],
    null,
  );
  assert.deepEqual(kinds(blocks), ["thought", "text", "tool", "turn"]);
  assert.equal(blocks[2].title, "List files");
  assert.equal(blocks[2].output, "a");
  assert.equal(blocks[3].duration, 2500);
});

test("events are lines, bad ones marked, and those without a meaning for people show nothing", () => {
  const event = (data) => message({ role: "agent", content: { type: "event", data } });
  const blocks = blocksOf(
    [
      event({ type: "message", message: "Session aborted" }),
      event({ type: "message", message: "Start failed" }),
      event({ type: "switch", mode: "local" }),
      event({ type: "limit-reached" }),
      event({ type: "ready" }),
      record({ type: "token_count", info: {} }),
    ],
    [],
    null,
  );
  assert.deepEqual(
    blocks.map(({ text, tone }) => [text, tone]),
    [
      ["The agent was stopped.", "plain"],
      ["Start failed", "bad"],
      ["Control moved to the terminal", "plain"],
      ["The agent's usage limit has been reached", "bad"],
    ],
  );
});

test("a message of no known shape is a block of its own that holds its JSON", () => {
  const [block] = blocksOf([message({ strange: ["shape"] })], [], null);
  assert.equal(block.kind, "odd");
  assert.deepEqual(block.value, { strange: ["shape"] });
});

test("a day stands before its first block, except when there is only today", () => {
  const today = Date.now();
  const yesterday = today - 86_400_000;
  const block = (at) => ({ key: String(at), version: "", kind: "text", at, text: "" });
  assert.deepEqual(kinds(withDays([block(today), block(today + 1)])), ["text", "text"]);
  assert.deepEqual(kinds(withDays([block(yesterday), block(today)])), [
    "day",
    "text",
    "day",
    "text",
  ]);
});
