import assert from "node:assert/strict";
import { test } from "node:test";
import { load, prompt, record } from "./support.js";

const { blocksOf } = await load("data/conversation/blocks.js");
const { openPlan, todosIn } = await load("data/conversation/todos.js");

const step = (content, status = "pending") => ({ content, status });
const plan = (...entries) => record({ type: "plan", entries });
const sent = (text) => prompt(text, { localId: text, invokedAt: 1 });
const shown = (...messages) => blocksOf(messages, [], null);
const kinds = (blocks) => blocks.map(({ kind }) => kind);

test("a plan that is told again in every turn is shown once, with its newest state", () => {
  const again = () => plan(step("a", "completed"), step("b"));
  const blocks = shown(plan(step("a"), step("b")), sent("1"), again(), sent("2"), again());
  assert.deepEqual(kinds(blocks), ["plan", "user", "user"]);
  assert.deepEqual(blocks[0].entries, [step("a", "completed"), step("b")]);
});

test("another plan, or a finished one that begins anew, is shown below", () => {
  assert.deepEqual(kinds(shown(plan(step("a")), sent("1"), plan(step("c")))), [
    "plan",
    "user",
    "plan",
  ]);
  const done = plan(step("a", "completed"));
  assert.deepEqual(kinds(shown(done, sent("1"), plan(step("a")))), ["plan", "user", "plan"]);
  const longer = plan(step("a", "completed"), step("b"));
  assert.deepEqual(kinds(shown(done, sent("1"), longer)), ["plan", "user"]);
});

test("a plan is open until it is done, its session ends, or a turn passes without a change", () => {
  const session = { active: true, thinking: true };
  const keyOf = (blocks, state = session) => openPlan(state, blocks).key !== null;
  const told = plan(step("a", "in_progress"), step("b"));
  assert.equal(keyOf(shown(told)), true);
  assert.equal(keyOf(shown(told), { ...session, active: false }), false);
  assert.equal(keyOf(shown(told, sent("1"))), true);
  assert.equal(keyOf(shown(told, sent("1")), { ...session, thinking: false }), false);
  assert.equal(keyOf(shown(told, sent("1"), told, sent("2"))), false);
  assert.equal(keyOf(shown(plan(step("a", "completed")))), false);
  assert.deepEqual(openPlan({ ...session, todos: [step("old")] }, []).steps, [step("old")]);
});

test("the to-do tools of all agents are a plan, and no card of a tool", () => {
  const call = (name, input, more) =>
    record({ type: "tool-call", callId: "c", name, input, ...more });
  const todos = [step("Read", "in_progress"), step("Fix")];
  const opencode = shown(
    call("todowrite", {}),
    call("todowrite", { todos }),
    call("2 todos", { todos }, { status: "completed" }),
    record({ type: "tool-call-result", callId: "c", output: JSON.stringify(todos) }),
  );
  assert.deepEqual(kinds(opencode), ["plan"]);
  assert.deepEqual(opencode[0].entries, todos);
  const kimi = {
    todos: [
      { title: "Read", status: "done" },
      { title: "Fix", status: "In progress" },
    ],
  };
  assert.deepEqual(todosIn("SetTodoList", kimi), [
    step("Read", "completed"),
    step("Fix", "in_progress"),
  ]);
  const codex = { plan: [{ step: "Read", status: "completed" }] };
  assert.deepEqual(todosIn("update_plan", codex), [step("Read", "completed")]);
  assert.equal(todosIn("search", { plan: [{ step: "Read", status: "completed" }] }), null);
  assert.equal(todosIn("notes", { todos: ["buy milk"] }), null);
});

test("a to-do tool that fails is a card with its error", () => {
  const [block] = shown(
    record({ type: "tool-call", callId: "c", name: "todowrite", input: {} }),
    record({ type: "tool-call-result", callId: "c", output: "no list", is_error: true }),
  );
  assert.deepEqual([block.kind, block.name, block.status], ["tool", "todowrite", "failed"]);
});
