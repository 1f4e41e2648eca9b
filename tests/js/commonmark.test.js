// How much of the CommonMark specification (fixtures/commonmark/spec.txt, CC-BY-SA 4.0) the page reads as it is meant.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { htmlOf, nodesOf } from "./markdown-html.js";
import { installDom, load } from "./support.js";

installDom();
const { markdown } = await load("lib/markdown/markdown.js");

const SPEC = readFileSync(new URL("./fixtures/commonmark/spec.txt", import.meta.url), "utf8");
const EXAMPLE = /^`{32} example\n([^]*?)^\.\n([^]*?)^`{32}$|^## (.*)$|^# (.*)$/gm;

/** The examples with the sections that they stand in. */
function examples() {
  let section = "";
  const found = [];
  for (const [, text, html, title] of SPEC.matchAll(EXAMPLE)) {
    if (title) section = title;
    else if (text !== undefined)
      found.push({
        number: found.length + 1,
        section,
        text: text.replaceAll("→", "\t"),
        html: html.replaceAll("→", "\t"),
      });
  }
  return found;
}

/** HTML without the line breaks that mean nothing. */
const normal = (html) =>
  html
    .replaceAll(/\s*\n\s*/g, "\n")
    .replaceAll(/\n?(<\/?(?:p|ul|ol|li|blockquote|pre|hr|h\d)(?: [^>]*)?>)\n?/g, "$1")
    .trim();

const BARE = "an address is a link without angle brackets, too, as on GitHub";
/** What is read otherwise on purpose, by the numbers of the examples. */
const DIFFERENCES = {
  25: "only the character references of HTML 4 are known; the table of HTML 5 is larger than the parser",
  602: BARE,
  608: BARE,
  611: BARE,
};

test("the CommonMark specification is read as it says, but for what is listed", () => {
  const counts = new Map();
  const different = [];
  const all = examples();
  for (const { number, section, text, html } of all) {
    const isRight = normal(htmlOf(text)) === normal(html);
    if (!isRight) different.push(String(number));
    const [right, total] = counts.get(section) ?? [0, 0];
    counts.set(section, [right + Number(isRight), total + 1]);
  }
  for (const [section, [right, total]] of counts)
    console.log(`CommonMark 0.31.2, ${section}: ${right} of ${total}`);
  console.log(`CommonMark 0.31.2: ${all.length - different.length} of ${all.length}`);
  assert.equal(all.length, 652);
  assert.deepEqual(different, Object.keys(DIFFERENCES));
});

/** The HTML of the specification as the page draws it; null if that depends on more than the form of the text. */
function asDrawn(html) {
  if (/<img|<a /.test(html)) return null; // only addresses of the web are links, and pictures are links
  return html
    .replaceAll(/<(\/?)h([1-6])>/g, (_, end, level) => `<${end}h${Math.min(Number(level) + 2, 6)}>`)
    .replaceAll(/<pre><code[^>]*>([^]*?)\n?<\/code><\/pre>/g, "<pre><code>$1</code></pre>")
    .replaceAll("<hr />", "<hr>")
    .replaceAll("&quot;", '"');
}

/** Drawn HTML without what the page adds. */
const withoutAdditions = (html) =>
  html
    .replaceAll(/<div class="code">.*?<pre[^>]*>/gs, "<pre>")
    .replaceAll("</pre></div>", "</pre>")
    .replaceAll(' class="loose"', "");

test("what is read is drawn: titles two levels lower, line breaks as such, HTML as text", () => {
  let compared = 0;
  for (const { number, text, html } of examples()) {
    const wanted = asDrawn(html);
    const nodes = nodesOf(text);
    const hasHtml = nodes.some(({ kind, type }) => kind === "html" || type === "html");
    if (wanted === null || DIFFERENCES[number]) continue;
    const drawn = withoutAdditions(markdown(text).innerHTML);
    if (hasHtml) {
      assert.doesNotMatch(drawn, /<(?:script|style|img|iframe|!|div|table|b2)/, text);
      continue;
    }
    compared += 1;
    const breaks = (from) => normal(from.replaceAll(/<br(?: \/)?>\n?/g, "\n"));
    assert.equal(breaks(drawn), breaks(wanted), `example ${number}`);
  }
  console.log(`${compared} examples are drawn as they are read`);
  assert.ok(compared > 400);
});
