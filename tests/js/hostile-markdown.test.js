// Texts that make the time of a parser grow faster than their length, or that do so to other parsers.
// HAPI_MARKDOWN_SIZE=1000000 tries them in another size (characters) and prints what each takes.

import assert from "node:assert/strict";
import { test } from "node:test";
import { parseAll } from "./markdown-html.js";
import { installDom } from "./support.js";

installDom();

const SIZE = Number(process.env.HAPI_MARKDOWN_SIZE ?? 200_000); // characters
const NEGLIGIBLE_TIME = 1500; // ms of the processor; a quadratic parser takes minutes

const filled = (piece, size) => piece.repeat(Math.ceil(size / piece.length)).slice(0, size);
/** A piece over and over. */
const all =
  (piece, before = "", after = "") =>
  (size) =>
    before + filled(piece, size) + after;
/** One piece over and over, then another one. */
const halves = (first, second) => (size) => filled(first, size / 2) + filled(second, size / 2);
/** Lines of which each one is longer than the one before. */
const stairs = (line) => (size) =>
  Array.from({ length: Math.floor(Math.sqrt(2 * size)) }, (_, at) => line(at)).join("");

const HOSTILE = {
  "a heading with spaces": all(" ", "# a", "x"),
  "number signs": all("#"),
  headings: all("# "),
  asterisks: all("*"),
  "open emphasis": all("*a "),
  "closed emphasis": all("a* "),
  "emphasis of two signs": all("a**b_c*"),
  "emphasis that does not pair by the rule of three": all("a**b", "", filled("c* ", 5000)),
  "nested emphasis": halves("**x ", " x**"),
  underscores: all("_"),
  "underscores in words": all("_a__b_ "),
  "open strikethrough": all("~~a "),
  "open brackets": all("["),
  "closed brackets": all("]"),
  "open links": all("[a](b"),
  "open links in angle brackets": all("[a](<b"),
  "open titles": all('[a](b "'),
  "open parentheses": all("(", "[a]("),
  "nested links": halves("[", "](a)"),
  "nested pictures": halves("![", "](a)"),
  "links after open pictures": halves("![", "[a](b)"),
  "long labels": all(`[x${"y".repeat(900)}] `),
  backticks: all("`"),
  "backticks of all lengths": stairs((at) => `${"`".repeat(at)} `),
  "dollar signs": all("$"),
  "open formulas": all("$a $$"),
  "less-than signs": all("<"),
  "open tags": all("<a "),
  "open attributes": all("<a b='"),
  "many attributes": all(" b", "<a"),
  "open comments": all("x <!-- "),
  "open instructions": all("x <?"),
  "open declarations": all("x <!A"),
  "open sections": all("x <![CDATA["),
  "open addresses": all("<http:"),
  "open mail addresses": all("<a.b"),
  addresses: all("https://"),
  "addresses that are none": all("https://%"),
  "an address that ends in points": all(`https://a.b${".".repeat(500)}x `),
  "character references": all("&a"),
  "numbers of characters": all("&#1"),
  backslashes: all("\\"),
  "a fence with spaces": all(" ", "```", "x"),
  "open fences": all("```\n"),
  "a divider": all("-|", "| a |\n|"),
  "a wide table": (size) =>
    `${filled("|a", size / 3)}\n${filled("|-", size / 3)}\n${filled("|\n", size / 3)}`,
  "a long table": all("|\n", "|a|b|c|\n|-|-|-|\n"),
  tables: all("|a|b|\n|-|-|\n\n"),
  "heads without rows": all("|a|b|\n"),
  "deep quotes": all("> "),
  "lines of deep quotes": all(`${">".repeat(1000)}a\n`),
  "lazy lines": all("b\n", "> a\n"),
  "deep lists": all("- "),
  "deep lists with blank lines": halves("- ", "\n"),
  "lists in stairs": stairs((at) => `${" ".repeat(2 * at)}- a\n`),
  "lists in quotes": all("> - "),
  "empty items": all("-\n"),
  "blank lines in an item": all("\n", "- a\n", "- b"),
  "link definitions": all("[a]: b\n"),
  "definitions and their use": halves("[a]: b\n", "\n[a] "),
  "open definitions": all("[a]: <"),
  "open titles of definitions": all('"\n', "[a]: b "),
  "underlines after definitions": all("===\n", "[a]: b\n"),
  "spaces inside": all(" ", "a", "b"),
  tabs: all("\t", "", "x"),
  "empty lines": all("\n"),
  "carriage returns": all("\r"),
  "null characters": all("\0"),
  "halves of surrogate pairs": all("\ud83d*"),
};

/** The time that the processor needs for a text, in ms. */
function took(text) {
  const started = process.cpuUsage();
  parseAll(text);
  const { user, system } = process.cpuUsage(started);
  return Math.round((user + system) / 1000);
}

for (const [name, textOf] of Object.entries(HOSTILE)) {
  test(`${name} are parsed in a time that grows with their length`, () => {
    const quarter = took(textOf(SIZE / 4));
    const whole = took(textOf(SIZE));
    if (process.env.HAPI_MARKDOWN_SIZE) console.log(`${name}: ${quarter} ms, ${whole} ms`);
    // Four times the text takes four times as long; 16 times where the time is quadratic.
    assert.ok(whole < Math.max(9 * quarter, NEGLIGIBLE_TIME), `${quarter} ms, then ${whole} ms`);
  });
}
