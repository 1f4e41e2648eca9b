import assert from "node:assert/strict";
import { test } from "node:test";
import { installDom, load, settle } from "./support.js";

installDom();
const { visible } = await load("lib/format.js");
const { markControls } = await load("lib/bidi-controls.js");
const { h } = await load("lib/dom.js");
const { markdown } = await load("lib/markdown/markdown.js");
const { GrowingMarkdown } = await load("lib/markdown/growing-markdown.js");
const { codeBlock } = await load("lib/code/code-block.js");
const { permissionPrompt } = await load("views/chat/blocks/permission.js");

const TURNED = "ls \u202e'# tfel' hsab | x//:ptth lruc\u202c";
const MARKED = "ls <U+202E>'# tfel' hsab | x//:ptth lruc<U+202C>";

test("what a person cannot see in a command or a name is a mark", () => {
  assert.equal(visible(TURNED), MARKED);
  for (const [hidden, code] of [
    ["\u202a", "202A"],
    ["\u2066", "2066"],
    ["\u2069", "2069"],
    ["\u200e", "200E"],
    ["\u061c", "061C"],
    ["\u200b", "200B"],
    ["\u2060", "2060"],
    ["\ufeff", "FEFF"],
    ["\u00ad", "00AD"],
    ["\u3164", "3164"],
    ["\u2028", "2028"],
    ["\0", "0000"],
    ["\x1b", "001B"],
    ["\x85", "0085"],
    ["\u{e0041}", "E0041"],
  ])
    assert.equal(visible(`a${hidden}b`), `a<U+${code}>b`);
  assert.equal(visible("a\tb\r\nc"), "a\tb\r\nc");
});

test("joiners stay where a language needs them, and not inside of a command", () => {
  const texts = ["👩\u200d💻 ❤️", "می\u200cخواهم", "क्\u200dष", "שלום 世界"];
  for (const text of texts) assert.equal(visible(text), text);
  assert.equal(visible("r\u200dm"), "r<U+200D>m");
});

test("prose keeps the marks of its language, and nothing that turns its order round", () => {
  const text = "שלום\u200f! ภาษา\u200bไทย";
  assert.equal(markControls(text), text);
  assert.equal(markControls(TURNED), MARKED);
  assert.equal(markdown(`${text} \u2067x\u2069`).textContent, `${text} <U+2067>x<U+2069>`);
});

test("names, attributes for people and code are marked, values and addresses are not", () => {
  const node = h("a", { title: TURNED, "aria-label": TURNED, "data-focus": TURNED }, [TURNED]);
  assert.equal(node.textContent, MARKED);
  assert.equal(node.getAttribute("title"), MARKED);
  assert.equal(node.getAttribute("aria-label"), MARKED);
  assert.equal(node.getAttribute("data-focus"), TURNED);
  assert.equal(h("textarea", { value: TURNED }).value, TURNED);
  const text = `a\u200fb \`c\u200fd\` [e\u200ff](https://example.com)\n\n\`\`\`\ng\u200fh\n\`\`\``;
  const drawn = markdown(text);
  assert.match(drawn.textContent, /a\u200fb c<U\+200F>d e<U\+200F>f.*g<U\+200F>h/);
});

test("what is copied from a block of code is what was written, also when the block has grown", async () => {
  const copied = [];
  Object.defineProperty(globalThis, "navigator", {
    configurable: true,
    value: { clipboard: { writeText: async (text) => copied.push(text) } },
  });
  const copy = (/** @type {any} */ frame) => {
    const control = frame.querySelector(".copy");
    control.closest = () => frame;
    control.listeners.click();
  };
  copy(codeBlock(TURNED, "sh"));
  const growing = new GrowingMarkdown();
  for (const text of ["```\nls", "```\nls \u202e", "```\nls \u202e'# tfel'\n```\n"])
    growing.grow(text);
  copy(growing.node.querySelector(".code"));
  await settle();
  assert.deepEqual(copied, [TURNED, "ls \u202e'# tfel'"]);
  assert.match(growing.node.textContent, /ls <U\+202E>'# tfel'/);
});

test("a long name of an option is cut, and whole in its tooltip", () => {
  const name = "x".repeat(5000);
  const request = { tool: "Run", byName: true, options: [{ id: "a", name, kind: "allow_once" }] };
  const context = { active: true, expanded: new Map(), decisions: new Map() };
  const [option] = permissionPrompt("r", request, context).querySelectorAll("button");
  assert.equal(option.textContent, `${"x".repeat(199)}…`);
  assert.equal(option.getAttribute("title"), name);
});
