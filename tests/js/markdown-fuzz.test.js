// Random documents: none of them makes the parser fail, and it does not matter in which pieces they come.
// HAPI_MARKDOWN_ROUNDS=20000 tries more of them.

import assert from "node:assert/strict";
import { test } from "node:test";
import { parseAll } from "./markdown-html.js";
import { installDom, load } from "./support.js";

installDom();
const { GrowingMarkdown } = await load("lib/markdown/growing-markdown.js");
const { markdown } = await load("lib/markdown/markdown.js");

const ROUNDS = Number(process.env.HAPI_MARKDOWN_ROUNDS ?? 400);
const PIECES = [
  ..."*_~`[]()<>!#-+=|:\\&$\"' \t\n\r\0a1.é\u00a0",
  ..."\n\n\n\n    ",
  "\n\n",
  "\r\n",
  "  \n",
  "- ",
  "1. ",
  "10) ",
  "> ",
  "# ",
  "```",
  "~~~",
  "---",
  "===",
  "***",
  "$$",
  "[a]",
  "[a]: https://a.example\n",
  "[b]: <x> 'title'\n",
  "](https://b.example)",
  "![",
  "<b>",
  "</b>",
  "<div>",
  "<!--",
  "-->",
  "&amp;",
  "&#0;",
  "https://c.example/d_e",
  "| a | b |\n|---|:-:|\n",
  "|-|\n",
  "- [x] ",
  "    ",
  "\ud83d\ude00",
  "\ud83d",
];

/** Whole numbers below a limit, the same ones for a seed (the multiplier of glibc's TYPE_0 generator). */
function generator(seed) {
  let state = seed;
  return (below) => {
    state = (Math.imul(state, 1103515245) + 12345) & 0x7fffffff;
    return Math.floor((state / 0x80000000) * below);
  };
}

/** A text of up to `most` pieces; long runs of the same ones are among them. */
function document(random, most) {
  const parts = [];
  for (let left = 1 + random(most); left > 0; left -= 1) {
    const piece = PIECES[random(PIECES.length)];
    parts.push(random(12) === 0 ? piece.repeat(1 + random(40)) : piece);
  }
  return parts.join("");
}

test("random documents are parsed", () => {
  const random = generator(1);
  for (let round = 0; round < ROUNDS * 5; round += 1) {
    const text = document(random, 80);
    assert.ok(parseAll(text) > 0, JSON.stringify(text));
  }
});

test("random documents that grow end as those that are parsed at once", () => {
  for (let round = 0; round < ROUNDS; round += 1) {
    const random = generator(1000 + round);
    const text = document(random, 60);
    const growing = new GrowingMarkdown();
    for (let end = 0; end < text.length;) {
      end = Math.min(text.length, end + 1 + random(12));
      assert.equal(growing.grow(text.slice(0, end)), true);
      if (random(4) > 0 && end < text.length) continue;
      const wanted = markdown(text.slice(0, end)).outerHTML;
      assert.equal(growing.node.outerHTML, wanted, JSON.stringify(text.slice(0, end)));
    }
  }
});
