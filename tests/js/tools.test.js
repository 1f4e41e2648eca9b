import assert from "node:assert/strict";
import { test } from "node:test";
import { installDom, load } from "./support.js";

installDom();
const { describeTool, outputText, saysCommand, toolDuration } = await load(
  "data/conversation/tools.js",
);
const { readableOutput, readablePrompt } = await load("data/conversation/markup.js");
const { isPlanApproval } = await load("data/sessions/permissions.js");
const { drawBlock } = await load("views/chat/blocks/block.js");

const context = { active: true, expanded: new Map(), decisions: new Map() };
const DIRECTORY = "/home/dev/shop";
const titleOf = (call) => describeTool(call, DIRECTORY).title;
const formsOf = (call) => describeTool(call, DIRECTORY).details.map(({ form }) => form);

test("a command is on its card once, under the agent's own description of it", () => {
  const command = "for i in 1 2 3\ndo echo $i\ndone";
  const call = { name: command, title: command, toolKind: "execute", input: { command } };
  assert.equal(titleOf(call), "Command");
  assert.equal(
    titleOf({ ...call, input: { command, description: "Count to three" } }),
    "Count to three",
  );
  assert.equal(titleOf({ ...call, name: "Bash", title: `\`${command}\`` }), "Bash");
  assert.equal(titleOf({ ...call, title: "for i in 1 2 3 do echo…" }), "Command");
  assert.equal(
    titleOf({ ...call, title: `${command} [current working directory /w] (count)` }),
    "Command",
  );
  assert.equal(
    titleOf({ name: "bash", title: "List the tools", input: { command: "ls" } }),
    "List the tools",
  );
  const gemini = `[current working directory /w] (Count)`;
  assert.equal(titleOf({ ...call, input: { command, description: gemini } }), "Count");
  assert.equal(saysCommand("List the tools", "ls"), false);
  const drawn = drawBlock({ kind: "tool", key: "t", version: "", at: 1, ...call }, context);
  assert.equal(drawn.textContent.split("echo $i").length - 1, 1);
});

test("a file is named once, as it is seen from the session's directory", () => {
  const path = `${DIRECTORY}/src/app.py`;
  const cases = [
    ["Read app.py", "Read src/app.py"],
    [path.slice(1), "Read src/app.py"],
    [path, "Read src/app.py"],
    ["read", "Read src/app.py"],
    [`Read ${path}`, "Read src/app.py"],
  ];
  for (const [title, shown] of cases) {
    const call = { name: title, title, toolKind: "read", input: { file_path: path } };
    assert.deepEqual([titleOf(call), formsOf(call)], [shown, []]);
  }
  const part = {
    name: "Read",
    title: "Read app.py",
    toolKind: "read",
    input: { path, offset: 10, limit: 5 },
  };
  assert.equal(titleOf(part), "Read src/app.py, lines 10–14");
  const edit = {
    name: "edit",
    title: "edit",
    input: { filePath: path, oldString: "a", newString: "b" },
  };
  assert.deepEqual([titleOf(edit), formsOf(edit)], ["Edit src/app.py", ["diff"]]);
});

test("a title that is only the name of a file says what is done to it", () => {
  const call = { name: "app.py", title: "app.py", toolKind: "read", input: {} };
  assert.equal(titleOf(call), "Read app.py");
});

test("the markup that agents write for their models is not shown", () => {
  const read =
    "<path>/w/a</path>\n<type>file</type>\n<content>\n1: one\n\n(End of file - total 1 lines)\n</content>";
  assert.equal(outputText(read), "1: one");
  assert.equal(outputText("<tool_use_error>Read it first.</tool_use_error>"), "Read it first.");
  assert.equal(readableOutput("a\n<system-reminder>\nBe kind\n</system-reminder>"), "a\n");
  assert.equal(
    readableOutput("out\n<bash_metadata>\ntimed out\n</bash_metadata>"),
    "out\n\ntimed out\n",
  );
  const command =
    "<command-message>clear</command-message>\n<command-name>/clear</command-name>\n<command-args>all</command-args>";
  assert.equal(readablePrompt(command), "/clear all");
  assert.equal(
    readablePrompt("<local-command-stdout>Set model</local-command-stdout>"),
    "Set model",
  );
});

test("markup of a file, or what a program printed, is shown as it is", () => {
  const page = "<html>\n<content>text</content>\n<path>x</path></html>";
  assert.equal(outputText(page), page);
  assert.equal(readablePrompt("<b>bold</b>"), "<b>bold</b>");
  const quoted = 'grep "<system-reminder>" a.txt\n<system-reminder> without an end';
  assert.equal(readableOutput(quoted), quoted);
});

test("reading off the markup takes time in proportion to the text", () => {
  for (const hostile of [
    "\n<system-reminder>",
    "<tool_use_error>",
    "<path></path>\n<type><content>",
  ]) {
    const started = performance.now();
    readableOutput(hostile.repeat(40_000));
    assert.ok(performance.now() - started < 2000, hostile);
  }
});

test("the time of a call is that of its run, without the time in which a person was asked", () => {
  const call = { done: true, startedAt: 1000, endedAt: 9000 };
  assert.equal(toolDuration(call), 8000);
  assert.equal(toolDuration({ ...call, decision: { completedAt: 7000 } }), 2000);
  assert.equal(toolDuration({ ...call, done: false }), null);
  const block = {
    kind: "tool",
    key: "t",
    version: "",
    at: 1,
    name: "Bash",
    status: "completed",
    ...call,
  };
  assert.match(drawBlock(block, context).textContent, /Done · 8 s/);
});

test("a plan to approve is Markdown, and is not allowed for the whole session", () => {
  const request = {
    tool: "Approve Plan",
    kind: "switch_mode",
    arguments: { plan: "# Plan\n\n1. **Read**" },
  };
  assert.equal(isPlanApproval(request), true);
  const drawn = drawBlock(
    {
      kind: "tool",
      key: "t",
      version: "",
      at: 1,
      name: "Approve Plan",
      toolKind: "switch_mode",
      input: request.arguments,
      requestId: "r",
      request,
    },
    context,
  ).textContent;
  assert.match(drawn, /Approve plan/);
  assert.doesNotMatch(drawn, /# Plan|\*\*|for session/);
});

test("a plan that is also the content of its call is shown once", () => {
  const drawn = (output) =>
    drawBlock(
      {
        kind: "tool",
        key: "t",
        version: "",
        at: 1,
        name: "Approve Plan",
        input: { plan: "# Steps\n\n1. **Read**" },
        output,
      },
      context,
    ).textContent;
  assert.equal(drawn("# Steps\n\n1. **Read**\n").match(/Steps/g).length, 1);
  assert.match(drawn("Approved: # Steps"), /Approved: # Steps/);
});

test("a title that only labels or unwraps the command is not shown beside it", () => {
  /** @param {string} title @param {string} command */
  const titled = (title, command) =>
    describeTool({ name: "execute", title, input: { command } }).title;
  assert.equal(titled("Shell: ls -a", "ls -a"), "execute");
  assert.equal(titled("touch q3.txt", "/bin/bash -lc 'touch q3.txt'"), "execute");
  assert.equal(titled("Tidy up", "/bin/bash -lc 'touch q3.txt'"), "Tidy up");
});

test("the review that Codex makes of a call shows its reason and no identifiers", () => {
  const input = (/** @type {object} */ review) => ({
    threadId: "t",
    turnId: "u",
    reviewId: "r",
    targetItemId: "call_1",
    review: { status: "inProgress", riskLevel: null, ...review },
  });
  const call = { name: "think", title: "Guardian Review" };
  assert.deepEqual(describeTool({ ...call, input: input({ rationale: null }) }), {
    title: "Guardian Review",
    details: [],
  });
  const { details } = describeTool({
    ...call,
    input: input({ rationale: "It only makes a file." }),
  });
  assert.deepEqual(details, [{ text: "It only makes a file.", form: "plain" }]);
});

test("a plan that waits for approval is called a plan, not by the name of the tool", () => {
  const input = { plan: "# Steps" };
  for (const name of ["ExitPlanMode", "exit_plan_mode"])
    assert.equal(titleOf({ name, input }), "Plan");
  assert.equal(titleOf({ name: "ExitPlanMode", title: "Ready to code?", input }), "Ready to code?");
});
