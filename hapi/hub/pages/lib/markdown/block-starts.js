// Where blocks begin (CommonMark 0.31.2, "Leaf blocks" and "Container blocks"; GitHub Flavored Markdown, "Tables").

import { unescaped } from "./entities.js";
import { htmlBlockAt } from "./html.js";
import { tableColumns } from "./tables.js";

/** @import { Block } from "./block.js" */
/** @import { BlockParser } from "./blocks.js" */
/** @import { Line } from "./line.js" */

/** @typedef {"none" | "container" | "leaf"} Begun what began: a container in which the line goes on, or a block of text */

const MAX_DEPTH = 32; // quotes and items in one another; deeper ones stay text
export const CODE_INDENT = 4; // columns

const HEADING = /(#{1,6})(?:[ \t]|$)/y;
const FENCE = /(`{3,}(?=[^`]*$)|~{3,})([^]*)$/y;
const UNDERLINE = /(?:=+|-+)[ \t]*$/y;
const BULLET = /[*+-](?=[ \t]|$)/y;
const NUMBER = /(\d{1,9})([.)])(?=[ \t]|$)/y;

/** The match of a sticky expression at the first character of a line that is no space. @param {RegExp} form @param {Line} line */
function match(form, line) {
  form.lastIndex = line.next;
  return form.exec(line.text);
}

/** Whether a line is a thematic break. @param {Line} line */
function isRule(line) {
  const sign = line.first;
  if (sign !== "*" && sign !== "-" && sign !== "_") return false;
  let count = 0;
  for (let at = line.next; at < line.text.length; at += 1) {
    if (line.text[at] === sign) count += 1;
    else if (line.text[at] !== " " && line.text[at] !== "\t") return false;
  }
  return count >= 3;
}

/** @param {BlockParser} parser @param {Line} line @param {Block} container @returns {Begun} */
function quote(parser, line, container) {
  if (line.first !== ">" || container.depth >= MAX_DEPTH) return "none";
  line.skipSpaces(1);
  if (line.isAtSpace) line.skipColumns(1);
  parser.open("quote");
  return "container";
}

/** @param {BlockParser} parser @param {Line} line @returns {Begun} */
function heading(parser, line) {
  const found = line.first === "#" && match(HEADING, line);
  if (!found) return "none";
  const block = parser.open("heading");
  block.level = found[1].length;
  block.lines.push(headingText(line.text.slice(line.next + found[1].length)));
  return "leaf";
}

/** The text of a heading, without the marks that may close it. @param {string} rest */
function headingText(rest) {
  const text = rest.trim();
  let end = text.length;
  while (end > 0 && text[end - 1] === "#") end -= 1;
  return end === 0 || /[ \t]/.test(text[end - 1]) ? text.slice(0, end).trimEnd() : text;
}

/** @param {BlockParser} parser @param {Line} line @returns {Begun} */
function fencedCode(parser, line) {
  const found = (line.first === "`" || line.first === "~") && match(FENCE, line);
  if (!found) return "none";
  const block = parser.open("code");
  block.fence = { sign: line.first, length: found[1].length, indent: line.indent };
  block.language = unescaped(found[2].trim()).split(/\s/, 1)[0];
  return "leaf";
}

/** @param {BlockParser} parser @param {Line} line @param {Block} container @returns {Begun} */
function html(parser, line, container) {
  if (line.first !== "<") return "none";
  const interrupts = container.kind === "paragraph" || parser.isLazy(line);
  const found = htmlBlockAt(line.text, line.next, interrupts);
  if (!found) return "none";
  const block = parser.open("html");
  block.end = found.end;
  parser.addHtml(block, line);
  return "leaf";
}

/** @param {BlockParser} parser @param {Line} line @param {Block} container @returns {Begun} */
function underlinedHeading(parser, line, container) {
  const isMark = line.first === "=" || line.first === "-";
  if (container.kind !== "paragraph" || !isMark || !match(UNDERLINE, line)) return "none";
  parser.takeDefinitions(container);
  if (!container.text) return "none";
  container.kind = "heading";
  container.level = line.first === "=" ? 1 : 2;
  parser.closeUnmatched();
  return "leaf";
}

/** @param {BlockParser} parser @param {Line} line @returns {Begun} */
function rule(parser, line) {
  if (!isRule(line)) return "none";
  parser.open("rule");
  return "leaf";
}

/** @param {BlockParser} parser @param {Line} line @param {Block} container @returns {Begun} */
function table(parser, line, container) {
  if (container.kind !== "paragraph") return "none";
  const head = container.lines.at(-1) ?? "";
  const columns = tableColumns(head, line.text.slice(line.next));
  if (!columns) return "none";
  if (container.lines.length === 1) container.kind = "table";
  else container.lineCount = container.lines.length - 1;
  const block = container.lines.length === 1 ? container : parser.open("table");
  if (block !== container) block.lines.push(head);
  block.columns = columns;
  return "leaf";
}

/** @param {BlockParser} parser @param {Line} line @param {Block} container @returns {Begun} */
function item(parser, line, container) {
  const bullet = match(BULLET, line);
  const number = bullet ? null : match(NUMBER, line);
  const found = bullet ?? number;
  if (!found || container.depth >= MAX_DEPTH) return "none";
  const start = number ? parseInt(number[1], 10) : 1;
  const sign = number ? number[2] : found[0];
  const before = line.place();
  const inset = line.indent + found[0].length;
  line.skipSpaces(found[0].length);
  if (container.kind === "paragraph" && (line.isBlank || start !== 1)) {
    line.goBack(before);
    return "none";
  }
  parser.closeUnmatched();
  if (parser.tip.kind !== "list" || parser.tip.mark?.sign !== sign) {
    const list = parser.open("list");
    list.mark = { isOrdered: Boolean(number), sign };
    list.start = start;
  }
  const padding = skipPadding(line);
  parser.open("item").inset = inset + padding;
  return "container";
}

/** Read the spaces after the mark of an item; returns the columns that they count. @param {Line} line */
function skipPadding(line) {
  const before = line.place();
  line.skipColumns(CODE_INDENT + 1);
  const columns = line.column - before.column;
  if (columns >= 1 && columns <= CODE_INDENT && !line.isBlank) return columns;
  line.goBack(before);
  line.skipColumns(1);
  return 1;
}

/** In the order in which they are tried. */
const STARTS = [quote, heading, fencedCode, html, table, underlinedHeading, rule, item];

/** Characters that a block may begin with, but for code that is indented. */
const MAY_START = /[#`~*+_=<>0-9|:-]/;

/**
 * Begin the block of which `line` has the start, in `container`.
 * @param {BlockParser} parser
 * @param {Line} line
 * @param {Block} container
 * @returns {Begun}
 */
export function begin(parser, line, container) {
  if (line.indent >= CODE_INDENT) {
    const continues = parser.tip.kind === "paragraph" || container.kind === "table";
    if (continues || line.isBlank) return "none";
    line.skipColumns(CODE_INDENT);
    parser.open("code").lines.push(line.rest());
    return "leaf";
  }
  if (!MAY_START.test(line.first)) return "none";
  for (const start of STARTS) {
    const begun = start(parser, line, container);
    if (begun !== "none") return begun;
  }
  return "none";
}
