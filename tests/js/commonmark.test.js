// How much of the CommonMark specification (fixtures/commonmark/spec.txt, CC-BY-SA 4.0) the page draws as it is meant.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { installDom, load } from "./support.js";

installDom();
const { markdown } = await load("lib/markdown.js");

const FEWEST = 270; // a change that draws fewer of them is a step back
const SPEC = readFileSync(new URL("./fixtures/commonmark/spec.txt", import.meta.url), "utf8");
const EXAMPLE = /^`{32} example\n([^]*?)^\.\n([^]*?)^`{32}$|^## (.*)$|^# (.*)$/gm;

/** The examples with the sections that they stand in. */
function examples() {
  let section = "";
  const found = [];
  for (const [, text, html, title] of SPEC.matchAll(EXAMPLE)) {
    if (title) section = title;
    else if (text !== undefined)
      found.push({ section, text: text.replaceAll("→", "\t"), html: html.replaceAll("→", "\t") });
  }
  return found;
}

/** Drawn HTML as the specification writes it: what the page adds on purpose is taken away. */
function asInSpecification(html) {
  return html
    .replaceAll(/<div class="code">.*?<pre[^>]*>/gs, "<pre>")
    .replaceAll("</pre></div>", "</pre>")
    .replaceAll(/ (?:target|rel|tabindex|class)="[^"]*"/g, "")
    .replaceAll(/<(\/?)h([3-6])>/g, (_, end, level) => `<${end}h${level - 2}>`)
    .replaceAll("<br>", "\n");
}

const normal = (html) =>
  html
    .replaceAll("<br />", "\n")
    .replaceAll(/ class="[^"]*"/g, "")
    .replaceAll("<hr />", "<hr>")
    .replaceAll("&quot;", '"')
    .replaceAll(/\s*\n\s*/g, "\n")
    .replaceAll(/\n?(<\/?(?:p|ul|ol|li|blockquote|pre|hr|h\d)(?: [^>]*)?>)\n?/g, "$1")
    .replaceAll(/\n(?=<\/code><\/pre>)/g, "")
    .trim();

test("examples of the CommonMark specification are drawn as it says; how many is printed", () => {
  const counts = new Map();
  let passed = 0;
  const all = examples();
  for (const { section, text, html } of all) {
    const drawn = normal(asInSpecification(markdown(text.replace(/\n$/, "")).innerHTML));
    const isRight = drawn === normal(html);
    passed += Number(isRight);
    const [right, total] = counts.get(section) ?? [0, 0];
    counts.set(section, [right + Number(isRight), total + 1]);
  }
  for (const [section, [right, total]] of counts)
    console.log(`CommonMark 0.31.2, ${section}: ${right} of ${total}`);
  console.log(`CommonMark 0.31.2: ${passed} of ${all.length}`);
  assert.equal(all.length, 652);
  assert.ok(passed >= FEWEST, `only ${passed}`);
});
