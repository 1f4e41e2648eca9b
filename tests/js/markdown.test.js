import assert from "node:assert/strict";
import { test } from "node:test";
import { installDom, load } from "./support.js";

installDom();
const { markdown, safeAddress } = await load("lib/markdown.js");

const LINK = 'href="https://a.example/x" target="_blank" rel="noopener noreferrer"';
const CASES = {
  "# Title": "<h3>Title</h3>",
  "##  Title ## ": "<h4>Title</h4>",
  "**bold** and *thin*": "<p><strong>bold</strong> and <em>thin</em></p>",
  "~~gone~~ and `code`": "<p><s>gone</s> and <code>code</code></p>",
  "snake_case_name and 2 * 3 * 4": "<p>snake_case_name and 2 * 3 * 4</p>",
  "**a *b* c**": "<p><strong>a <em>b</em> c</strong></p>",
  "one\ntwo\n\nthree": "<p>one<br>two</p><p>three</p>",
  "- a\n- b\n  - c\n- d": "<ul><li>a</li><li>b<ul><li>c</li></ul></li><li>d</li></ul>",
  "3. x\n4. y": '<ol start="3"><li>x</li><li>y</li></ol>',
  "> quoted": "<blockquote><p>quoted</p></blockquote>",
  "---": "<hr>",
  "a \\*literal\\* star": "<p>a *literal* star</p>",
  "[site](https://a.example/x)": `<p><a ${LINK}>site</a></p>`,
  "see https://a.example/x.": `<p>see <a ${LINK}>https://a.example/x</a>.</p>`,
  "[no](javascript:alert(1))": "<p>[no](javascript:alert(1))</p>",
  "<b>text</b>": "<p>&lt;b&gt;text&lt;/b&gt;</p>",
  "unclosed **bold and `code": "<p>unclosed **bold and `code</p>",
  "a paragraph\n2024. is no list": "<p>a paragraph<br>2024. is no list</p>",
  "": "",
};

for (const [text, html] of Object.entries(CASES)) {
  test(`${JSON.stringify(text)} is drawn as it is meant`, () => {
    assert.equal(markdown(text).innerHTML, html);
  });
}

test("a fence keeps its text, also where it is not closed", () => {
  for (const text of ["```js\nlet a = `*`;\n```", "```js\nlet a = `*`;"]) {
    assert.match(markdown(text).innerHTML, /<pre tabindex="0"><code>let a = `\*`;<\/code><\/pre>/);
  }
});

test("a table has as many cells per row as its head", () => {
  const html = markdown("| a | b |\n|---|:-:|\n| 1 |\n| 2 | 3 | 4 |").innerHTML;
  assert.equal(html.match(/<td>/g).length, 4);
});

test("a long line takes no longer than others of its length", () => {
  const [spaces, marks] = [" ".repeat(100_000), "#".repeat(100_000)];
  for (const line of [
    `# a${spaces}x`,
    `# ${marks}x`,
    `\`\`\`${spaces}\``,
    `\`\`\`${"x".repeat(100_000)}\``,
    `| a |\n|-${spaces}x`,
    `| a |\n${spaces}-x`,
    `${"- ".repeat(50_000)}x`,
  ]) {
    assert.ok(markdown(line).textContent.length > 0);
  }
});

test("only web and mail addresses may be followed", () => {
  assert.equal(safeAddress("https://a.example"), "https://a.example/");
  assert.equal(safeAddress("mailto:a@b.example"), "mailto:a@b.example");
  for (const address of [
    "javascript:1",
    "JaVaScRiPt:1",
    "data:text/html,x",
    "/relative",
    "//a.example",
  ]) {
    assert.equal(safeAddress(address), null);
  }
});

for (const piece of [
  "*",
  "**a",
  "_",
  "`",
  "[",
  "[a](",
  "> ",
  "- ",
  "~~",
  "|-",
  "h",
  "https://",
  "\\",
  "a\n",
]) {
  test(`${JSON.stringify(piece)} repeated costs no more than its length`, () => {
    const started = performance.now();
    markdown(piece.repeat(20_000));
    assert.ok(performance.now() - started < 5000);
  });
}
