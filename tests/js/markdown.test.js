import assert from "node:assert/strict";
import { test } from "node:test";
import { installDom, load } from "./support.js";

installDom();
const { markdown } = await load("lib/markdown/markdown.js");
const { splitText } = await load("lib/markdown/text-chunks.js");
const { safeAddress } = await load("lib/markdown/address.js");

const LINK = 'href="https://a.example/x" target="_blank" rel="noopener noreferrer"';
const CASES = {
  "# Title": "<h3>Title</h3>",
  "Title\n===\ntext": "<h3>Title</h3><p>text</p>",
  "Title *one*\n---": "<h4>Title <em>one</em></h4>",
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
  "costs $5 and $6, $HOME/$USER": "<p>costs $5 and $6, $HOME/$USER</p>",
  "so $x_1 * y$ and $a$.":
    '<p>so <span class="math">$x_1 * y$</span> and <span class="math">$a$</span>.</p>',
  "$$\n\\int_0^1 x\n$$": '<p><span class="math display">$$\n\\int_0^1 x\n$$</span></p>',
  "a `$x$` and $ b $": "<p>a <code>$x$</code> and $ b $</p>",
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
  assert.equal(html.match(/<td[ >]/g).length, 4);
});

test("the columns of a table are aligned as its divider says", () => {
  const html = markdown("| a | b | c | d |\n|---|:-:|--:|:--|\n| 1 | 2 | 3 | 4 |").innerHTML;
  const row = '<td>1</td><td class="centered">2</td><td class="right">3</td><td>4</td>';
  assert.ok(html.includes(row));
});

/** Press the button for more of a long text until all of it is shown. */
function showAll(node) {
  for (let more = node.querySelector(".link"); more; more = node.querySelector(".link"))
    more.listeners.click();
}

test("a table of very many cells ends early, one of very many columns is text, and nothing is lost", () => {
  const long = `|a|b|\n|-|-|\n${"|1|\n".repeat(30_000)}`;
  const drawn = markdown(long);
  showAll(drawn);
  assert.equal(drawn.querySelectorAll("td").length, 10_000);
  assert.equal(drawn.textContent.replace(/[^1]/g, "").length, 30_000);
  const wide = `${"|a".repeat(1000)}\n${"|-".repeat(1000)}\n${"|\n".repeat(1000)}`;
  assert.equal(markdown(wide).querySelector("table"), null);
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
    const used = process.cpuUsage();
    markdown(piece.repeat(20_000));
    assert.ok(process.cpuUsage(used).user < 5_000_000); // µs
  });
}

test("a paragraph of 950 KB shows its beginning, and a button shows twice as much as before each time", () => {
  const text = "the `x` is *b* and **c** ".repeat(38_000);
  const node = markdown(text);
  const paragraph = node.querySelector("p");
  const shown = () => paragraph.textContent.length;
  const button = () => paragraph.querySelector("button");
  assert.ok(paragraph.querySelectorAll("code, em, strong").length <= 6_100);
  const added = [];
  let grown = 0;
  node.addEventListener("hapi-more-shown", () => (grown += 1));
  for (let before = 0; button(); before = shown()) {
    added.push(shown() - before);
    button().listeners.click();
  }
  assert.equal(added.length, grown);
  assert.ok(added.length >= 4 && added.length <= 6, String(added));
  assert.equal(paragraph.textContent, text.replaceAll(/[`*]/g, "").trim());
});

test("a long text is divided behind a white space, else anywhere but within a character", () => {
  assert.deepEqual(splitText("one two", 7), ["one two", ""]);
  const words = `${"word ".repeat(399)}${"x".repeat(30)}`;
  assert.deepEqual(splitText(words, 2000), ["word ".repeat(399), "x".repeat(30)]);
  assert.deepEqual(splitText("\u{1f600}".repeat(2000), 2001), [
    "\u{1f600}".repeat(1000),
    "\u{1f600}".repeat(1000),
  ]);
});
