// Markdown as DOM nodes. Nothing is ever parsed as HTML: what is not Markdown stays text.

import { codeBlock, colourCode } from "./code-block.js";
import { h } from "./dom.js";

/** @typedef {(Node | string)[]} Inline */
/**
 * @typedef {object} ListForm of a list
 * @property {string} indent of its first item
 * @property {boolean} ordered
 * @property {number} start the number of its first item
 * @property {number[]} starts where its items begin, as lines
 */
/** @typedef {[node: HTMLElement | null, next: number, form?: ListForm]} BlockResult the node and the first line after it */

const MAX_DEPTH = 8; // nested quotes, lists and emphasis; deeper ones stay text
const PART_ITEMS = 100; // of a long list
const PART_BLOCKS = 50; // of a long text
const MAX_COLUMNS = 100; // of a table; wider ones stay text
const MAX_CELLS = 10_000; // of a table
const MAX_PARAGRAPH = 50_000; // characters; in longer paragraphs inline marks stay text

/**
 * A div.markdown that shows `text`.
 * @param {string} text
 */
export function markdown(text) {
  const node = h("div", { class: "markdown" });
  const blocks = blockNodes(String(text).replaceAll("\r\n", "\n").split("\n"), 0);
  blocks.forEach((block, index) => placeOfBlock(node, index).append(block));
  finish(node);
  return node;
}

/**
 * Add to Markdown whose text is complete what takes time: the colours of code, and formulas.
 * @param {Element} node
 */
export function finish(node) {
  colourCode(node);
  if (node.querySelector(".math")) drawFormulas(node).catch(() => {}); // without the library a formula is text
}

/** @param {Element} node */
async function drawFormulas(node) {
  const { drawMath } = await import("./math.js");
  await drawMath(node);
}

/**
 * Where the block of that index goes that is added to a div.markdown. A long text is divided into parts: when a block
 * is added, the browser goes through the blocks of its part and not through all of them.
 * @param {HTMLElement} node
 * @param {number} index
 */
export function placeOfBlock(node, index) {
  if (index < PART_BLOCKS) return node;
  if (index % PART_BLOCKS === 0) node.append(h("div", { class: "part" }));
  return /** @type {HTMLElement} */ (node.lastElementChild);
}

// --- blocks ---

// Agents write lines of any length, so the time of each form grows with the length only, not faster.
const FENCE = /^ {0,3}(`{3,}|~{3,})\s{0,9}([^\s`]*)(?:\s[^`]*)?$/;
const HEADING = /^ {0,3}(#{1,6})(?:\s+(.*))?$/;
const UNDERLINE = /^ {0,3}(={2,}|-{2,})[ \t]*$/; // one sign may be the beginning of a list
const RULE = /^ {0,3}([-*_])(?:\s*\1){2,}\s*$/;
const ITEM = /^(\s*)([-*+]|\d{1,9}[.)])(\s+)(.*)$/;
const QUOTE = /^ {0,3}> ?/;
const DIVIDER_CELL = /^:?-+:?$/;

/**
 * Whether `line` divides the head of a table from its rows.
 * @param {string} line
 */
function isDivider(line) {
  const parts = line.trim().split("|");
  if (parts.length > 1 && !parts[0]) parts.shift();
  if (parts.length > 1 && !parts[parts.length - 1]) parts.pop();
  return parts.every((cell) => DIVIDER_CELL.test(cell.trim()));
}

/** @param {string} line */
function isTableHead(line) {
  return line.includes("|") && line.split("|", MAX_COLUMNS + 2).length <= MAX_COLUMNS + 1;
}

/**
 * The text of a heading, without the marks that may close it.
 * @param {string} rest
 */
function headingText(rest) {
  const text = rest.trim();
  let end = text.length;
  while (end > 0 && text[end - 1] === "#") end -= 1;
  return end === 0 || /\s/.test(text[end - 1]) ? text.slice(0, end).trimEnd() : text;
}

/**
 * @param {string[]} lines
 * @param {number} depth
 */
function blockNodes(lines, depth) {
  const nodes = [];
  for (let at = 0; at < lines.length;) {
    const [node, next] = blockNode(lines, at, depth);
    if (node) nodes.push(node);
    at = next;
  }
  return nodes;
}

/**
 * The block that begins at line `at`.
 * @param {string[]} lines
 * @param {number} at
 * @param {number} depth
 * @returns {BlockResult}
 */
export function blockNode(lines, at, depth) {
  const line = lines[at];
  if (!line.trim()) return [null, at + 1];
  const fence = FENCE.exec(line);
  if (fence) return fencedCode(lines, at, fence);
  const heading = HEADING.exec(line);
  if (heading) return [headingNode(heading[1].length, headingText(heading[2] ?? "")), at + 1];
  if (RULE.test(line)) return [h("hr"), at + 1];
  if (QUOTE.test(line) && depth < MAX_DEPTH) return quote(lines, at, depth);
  if (ITEM.test(line) && depth < MAX_DEPTH) return list(lines, at, depth);
  if (isTableHead(line) && at + 1 < lines.length && isDivider(lines[at + 1]))
    return table(lines, at);
  return paragraph(lines, at);
}

/**
 * @param {number} level
 * @param {string} text
 */
function headingNode(level, text) {
  const tag = /** @type {"h3" | "h4" | "h5" | "h6"} */ (`h${Math.min(level + 2, 6)}`);
  return h(tag, null, inline(text));
}

/**
 * @param {string[]} lines
 * @param {number} at
 * @param {string[]} match
 * @returns {BlockResult}
 */
function fencedCode(lines, at, [, mark, language]) {
  const closes = (/** @type {string} */ line) =>
    line.trim().startsWith(mark) && !line.trim().replaceAll(mark[0], "");
  let end = at + 1;
  while (end < lines.length && !closes(lines[end])) end += 1;
  return [codeBlock(lines.slice(at + 1, end).join("\n"), language), end + 1];
}

/**
 * @param {string[]} lines
 * @param {number} at
 * @param {number} depth
 * @returns {BlockResult}
 */
function quote(lines, at, depth) {
  let end = at;
  while (end < lines.length && QUOTE.test(lines[end])) end += 1;
  const content = lines.slice(at, end).map((line) => line.replace(QUOTE, ""));
  return [h("blockquote", null, blockNodes(content, depth + 1)), end];
}

/**
 * @param {string[]} lines
 * @param {number} at
 * @param {number} depth
 * @returns {BlockResult}
 */
function list(lines, at, depth) {
  const [, indent, marker] = /** @type {RegExpExecArray} */ (ITEM.exec(lines[at]));
  const ordered = /\d/.test(marker);
  const start = parseInt(marker, 10);
  const { items, end, starts } = listItems(lines, at, depth, { indent, ordered, start });
  const node = h(ordered ? "ol" : "ul", ordered && start !== 1 ? { start } : null, items);
  return [node, end, { indent, ordered, start, starts }];
}

/**
 * The items of a list from line `at` on, the line after the last one, and the lines where they begin. A long list
 * ends after PART_ITEMS, and what follows is a list of its own that goes on with its numbers: the browser goes
 * through all items of a list when one is added.
 * @param {string[]} lines
 * @param {number} at
 * @param {number} depth
 * @param {Omit<ListForm, "starts">} form
 * @param {number} kept its items before line `at`
 */
export function listItems(lines, at, depth, { indent, ordered, start }, kept = 0) {
  const items = [];
  /** @type {number[]} */
  const starts = [];
  let end = at;
  while (end < lines.length) {
    const match = ITEM.exec(lines[end]);
    if (!match || RULE.test(lines[end])) break;
    const [, itemIndent, itemMarker, gap, text] = match;
    const isSibling = itemIndent.length >= indent.length && itemIndent.length <= indent.length + 1;
    if (!isSibling || /\d/.test(itemMarker) !== ordered) break;
    const count = kept + items.length;
    const isFull = count > 0 && count % PART_ITEMS === 0 && depth === 0;
    if (isFull && (!ordered || parseInt(itemMarker, 10) === start + count)) break;
    starts.push(end);
    const inset = itemIndent.length + itemMarker.length + Math.min(gap.length, 4);
    const content = [text];
    for (end += 1; end < lines.length && continuesItem(lines, end, inset); end += 1) {
      content.push(lines[end].slice(Math.min(inset, leading(lines[end]))));
    }
    while (content.length > 1 && !content.at(-1)?.trim()) content.pop();
    items.push(listItem(content, depth));
    while (end + 1 < lines.length && !lines[end].trim() && ITEM.test(lines[end + 1])) end += 1;
  }
  return { items, end, starts };
}

/**
 * Whether a line continues a list item whose text starts at column `inset`.
 * @param {string[]} lines
 * @param {number} at
 * @param {number} inset
 */
function continuesItem(lines, at, inset) {
  const line = lines[at];
  const column = Math.min(inset, 2);
  if (!line.trim())
    return (
      at + 1 < lines.length && leading(lines[at + 1]) >= column && Boolean(lines[at + 1].trim())
    );
  if (leading(line) >= column) return true;
  return (
    Boolean(lines[at - 1].trim()) &&
    ![ITEM, FENCE, HEADING, QUOTE, RULE].some((form) => form.test(line))
  );
}

/** @param {string} line */
function leading(line) {
  return line.length - line.trimStart().length;
}

/**
 * @param {string[]} content
 * @param {number} depth
 */
function listItem(content, depth) {
  const task = /^\[([ xX])\]\s+(.*)$/s.exec(content[0]);
  if (task) content[0] = task[2];
  /** @type {Node[]} */
  const inner = blockNodes(content, depth + 1);
  const first = inner[0];
  if (first instanceof HTMLElement && first.tagName === "P")
    inner.splice(0, 1, ...first.childNodes); // a tight list
  const done = task && task[1] !== " ";
  const box =
    task &&
    h("input", {
      type: "checkbox",
      disabled: true,
      checked: done,
      "aria-label": done ? "done" : "open",
    });
  return h("li", task ? { class: "task" } : null, box, inner);
}

/**
 * A table. One with very many cells ends early, and the rest of its lines are text.
 * @param {string[]} lines
 * @param {number} at
 * @returns {BlockResult}
 */
function table(lines, at) {
  const head = cells(lines[at]);
  const alignments = cells(lines[at + 1]).map(alignmentOf);
  const last = at + 2 + Math.floor(MAX_CELLS / head.length);
  const rows = [];
  let end = at + 2;
  for (; end < Math.min(lines.length, last) && isRow(lines[end]); end += 1)
    rows.push(cells(lines[end]));
  /** @type {(texts: string[], tag: "th" | "td") => HTMLElement} */
  const row = (texts, tag) =>
    h(
      "tr",
      null,
      head.map((_, column) =>
        h(tag, { class: alignments[column] ?? null }, inline(texts[column] ?? "")),
      ),
    );
  const grid = h(
    "table",
    null,
    h("thead", null, row(head, "th")),
    h(
      "tbody",
      null,
      rows.map((texts) => row(texts, "td")),
    ),
  );
  return [h("div", { class: "table", tabindex: "0" }, grid), end];
}

/** @param {string} line */
function isRow(line) {
  return line.includes("|") && line.trim() !== "";
}

/** The class of a column's cells. @param {string} divider */
function alignmentOf(divider) {
  if (!divider.endsWith(":")) return null; // as the text runs
  return divider.startsWith(":") ? "centered" : "right";
}

/** @param {string} line */
function cells(line) {
  return line
    .trim()
    .replace(/^\||\|$/g, "")
    .split("|")
    .map((cell) => cell.trim());
}

/**
 * @param {string[]} lines
 * @param {number} at
 * @returns {BlockResult}
 */
function paragraph(lines, at) {
  const ends = (/** @type {string} */ line) =>
    !line.trim() ||
    UNDERLINE.test(line) ||
    [FENCE, HEADING, RULE, QUOTE].some((form) => form.test(line)) ||
    startsList(line);
  let end = at + 1;
  while (end < lines.length && !ends(lines[end])) end += 1;
  const text = lines
    .slice(at, end)
    .map((line) => line.trimStart())
    .join("\n");
  const underline = end < lines.length && UNDERLINE.exec(lines[end]);
  if (underline) return [headingNode(underline[1][0] === "=" ? 1 : 2, text.trimEnd()), end + 1];
  return [h("p", null, inline(text)), end];
}

/**
 * Whether a list may interrupt a paragraph with this line: a bullet, or the number 1.
 * @param {string} line
 */
function startsList(line) {
  const match = ITEM.exec(line);
  return match !== null && (!/\d/.test(match[2]) || /^1[.)]/.test(match[2]));
}

// --- inside a line ---

/** @type {[mark: string, tag: "strong" | "s" | "em"][]} */
const EMPHASIS = [
  ["**", "strong"],
  ["__", "strong"],
  ["~~", "s"],
  ["*", "em"],
  ["_", "em"],
];
const LINK =
  /\[([^[\]\n]{1,1000})\]\(\s*<?([^\s<>()]{1,2000}(?:\([^\s<>()]{0,200}\)[^\s<>()]{0,200})?)>?(?:\s+"[^"\n]{0,500}")?\s*\)/y;
const ADDRESS = /https?:\/\/[^\s<>"'`]{1,2000}/y;
const ESCAPABLE = /[!-/:-@[-`{-~]/; // the punctuation of ASCII

/**
 * Reads one run of text from left to right. Every character is examined a bounded number of times, whatever the text.
 */
class InlineScanner {
  /**
   * @param {string} text
   * @param {number} depth
   */
  constructor(text, depth) {
    this._text = text;
    this._depth = depth;
    /** @type {Inline} */
    this._nodes = [];
    /** @type {Set<string>} marks that do not occur again */
    this._unclosed = new Set();
    this._plainFrom = 0;
  }

  /** @returns {Inline} */
  scan() {
    for (let at = 0; at < this._text.length;) at = this._special(at) ?? at + 1;
    this._nodes.push(...withLineBreaks(this._text.slice(this._plainFrom)));
    return this._nodes;
  }

  /**
   * `node` stands for the text between `from` and `to`; returns `to`.
   * @param {Node | string} node
   * @param {number} from
   * @param {number} to
   */
  _emit(node, from, to) {
    if (from > this._plainFrom)
      this._nodes.push(...withLineBreaks(this._text.slice(this._plainFrom, from)));
    this._nodes.push(node);
    this._plainFrom = to;
    return to;
  }

  /**
   * Where to read on if something other than plain text begins at `at`; null if not.
   * @param {number} at
   */
  _special(at) {
    const text = this._text;
    const character = text[at];
    const next = text[at + 1] ?? "";
    if (character === "\\" && ESCAPABLE.test(next)) return this._emit(next, at, at + 2);
    if (character === "`") return this._codeSpan(at);
    if (character === "$") return this._formula(at);
    if (character === "[" || (character === "!" && next === "[")) return this._link(at);
    if (character === "h" && !/\w/.test(text[at - 1] ?? "")) return this._address(at);
    if (character === "*" || character === "_" || character === "~") return this._emphasis(at);
    return null;
  }

  /** @param {number} at */
  _codeSpan(at) {
    const text = this._text;
    let length = 1;
    while (text[at + length] === "`") length += 1;
    const mark = "`".repeat(Math.min(length, 50));
    const end = this._unclosed.has(mark) ? -1 : text.indexOf(mark, at + length);
    if (end < 0) {
      this._unclosed.add(mark);
      return at + length;
    }
    const code = text.slice(at + length, end).replaceAll("\n", " ");
    const isPadded = code.trim() && /^ .* $/s.test(code);
    return this._emit(h("code", null, isPadded ? code.slice(1, -1) : code), at, end + length);
  }

  /**
   * A formula: `$…$` inside a line, `$$…$$` on its own. A dollar sign beside a word or a space is none: "$5 and $6", "$HOME/$USER".
   * @param {number} at
   */
  _formula(at) {
    const text = this._text;
    const mark = text[at + 1] === "$" ? "$$" : "$";
    const from = at + mark.length;
    const end = this._unclosed.has(mark) ? -1 : text.indexOf(mark, from);
    if (end < 0) {
      this._unclosed.add(mark);
      return from;
    }
    const tex = text.slice(from, end);
    const isBeside = /\w/.test(text[at - 1] ?? "") || /\w/.test(text[end + 1] ?? "");
    const isLoose = tex !== tex.trim() || isBeside || tex.endsWith("\\");
    if (!tex.trim() || (mark === "$" && (isLoose || tex.includes("\n")))) return from;
    const look = mark === "$" ? "math" : "math display";
    const to = end + mark.length;
    return this._emit(h("span", { class: look }, text.slice(at, to)), at, to);
  }

  /** @param {number} at */
  _link(at) {
    LINK.lastIndex = this._text[at] === "!" ? at + 1 : at;
    const match = LINK.exec(this._text);
    if (!match) return null;
    const end = LINK.lastIndex;
    const address = safeAddress(match[2]);
    return address ? this._emit(anchor(address, inline(match[1], this._depth + 1)), at, end) : null;
  }

  /** @param {number} at */
  _address(at) {
    ADDRESS.lastIndex = at;
    const match = ADDRESS.exec(this._text);
    if (!match) return null;
    let found = match[0].replace(/[.,;:!?*_~]+$/, "");
    if (found.endsWith(")") && !found.includes("(")) found = found.slice(0, -1);
    const address = safeAddress(found);
    return address ? this._emit(anchor(address, [found]), at, at + found.length) : null;
  }

  /** @param {number} at */
  _emphasis(at) {
    const text = this._text;
    for (const [mark, tag] of EMPHASIS) {
      if (!text.startsWith(mark, at)) continue;
      const from = at + mark.length;
      const isInsideWord = mark[0] === "_" && /\w/.test(text[at - 1] ?? "");
      if (isInsideWord || this._unclosed.has(mark) || !/\S/.test(text[from] ?? " ")) return from;
      const end = closingMark(text, from, mark);
      if (end < 0) {
        this._unclosed.add(mark);
        if (mark.length > 1 && mark[0] !== "~") continue;
        return from;
      }
      return this._emit(
        h(tag, null, inline(text.slice(from, end), this._depth + 1)),
        at,
        end + mark.length,
      );
    }
    return null;
  }
}

/**
 * @param {string} text
 * @returns {Inline}
 */
function inline(text, depth = 0) {
  if (text.length > MAX_PARAGRAPH || depth > MAX_DEPTH) return [text];
  return new InlineScanner(text, depth).scan();
}

/**
 * @param {string} address
 * @param {Inline} content
 */
function anchor(address, content) {
  return h("a", { href: address, target: "_blank", rel: "noopener noreferrer" }, content);
}

/**
 * The address if it may be followed: http, https or mailto. All others (javascript:, data:, relative) may not.
 * @param {string} text
 */
export function safeAddress(text) {
  try {
    const url = new URL(text);
    return ["http:", "https:", "mailto:"].includes(url.protocol) ? url.href : null;
  } catch {
    return null;
  }
}

/**
 * Where the emphasis that `mark` opened before `from` ends; -1 if it does not.
 * @param {string} text
 * @param {number} from
 * @param {string} mark
 */
function closingMark(text, from, mark) {
  for (let at = text.indexOf(mark, from + 1); at >= 0; at = text.indexOf(mark, at + 1)) {
    const isDoubled =
      mark.length === 1 && (text[at + 1] === mark || (text[at - 1] === mark && at - 1 > from));
    if (isDoubled) {
      at += text[at + 1] === mark ? 1 : 0;
      continue;
    }
    if (!/\S/.test(text[at - 1])) continue;
    if (mark[0] === "_" && /\w/.test(text[at + mark.length] ?? "")) continue;
    return at;
  }
  return -1;
}

/**
 * @param {string} text
 * @returns {Inline}
 */
function withLineBreaks(text) {
  return text
    .split("\n")
    .flatMap((line, index) => (index ? [h("br"), line] : [line]))
    .filter((part) => part !== "");
}
