// The blocks of a Markdown text: a tree that is built line by line (CommonMark 0.31.2, "Appendix: A parsing strategy").

import { Block, restore, snapshot } from "./block.js";
import { begin, CODE_INDENT } from "./block-starts.js";
import { Line } from "./line.js";
import { definitionAt } from "./links.js";
import { maxRows } from "./tables.js";

/** @import { BlockKind } from "./block.js" */
/** @import { Definitions, Target } from "./links.js" */

const LINE_END = /\r\n|\n|\r/;

/** The lines of a text. @param {string} text */
export function linesOf(text) {
  return text.split(LINE_END);
}

/**
 * Builds the tree of a text that comes in lines. Each line is examined a bounded number of times, whatever the text.
 * What was added since `save` can be taken back, so that a text may be read to its end before that end is known.
 */
export class BlockParser {
  constructor() {
    this.document = new Block("document", null);
    this.tip = this.document; // the innermost block that is open
    /** @type {Definitions} */
    this.definitions = new Map();
    /** @type {Map<string, Target | undefined>} what labels meant before they were changed, until `takeChanges` */
    this._changes = new Map();
    this._lineNumber = 0;
    this._isAfterBlank = false; // a blank line that counts for the looseness of lists
    this._matched = this.document; // the innermost block that the line continues
    this._isMatchedOnly = true; // blocks that the line does not continue are closed
    /** @type {string[] | null} labels that were defined since `save` */
    this._added = null;
  }

  /** Add a line, without its end. @param {string} text */
  add(text) {
    const line = new Line(text.includes("\0") ? text.replaceAll("\0", "\ufffd") : text);
    this._lineNumber += 1;
    let container = this._continued(line);
    if (!container) return;
    this._matched = container;
    this._isMatchedOnly = container === this.tip;
    while (container.kind !== "code" && container.kind !== "html") {
      const begun = begin(this, line, container);
      if (begun === "leaf") {
        this._isAfterBlank = false;
        return;
      }
      if (begun === "none") break;
      container = this.tip;
    }
    this._addText(line, container);
  }

  /** No more lines come. */
  end() {
    while (this.tip !== this.document) this._close(this.tip);
    this._matched = this.document;
    this._isMatchedOnly = true;
  }

  /** The state now, for `restore`; what is added from here on is not final. */
  save() {
    this._added = [];
    const open = [snapshot(this.document)];
    for (let block = this.document.lastChild; block?.isOpen; block = block.lastChild)
      open.push(snapshot(block));
    const { tip, _lineNumber, _isAfterBlank } = this;
    return { open, fields: { tip, _lineNumber, _isAfterBlank } };
  }

  /** Take back what was added since `save`. @param {ReturnType<BlockParser["save"]>} saved */
  restore({ open, fields }) {
    for (const label of this._added ?? []) {
      this._note(label);
      this.definitions.delete(label);
    }
    this._added = null;
    open.forEach(restore);
    Object.assign(this, fields);
  }

  /** The labels whose meaning has changed since the last call. */
  takeChanges() {
    const changed = [...this._changes]
      .filter(([label, before]) => {
        const now = this.definitions.get(label);
        return now?.address !== before?.address || now?.title !== before?.title;
      })
      .map(([label]) => label);
    this._changes.clear();
    return changed;
  }

  /** Whether `line` continues a paragraph although it continues not all blocks around it. @param {Line} line */
  isLazy(line) {
    return !this._isMatchedOnly && !line.isBlank && this.tip.kind === "paragraph";
  }

  /**
   * Begin a block in the innermost block that may hold it.
   * @param {BlockKind} kind
   */
  open(kind) {
    this.closeUnmatched();
    while (!this.tip.holds(kind)) this._close(this.tip);
    const parent = this.tip;
    if (this._isAfterBlank && parent.children.length > 0) {
      const list = kind === "item" ? parent : parent.kind === "item" ? parent.parent : null;
      if (list) list.isLoose = true;
    }
    this.tip = new Block(kind, parent);
    this.tip.firstLine = this._lineNumber;
    parent.children.push(this.tip);
    return this.tip;
  }

  /** Close the blocks that the line does not continue. */
  closeUnmatched() {
    if (this._isMatchedOnly) return;
    while (this.tip !== this._matched) this._close(this.tip);
    this._isMatchedOnly = true;
  }

  /** Read the definitions of links that a paragraph begins with. @param {Block} paragraph */
  takeDefinitions(paragraph) {
    const lines = paragraph.lines.slice(0, paragraph.lineCount ?? undefined);
    if (lines[0]?.[0] !== "[") return;
    const text = lines.join("\n");
    let at = paragraph.skipped;
    while (text[at] === "[") {
      const found = definitionAt(text, at);
      if (!found) break;
      this._define(found.label, { address: found.address, title: found.title });
      at = found.end;
    }
    paragraph.skipped = at;
  }

  /** Add a line to a block of HTML, which may end there. @param {Block} block @param {Line} line */
  addHtml(block, line) {
    const text = line.rest();
    block.lines.push(text);
    if (block.end?.test(text)) this._close(block);
  }

  /** The innermost block that `line` continues; null if it only ends a block of code. @param {Line} line */
  _continued(line) {
    let container = this.document;
    for (let block = container.lastChild; block?.isOpen; block = block.lastChild) {
      if (block.fence && endsFence(block, line)) {
        this._matched = block;
        this._isMatchedOnly = block === this.tip;
        this._close(block);
        this._isAfterBlank = false;
        return null;
      }
      if (!continues(block, line)) break;
      container = block;
    }
    return container;
  }

  /** @param {Line} line @param {Block} container */
  _addText(line, container) {
    const text = line.text.slice(line.next);
    if (this.isLazy(line)) {
      this._isAfterBlank = false;
      this.tip.lines.push(text);
      return;
    }
    this.closeUnmatched();
    if (container.kind === "code") container.lines.push(line.rest());
    else if (container.kind === "html") this.addHtml(container, line);
    else if (container.kind === "paragraph" || (container.kind === "table" && hasRoom(container)))
      container.lines.push(text);
    else if (!line.isBlank) this.open("paragraph").lines.push(text);
    const isOwn =
      container.kind === "quote" ||
      container.fence !== null ||
      (container.kind === "item" &&
        container.children.length === 0 &&
        container.firstLine === this._lineNumber);
    this._isAfterBlank = line.isBlank && !isOwn;
  }

  /** @param {Block} block */
  _close(block) {
    if (block.kind === "paragraph") {
      this.takeDefinitions(block);
      if (!block.text) block.kind = "definitions";
    }
    block.isOpen = false;
    block.isFinal = this._added === null;
    if (block.parent) this.tip = block.parent;
  }

  /** The first definition of a label counts. @param {string} label @param {Target} target */
  _define(label, target) {
    if (this.definitions.has(label)) return;
    this._note(label);
    this.definitions.set(label, target);
    this._added?.push(label);
  }

  /** @param {string} label */
  _note(label) {
    if (!this._changes.has(label)) this._changes.set(label, this.definitions.get(label));
  }
}

/** Whether a line goes on with a block; what belongs to the mark of the block is read then. @param {Block} block @param {Line} line */
function continues(block, line) {
  switch (block.kind) {
    case "list":
      return true;
    case "quote":
      if (line.indent >= CODE_INDENT || line.first !== ">") return false;
      line.skipSpaces(1);
      if (line.isAtSpace) line.skipColumns(1);
      return true;
    case "item":
      if (line.isBlank) return block.children.length > 0;
      if (line.indent < block.inset) return false;
      line.skipColumns(block.inset);
      return true;
    case "code":
      return continuesCode(block, line);
    case "html":
      return block.end !== null || !line.isBlank;
    case "paragraph":
    case "table":
      return !line.isBlank;
    default:
      return false;
  }
}

/** @param {Block} block @param {Line} line */
function continuesCode(block, line) {
  if (block.fence) line.skipColumns(Math.min(block.fence.indent, line.indent));
  else if (line.indent >= CODE_INDENT) line.skipColumns(CODE_INDENT);
  else if (line.isBlank) line.skipSpaces();
  else return false;
  return true;
}

/** Whether a line is the fence that ends a block of code. @param {Block} block @param {Line} line */
function endsFence({ fence }, line) {
  if (!fence || line.indent >= CODE_INDENT || line.first !== fence.sign) return false;
  let end = line.next;
  while (line.text[end] === fence.sign) end += 1;
  return end - line.next >= fence.length && line.text.slice(end).trim() === "";
}

/** Whether a table may have one more row. @param {Block} table */
function hasRoom(table) {
  return table.lines.length - 1 < maxRows(table.columns.length);
}
