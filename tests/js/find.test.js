import assert from "node:assert/strict";
import { test } from "node:test";
import { load, prompt, record } from "./support.js";

const { blocksOf } = await load("data/conversation/blocks.js");
const { findIn } = await load("data/conversation/find.js");

const blocks = blocksOf(
  [
    prompt("Mend the  parser\nplease", { localId: "a", invokedAt: 1 }),
    record({
      type: "message",
      id: "m",
      message: `${"x ".repeat(60)}the PARSER is mended${" y".repeat(60)}`,
    }),
    record({ type: "tool-call", callId: "c", name: "Bash", input: { command: "pytest tests" } }),
    record({ type: "tool-call-result", callId: "c", output: "parser ok" }),
    prompt("Thanks", { localId: "b", invokedAt: 9 }),
    prompt("waits", { localId: "w" }),
  ],
  [],
  null,
);
const keys = (query) => findIn(blocks, query).map(({ key }) => key);

test("the outline of a conversation is what the person asked, on one line each", () => {
  assert.deepEqual(
    findIn(blocks, " ").map(({ key, excerpt }) => [key, excerpt.join("")]),
    [
      ["user:a", "Mend the parser please"],
      ["user:b", "Thanks"],
    ],
  );
});

test("a text is found in prompts, answers, commands and their results, whatever its case", () => {
  assert.deepEqual(keys("parser"), ["user:a", "text:m", "tool:c"]);
  assert.deepEqual(keys("pytest"), ["tool:c"]);
  assert.deepEqual(keys("nowhere"), []);
  const [, answer] = findIn(blocks, "parser");
  assert.equal(answer.excerpt[1], "PARSER");
  assert.match(answer.excerpt[0], /^….*the $/);
  assert.match(answer.excerpt[2], /^ is mended.*…$/);
});
