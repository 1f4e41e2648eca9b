// The nodes of the tree that the blocks of a Markdown text make.

/**
 * @typedef {"document" | "quote" | "list" | "item" | "paragraph" | "heading" | "code" | "html" | "rule" | "table" |
 *   "definitions"} BlockKind
 */

/** @typedef {object} ListMark what the items of one list have in common
 * @property {boolean} isOrdered
 * @property {string} sign the bullet, or what follows the number
 */

/** @typedef {object} Fence
 * @property {string} sign
 * @property {number} length
 * @property {number} indent columns before it
 */

const CONTAINERS = new Set(["document", "quote", "list", "item"]);

/**
 * A block. While it is open, children and lines are only added at its end and its other fields are replaced, never
 * changed inside: so a copy of its fields and the lengths of the two lists are enough to take lines back.
 */
export class Block {
  /** @type {Block[]} of a container */
  children = [];
  /** @type {string[]} of a block of text; the first one of a table is its head */
  lines = [];
  isOpen = true;
  isFinal = false; // nothing that follows can change it
  /** @type {number | null} of a paragraph whose last line became the head of a table: the lines that are left */
  lineCount = null;
  skipped = 0; // characters of a paragraph that are definitions of links
  level = 0; // of a heading: 1 to 6
  language = ""; // of a block of code
  /** @type {Fence | null} of a block of code that has one */
  fence = null;
  /** @type {RegExp | null} what ends a block of HTML */
  end = null;
  /** @type {(import("./tables.js").Alignment)[]} of the columns of a table */
  columns = [];
  /** @type {ListMark | null} of a list */
  mark = null;
  start = 1; // the number of the first item of a list
  isLoose = false; // of a list
  inset = 0; // of an item: columns before its text
  firstLine = 0; // the number of the line where it begins

  /**
   * @param {BlockKind} kind
   * @param {Block | null} parent
   */
  constructor(kind, parent) {
    this.kind = kind;
    this.parent = parent;
    /** @type {number} quotes and items around it */
    this.depth = parent ? parent.depth + Number(kind === "quote" || kind === "item") : 0;
  }

  get isContainer() {
    return CONTAINERS.has(this.kind);
  }

  /** @returns {Block | undefined} */
  get lastChild() {
    return this.children.at(-1);
  }

  /** Whether it may hold a block of that kind. @param {BlockKind} kind */
  holds(kind) {
    return this.kind === "list" ? kind === "item" : this.isContainer && kind !== "item";
  }

  /** The text of a paragraph or heading without the definitions that it begins with. */
  get text() {
    const lines = this.lineCount === null ? this.lines : this.lines.slice(0, this.lineCount);
    return lines.join("\n").slice(this.skipped).trimEnd();
  }

  /** The text of a block of code or HTML. Blank lines at the end of code without a fence are not its own. */
  get code() {
    if (this.fence) return this.lines.join("\n");
    const last = this.lines.findLastIndex((line) => line.trim() !== "");
    return this.lines.slice(0, last + 1).join("\n");
  }
}

/** The fields of a block and how long its lists are, for `restore`. @param {Block} block */
export function snapshot(block) {
  const { children, lines, ...fields } = block;
  return { block, fields, children: children.length, lines: lines.length };
}

/** @param {ReturnType<typeof snapshot>} taken */
export function restore({ block, fields, children, lines }) {
  Object.assign(block, fields);
  block.children.length = children;
  block.lines.length = lines;
}
