// Markdown as DOM nodes. Nothing is ever parsed as HTML: what is not Markdown stays text.

import { h, icon } from "./dom.js";

const DEPTH = 8; // of nested quotes, lists and emphasis; deeper ones stay text
const LONG = 50_000; // characters of one paragraph beyond which inline marks stay text

/** A div.markdown with `text` drawn. */
export function markdown(text) {
  return h("div", { class: "markdown" }, blocks(String(text).replaceAll("\r\n", "\n").split("\n"), 0));
}

// --- blocks ---

function blocks(lines, depth) {
  const nodes = [];
  for (let at = 0; at < lines.length; ) {
    const [node, next] = block(lines, at, depth);
    if (node) nodes.push(node);
    at = next;
  }
  return nodes;
}

const FENCE = /^ {0,3}(`{3,}|~{3,})\s*([^\s`]*)[^`]*$/;
const HEADING = /^ {0,3}(#{1,6})\s+(.*?)\s*#*\s*$/;
const RULE = /^ {0,3}([-*_])(?:\s*\1){2,}\s*$/;
const ITEM = /^(\s*)([-*+]|\d{1,9}[.)])(\s+)(.*)$/;
const QUOTE = /^ {0,3}> ?/;
const DIVIDER = /^\s*\|?\s*:?-+:?\s*(?:\|\s*:?-+:?\s*)*\|?\s*$/;

function block(lines, at, depth) {
  const line = lines[at];
  if (!line.trim()) return [null, at + 1];
  let match;
  if ((match = FENCE.exec(line))) return fence(lines, at, match);
  if ((match = HEADING.exec(line))) return [h(`h${Math.min(match[1].length + 2, 6)}`, null, inline(match[2])), at + 1];
  if (RULE.test(line)) return [h("hr"), at + 1];
  if (QUOTE.test(line) && depth < DEPTH) return quote(lines, at, depth);
  if (ITEM.test(line) && depth < DEPTH) return list(lines, at, depth);
  if (line.includes("|") && at + 1 < lines.length && lines[at + 1].includes("-") && DIVIDER.test(lines[at + 1])) return table(lines, at);
  return paragraph(lines, at);
}

function fence(lines, at, [, mark, language]) {
  let end = at + 1;
  while (end < lines.length && !(lines[end].trim().startsWith(mark) && !lines[end].trim().replaceAll(mark[0], ""))) end += 1;
  return [codeBlock(lines.slice(at + 1, end).join("\n"), language), end + 1];
}

/** A block of code with its language and a button that copies it. */
export function codeBlock(code, language = "") {
  const copy = h("button", { type: "button", class: "icon-button copy", "aria-label": "Copy code", title: "Copy code", on: { click: () => copyText(code, copy) } }, icon("copy"));
  return h("div", { class: "code" }, language && h("span", { class: "language" }, language), copy, h("pre", { tabindex: "0" }, h("code", null, code)));
}

async function copyText(text, button) {
  try {
    await navigator.clipboard.writeText(text);
  } catch {
    return;
  }
  button.replaceChildren(icon("check"));
  setTimeout(() => button.replaceChildren(icon("copy")), 1500);
}

function quote(lines, at, depth) {
  let end = at;
  while (end < lines.length && QUOTE.test(lines[end])) end += 1;
  return [h("blockquote", null, blocks(lines.slice(at, end).map((line) => line.replace(QUOTE, "")), depth + 1)), end];
}

function list(lines, at, depth) {
  const [, indent, first] = ITEM.exec(lines[at]);
  const ordered = /\d/.test(first);
  const items = [];
  let end = at;
  while (end < lines.length) {
    const match = ITEM.exec(lines[end]);
    if (!match || match[1].length > indent.length + 1 || match[1].length < indent.length || /\d/.test(match[2]) !== ordered || RULE.test(lines[end])) break;
    const inset = match[1].length + match[2].length + Math.min(match[3].length, 4);
    const content = [match[4]];
    for (end += 1; end < lines.length && belongs(lines, end, inset); end += 1) content.push(lines[end].slice(Math.min(inset, leading(lines[end]))));
    while (content.length > 1 && !content.at(-1).trim()) content.pop();
    items.push(item(content, depth));
    while (end < lines.length && !lines[end].trim() && end + 1 < lines.length && ITEM.test(lines[end + 1])) end += 1;
  }
  const start = parseInt(first, 10);
  return [h(ordered ? "ol" : "ul", ordered && start !== 1 ? { start } : null, items), end];
}

/** Whether a line continues a list item whose text starts at column `inset`. */
function belongs(lines, at, inset) {
  const line = lines[at];
  if (!line.trim()) return at + 1 < lines.length && leading(lines[at + 1]) >= Math.min(inset, 2) && Boolean(lines[at + 1].trim());
  if (leading(line) >= Math.min(inset, 2)) return true;
  return Boolean(lines[at - 1].trim()) && !ITEM.test(line) && !FENCE.test(line) && !HEADING.test(line) && !QUOTE.test(line) && !RULE.test(line);
}

function leading(line) {
  return line.length - line.trimStart().length;
}

function item(content, depth) {
  const task = /^\[([ xX])\]\s+(.*)$/s.exec(content[0]);
  if (task) content[0] = task[2];
  const inner = blocks(content, depth + 1);
  if (inner[0]?.tagName === "P") inner.splice(0, 1, ...inner[0].childNodes); // a tight list
  const box = task && h("input", { type: "checkbox", disabled: true, checked: task[1] !== " ", "aria-label": task[1] === " " ? "open" : "done" });
  return h("li", task ? { class: "task" } : null, box, inner);
}

function table(lines, at) {
  const head = cells(lines[at]);
  let end = at + 2;
  const rows = [];
  for (; end < lines.length && lines[end].includes("|") && lines[end].trim(); end += 1) rows.push(cells(lines[end]));
  const row = (texts, tag) => h("tr", null, head.map((_, column) => h(tag, null, inline(texts[column] ?? ""))));
  return [h("div", { class: "table", tabindex: "0" }, h("table", null, h("thead", null, row(head, "th")), h("tbody", null, rows.map((texts) => row(texts, "td"))))), end];
}

function cells(line) {
  return line.trim().replace(/^\||\|$/g, "").split("|").map((cell) => cell.trim());
}

function paragraph(lines, at) {
  let end = at + 1;
  while (end < lines.length && lines[end].trim() && ![FENCE, HEADING, RULE, QUOTE].some((form) => form.test(lines[end])) && !startsList(lines[end])) end += 1;
  return [h("p", null, inline(lines.slice(at, end).map((line) => line.trimStart()).join("\n"))), end];
}

function startsList(line) {
  const match = ITEM.exec(line);
  return match !== null && (!/\d/.test(match[2]) || /^1[.)]/.test(match[2]));
}

// --- inside a line ---

const MARKS = [["**", "strong"], ["__", "strong"], ["~~", "s"], ["*", "em"], ["_", "em"]];
const LINK = /\[([^[\]\n]{1,1000})\]\(\s*<?([^\s<>()]{1,2000}(?:\([^\s<>()]{0,200}\)[^\s<>()]{0,200})?)>?(?:\s+"[^"\n]{0,500}")?\s*\)/y;
const ADDRESS = /https?:\/\/[^\s<>"'`]{1,2000}/y;

/** Nodes of a run of text. Every character is looked at a bounded number of times, whatever the text. */
export function inline(text, depth = 0) {
  if (text.length > LONG || depth > DEPTH) return [text];
  const nodes = [];
  const unclosed = new Set(); // marks that don't occur again
  let plain = 0;
  const emit = (node, from, to) => {
    if (from > plain) nodes.push(...broken(text.slice(plain, from)));
    nodes.push(node);
    plain = to;
    return to;
  };
  for (let at = 0; at < text.length; ) {
    const next = special(text, at, depth, unclosed, emit);
    at = next ?? at + 1;
  }
  nodes.push(...broken(text.slice(plain)));
  return nodes;
}

function special(text, at, depth, unclosed, emit) {
  const character = text[at];
  if (character === "\\" && /[\\`*_{}[\]()#+\-.!~|<>]/.test(text[at + 1] ?? "")) return emit(text[at + 1], at, at + 2);
  if (character === "`") return codeSpan(text, at, unclosed, emit);
  if (character === "[" || (character === "!" && text[at + 1] === "[")) return link(text, at, depth, emit);
  if (character === "h" && !/\w/.test(text[at - 1] ?? "")) return address(text, at, emit);
  if (character === "*" || character === "_" || character === "~") return emphasis(text, at, depth, unclosed, emit);
  return null;
}

function codeSpan(text, at, unclosed, emit) {
  let marks = 1;
  while (text[at + marks] === "`") marks += 1;
  const mark = "`".repeat(Math.min(marks, 50));
  const end = unclosed.has(mark) ? -1 : text.indexOf(mark, at + marks);
  if (end < 0) {
    unclosed.add(mark);
    return at + marks;
  }
  const code = text.slice(at + marks, end);
  return emit(h("code", null, code.trim() && /^ .* $/s.test(code) ? code.slice(1, -1) : code), at, end + marks);
}

function link(text, at, depth, emit) {
  LINK.lastIndex = text[at] === "!" ? at + 1 : at;
  const match = LINK.exec(text);
  if (!match) return null;
  const to = safeAddress(match[2]);
  return to ? emit(anchor(to, inline(match[1], depth + 1)), at, LINK.lastIndex) : null;
}

function address(text, at, emit) {
  ADDRESS.lastIndex = at;
  const match = ADDRESS.exec(text);
  if (!match) return null;
  let found = match[0].replace(/[.,;:!?*_~]+$/, "");
  if (found.endsWith(")") && !found.includes("(")) found = found.slice(0, -1);
  const to = safeAddress(found);
  return to ? emit(anchor(to, [found]), at, at + found.length) : null;
}

function anchor(to, content) {
  return h("a", { href: to, target: "_blank", rel: "noopener noreferrer" }, content);
}

/** The address if it is one that may be followed: http, https, mailto. Everything else (javascript:, data:, relative) is not. */
export function safeAddress(text) {
  try {
    const url = new URL(text);
    return ["http:", "https:", "mailto:"].includes(url.protocol) ? url.href : null;
  } catch {
    return null;
  }
}

function emphasis(text, at, depth, unclosed, emit) {
  for (const [mark, tag] of MARKS) {
    if (!text.startsWith(mark, at)) continue;
    const word = mark[0] === "_" && /\w/.test(text[at - 1] ?? "");
    if (word || unclosed.has(mark) || !/\S/.test(text[at + mark.length] ?? " ")) return at + mark.length;
    const end = closing(text, at + mark.length, mark);
    if (end < 0) {
      unclosed.add(mark);
      if (mark.length > 1 && mark[0] !== "~") continue;
      return at + mark.length;
    }
    return emit(h(tag, null, inline(text.slice(at + mark.length, end), depth + 1)), at, end + mark.length);
  }
  return null;
}

function closing(text, from, mark) {
  for (let at = text.indexOf(mark, from + 1); at >= 0; at = text.indexOf(mark, at + 1)) {
    const doubled = mark.length === 1 && (text[at + 1] === mark || (text[at - 1] === mark && at - 1 > from));
    if (doubled) {
      at += text[at + 1] === mark ? 1 : 0;
      continue;
    }
    if (!/\S/.test(text[at - 1])) continue;
    if (mark[0] === "_" && /\w/.test(text[at + mark.length] ?? "")) continue;
    return at;
  }
  return -1;
}

/** Text with its line breaks kept. */
function broken(text) {
  const lines = text.split("\n");
  return lines.flatMap((line, index) => (index ? [h("br"), line] : [line])).filter((part) => part !== "");
}
