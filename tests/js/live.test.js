import assert from "node:assert/strict";
import { test } from "node:test";
import { installDom, load, prompt, record } from "./support.js";

installDom();
const { blocksOf } = await load("data/conversation/blocks.js");
const { LiveText, withLive } = await load("data/conversation/live.js");
const { GrowingMarkdown } = await load("lib/markdown/growing-markdown.js");
const { markdown } = await load("lib/markdown/markdown.js");
const { drawBlock, updateBlock } = await load("views/chat/blocks/block.js");
const { paced } = await load("lib/throttle.js");

const said = (id, text, more = {}) => ({ id, type: "message", text, ...more });
const update = (number, blocks, more = {}) => ({ epoch: "e", number, blocks, ...more });
const texts = (live) => [...live.blocks.values()].map(({ text }) => text);
const shown = (messages, live) =>
  withLive(blocksOf(messages, [], null), live.blocks.values()).map(
    ({ kind, text, output }) => `${kind}: ${text ?? output}`,
  );

/** Live text after updates. */
function after(...updates) {
  const live = new LiveText();
  for (const one of updates) live.apply(one);
  return live;
}

test("a text grows by what is added, and another one replaces it", () => {
  const live = after(
    update(1, [said("t", "Hel")], { whole: true }),
    update(2, [said("t", "lo", { append: true })]),
  );
  assert.deepEqual(texts(live), ["Hello"]);
  live.apply(update(3, [said("t", "Other")]));
  assert.deepEqual(texts(live), ["Other"]);
});

test("a block ends when that is said, and all but those of a whole state do", () => {
  const live = after(update(1, [said("a", "A"), said("b", "B")], { whole: true }));
  live.apply(update(2, [said("c", "C")], { ended: ["a"] }));
  assert.deepEqual(texts(live), ["B", "C"]);
  live.apply(update(9, [said("d", "D")], { whole: true }));
  assert.deepEqual(texts(live), ["D"]);
});

test("an update that does not follow changes nothing and is reported", () => {
  const live = after(update(1, [said("t", "A")], { whole: true }));
  assert.equal(live.apply(update(3, [said("t", "B")])), false);
  assert.equal(live.apply({ ...update(2, [said("t", "B")]), epoch: "other" }), false);
  assert.deepEqual(texts(live), ["A"]);
});

test("what is said now comes after what was said and before what waits", () => {
  const live = after(update(1, [said("t", "now")], { whole: true }));
  const messages = [
    record({ type: "message", id: "m", message: "before" }),
    prompt("waits", { localId: "l", deliveryState: "queued" }),
  ];
  assert.deepEqual(shown(messages, live), ["text: before", "text: now", "user: waits"]);
});

test("a block is left out when its record has come", () => {
  const live = after(
    update(
      1,
      [
        said("t", "text"),
        { id: "r", type: "reasoning", text: "thought" },
        { id: "c", type: "tool-output", text: "output" },
        { id: "unknown", type: "tool-output", text: "output of no card" },
      ],
      { whole: true },
    ),
  );
  const call = record({ type: "tool-call", callId: "c", name: "make", status: "in_progress" });
  assert.deepEqual(shown([call], live), ["tool: output", "text: text", "thought: thought"]);
  const messages = [
    call,
    record({ type: "reasoning", id: "r", message: "thought, all of it" }),
    record({ type: "message", id: "t", message: "text, all of it" }),
    record({ type: "tool-call-result", callId: "c", output: "all of it" }),
  ];
  assert.deepEqual(shown(messages, live), [
    "tool: all of it",
    "thought: thought, all of it",
    "text: text, all of it",
  ]);
});

test("a text that grows keeps its node, and its record takes the place of it", () => {
  const context = { expanded: new Map(), decisions: new Map(), active: true };
  for (const kind of ["text", "thought"]) {
    const block = { key: "k", kind, version: "1", at: 1, text: "One **two", live: true };
    const node = drawBlock(block, context);
    assert.equal(updateBlock(node, { ...block, text: "One **two** three" }, context), true);
    assert.match(node.innerHTML, /<p>One <strong>two<\/strong> three<\/p>/);
    const whole = { ...block, live: false, text: "One **two** three." };
    assert.equal(updateBlock(node, whole, context), true);
    assert.equal(node.outerHTML, drawBlock(whole, context).outerHTML);
    assert.equal(updateBlock(node, { ...whole, text: "Other" }, context), false);
  }
});

const DOCUMENT = [
  "# Title\n\nA paragraph with **bold** text\nin two lines and `code`.\n\n",
  "- one\n- two\n  - nested\n\n- three after a blank line\n\nafter\n",
  "1. first\n2. second\n\n   more of it\n\n",
  "7. seven\n 8. eight\n9. nine\n\n\n10. ten\n- other\n  text\n- [x] done\n- \n- e\n- f\n",
  "- a\n\n- b\n\n  more\n- c\nlazy\n- d\n---\n- e\n    - deep\n    - deeper\n- f\n",
  "```js\nlet a = 1;\n\n\nlet b;\n```\n",
  "| a | b |\n| --- | --- |\n| 1 | 2 |\n| 3 | 4 |\n\n",
  "> quote\n> more\n\n---\n\n",
  "A line with CRLF\r\nand another\r\n\r\n- x\r\n- y\r\n\r\n",
  "~~~\nunclosed\n# no title\n",
  "Title\nof two lines\n===\nsee [a], [b][A] and ![c]\n\n",
  "[a]: https://a.example/ 'of a'\n[b]: <https://b.example>\n",
  '[c]:\nhttps://c.example\n"a title\nof two lines"\ntext\n',
  "1. > - quoted\n   > lazy\n\n   1) deep\n\n      - [ ] task\n",
  "<details>\n<summary>*x*</summary>\n\ninside\n\n</details>\n<!-- a\n\nb -->\n",
  "\tcode\n\n\tmore\n\ntext | more\n| x | y |\n| - | -: |\n| `a\\|b` | *c* |\nrow\n\n",
  "***a** b* _c_ ~~d~~ `e\nf` $g$ &amp; \\* <https://h.example> https://i.example/j_k  \nbreak\\\n\n",
];

test("growing Markdown shows the same as all of it at once, however it is cut", () => {
  let seed = 7;
  const random = (below) => {
    seed = (seed * 1103515245 + 12345) % 2147483648;
    return seed % below;
  };
  for (let round = 0; round < 300; round += 1) {
    const text = Array.from({ length: 6 }, () => DOCUMENT[random(DOCUMENT.length)]).join("");
    const growing = new GrowingMarkdown();
    for (let end = 0; end < text.length;) {
      end = Math.min(text.length, end + 1 + random(20));
      assert.equal(growing.grow(text.slice(0, end)), true);
      if (random(10) === 0 || end === text.length)
        assert.equal(growing.node.outerHTML, markdown(text.slice(0, end)).outerHTML);
    }
  }
});

test("growing Markdown divides a long text and long lists as all of it at once does", () => {
  const numbered = (/** @type {(at: number) => string} */ line) =>
    Array.from({ length: 250 }, (_, at) => line(at)).join("");
  const answers = {
    prose: numbered((at) => `Part ${at}.\n\n`),
    bullets: numbered((at) => `- item ${at}\n`),
    loose: numbered((at) => `- item ${at}\n\n`),
    ordered: numbered((at) => `${at + 4}. item\n`),
    "all are 1": numbered(() => "1. item\n"),
    nested: numbered((at) => `- item ${at}\n  - below\n`),
    "a rule at the border": `${numbered((at) => `- item ${at % 100}\n`).slice(0, -1)}\n---\n`,
  };
  for (const [name, text] of Object.entries(answers)) {
    const growing = new GrowingMarkdown();
    for (let end = 0; end < text.length;) {
      end = Math.min(text.length, end + 1 + (end % 37));
      growing.grow(text.slice(0, end));
      if (end % 5 === 0 || end === text.length)
        assert.equal(growing.node.outerHTML, markdown(text.slice(0, end)).outerHTML, name);
    }
  }
});

test("a long list goes on in lists of its own with its numbers", () => {
  const lists = (/** @type {(at: number) => string} */ line) =>
    [...markdown(Array.from({ length: 250 }, (_, at) => line(at)).join("")).childNodes].map(
      (list) => [list.tagName, list.getAttribute("start"), list.childNodes.length],
    );
  assert.deepEqual(
    lists((at) => `${at + 4}. item\n`),
    [
      ["OL", "4", 100],
      ["OL", "104", 100],
      ["OL", "204", 50],
    ],
  );
  assert.deepEqual(
    lists(() => "- item\n"),
    [
      ["UL", null, 100],
      ["UL", null, 100],
      ["UL", null, 50],
    ],
  );
  assert.deepEqual(
    lists(() => "1. item\n"),
    [
      ["OL", null, 100],
      ["OL", "101", 100],
      ["OL", "201", 50],
    ],
  );
});

/** The most elements that are made when a text grows by one of `pieces`. */
function mostMade(pieces) {
  const growing = new GrowingMarkdown();
  const create = document.createElement;
  let [text, made, most] = ["", 0, 0];
  document.createElement = (tag) => {
    made += 1;
    return create(tag);
  };
  for (const piece of pieces) {
    made = 0;
    text += piece;
    growing.grow(text);
    most = Math.max(most, made);
  }
  document.createElement = create;
  assert.equal(growing.node.outerHTML, markdown(text).outerHTML);
  return most;
}

test("growing Markdown draws again only what may still change", () => {
  const times = (/** @type {(at: number) => string} */ piece) =>
    Array.from({ length: 250 }, (_, at) => piece(at));
  assert.ok(mostMade(times((at) => `Paragraph ${at}.\n\n`)) <= 3);
  assert.ok(mostMade(times(() => "1. item\n")) <= 4);
  assert.ok(mostMade(["- a\n\n", ...times((at) => `- item ${at}\n`)]) <= 6);
  assert.ok(mostMade(["[a] and\n\n[a] too\n\n", ...times((at) => `Paragraph ${at}.\n\n`)]) <= 3);
});

test("growing Markdown takes no text that does not begin with what is shown", () => {
  const growing = new GrowingMarkdown();
  growing.grow("One.\n\nTwo.\n\n");
  const first = growing.node.childNodes[0];
  assert.equal(growing.grow("One.\n\nTwo.\n\nmore"), true);
  assert.equal(growing.node.childNodes[0], first);
  assert.equal(growing.grow("another text"), false);
});

test("a link whose address comes later is drawn when that has come", () => {
  const growing = new GrowingMarkdown();
  const text = "See [the page][p].\n\n- [p]\n\nMore.\n\n";
  growing.grow(text);
  assert.doesNotMatch(growing.node.innerHTML, /<a /);
  growing.grow(`${text}[p]: https://a.exa`);
  growing.grow(`${text}[p]: https://a.example/\n\nend`);
  assert.equal(growing.node.innerHTML.match(/href="https:\/\/a.example\/"/g).length, 2);
});

test("live text that is slow to draw twice is drawn less often, and one slow frame changes nothing", (context) => {
  let now = 1000; // ms
  /** @type {(() => void)[]} */
  const frames = [];
  const waits = [];
  context.mock.method(performance, "now", () => now);
  context.mock.method(globalThis, "setTimeout", (/** @type {() => void} */ go, wait) => {
    waits.push(wait);
    frames.push(go);
  });
  globalThis.requestAnimationFrame = (go) => frames.push(go);
  document.visibilityState = "visible";
  let takes = 0;
  const draw = paced(() => {
    now += takes;
  });
  const frame = (/** @type {number} */ ms) => {
    takes = ms;
    draw();
    while (frames.length > 0) frames.shift()();
  };
  frame(2);
  frame(80); // the machine was busy
  frame(2);
  assert.deepEqual(waits, []);
  frame(40);
  frame(30);
  frame(2);
  assert.deepEqual(waits, [90]);
});
