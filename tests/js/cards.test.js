import assert from "node:assert/strict";
import { test } from "node:test";
import { installDom, load } from "./support.js";

installDom();
const { drawBlock } = await load("views/chat/blocks/block.js");

const context = { active: true, expanded: new Map(), decisions: new Map() };

test("a question is on its card once, also when the agent has put it into title, text and choices", () => {
  const questions = [
    { question: "Which colour?", options: [{ label: "Red", description: "Red" }] },
  ];
  const block = {
    kind: "tool",
    key: "tool:q",
    version: "",
    at: 1,
    name: "AskUserQuestion",
    title: "Which colour?",
    input: { questions },
    output: "Which colour?",
  };
  const asking = {
    ...block,
    requestId: "q",
    request: { tool: "AskUserQuestion", arguments: { questions } },
  };
  const count = (shown, text) => drawBlock(shown, context).textContent.split(text).length - 1;
  assert.equal(count(asking, "Which colour?"), 1);
  assert.equal(count(asking, "Red"), 1);
  assert.equal(count(block, "Which colour?"), 1);
  assert.equal(count({ ...block, output: "Red" }, "Red"), 1);
  for (const title of ["Which colour?", ""])
    for (const output of ["Which colour?: Red", 'Answered: "Which colour?"="Red".']) {
      assert.equal(count({ ...block, title, output }, "Which colour?"), 1);
      assert.equal(count({ ...block, title, output }, "Red"), 1);
    }
  const two = [...questions, { question: "Which size?" }];
  const partly = { ...block, input: { questions: two }, output: "Which colour?: Red" };
  assert.equal(count(partly, "Which size?"), 1);
});

test("a long text of a person is folded until they want all of it, a short one is not", () => {
  const drawn = (text) => {
    const block = { kind: "user", key: `u${text.length}`, version: "", at: 1, text, state: "sent" };
    return drawBlock({ ...block, files: [], localId: "l" }, context).textContent;
  };
  const long = drawn("a line\n".repeat(4200));
  assert.ok(long.length < 300);
  assert.match(long, /Show all \(4201 lines\)/);
  assert.match(drawn("x".repeat(112_000)), /Show all \(112000 characters\)/);
  assert.doesNotMatch(drawn("a line\n".repeat(20)), /Show all/);
});

test("a command that was allowed runs, also where its agent does not tell so", () => {
  const call = { kind: "tool", key: "tool:c", version: "", at: 1, name: "Run", status: "pending" };
  const statusOf = (more) => drawBlock({ ...call, ...more }, context).getAttribute("data-status");
  assert.equal(statusOf({}), "pending");
  assert.equal(statusOf({ decision: { status: "approved" } }), "in_progress");
  assert.equal(statusOf({ decision: { status: "denied" } }), "pending");
  assert.equal(
    statusOf({ decision: { status: "approved" }, status: "completed", done: true }),
    "completed",
  );
});

test("fenced code in a prompt is shown as code, and what only looks so stays as it was typed", () => {
  const shown = (text) =>
    drawBlock(
      { kind: "user", key: "user:u", version: "", at: 1, text, files: [], state: "sent" },
      context,
    ).querySelector(".bubble");
  const bubble = shown("Look:\n```diff\n-old\n+new\n```\nand go on");
  assert.equal(bubble.querySelectorAll("pre").length, 1);
  assert.equal(bubble.querySelector("pre").textContent, "-old\n+new");
  assert.doesNotMatch(bubble.textContent, /```/);
  for (const text of ["```\nnever closed", "a ``` b\n```", "`code`", "```inline```"])
    assert.equal(shown(text).textContent, text);
});
