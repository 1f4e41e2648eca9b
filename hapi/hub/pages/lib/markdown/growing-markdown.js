// Markdown that grows while an agent writes it.

import { takeOver } from "../code/code-block.js";
import { h } from "../dom.js";
import { completeLines, drawPiece, finish, itemsOf, piecesOf, placeOfBlock } from "./markdown.js";
import { BlockParser } from "./blocks.js";
import { Drawing } from "./drawing.js";

/** @import { FileNode } from "./drawing.js" */
/** @import { Piece } from "./markdown.js" */

/**
 * @typedef {Piece & {
 *   node: HTMLElement, isLoose: boolean, kept: number, labels: Set<string>, isFinal: boolean
 * }} Shown a piece in the document; `kept` of its items cannot change, and it depends on the definitions of `labels`
 */

/**
 * Markdown that grows at its end. What can no longer change is not read and drawn again, so that a piece of text costs
 * what the block at the end costs, however long the text is. It shows the same as `markdown` does.
 */
export class GrowingMarkdown {
  /** @param {FileNode} [fileNode] shows the files that the text names */
  constructor(fileNode) {
    this._fileNode = fileNode;
    this.node = h("div", { class: "markdown" });
    this._text = "";
    this._rest = ""; // what follows the last complete line
    this._parser = new BlockParser();
    /** @type {ReturnType<BlockParser["save"]> | null} the parser's state after the last complete line */
    this._saved = null;
    this._settled = 0; // blocks that are shown and cannot change
    /** @type {Shown[]} what is shown of the other blocks */
    this._shown = [];
    this._count = 0; // pieces that are shown
    /** @type {Map<string, Set<Shown>>} what depends on a definition, by its label */
    this._dependents = new Map();
  }

  /** Show `text`. False if it does not begin with what is shown. @param {string} text */
  grow(text) {
    if (!text.startsWith(this._text)) return false;
    if (text.length === this._text.length) return true;
    this._read(text.slice(this._text.length));
    this._text = text;
    const blocks = this._parser.document.children.slice(this._settled);
    const pieces = piecesOf(blocks);
    pieces.forEach((piece, index) => this._show(piece, index));
    for (const shown of this._shown.splice(pieces.length).reverse()) this._remove(shown);
    for (const label of this._parser.takeChanges()) this._redraw(label);
    const open = blocks.findIndex((block) => !block.isFinal);
    const settled = open < 0 ? blocks.length : open;
    this._settled += settled;
    this._shown.splice(0, piecesOf(blocks.slice(0, settled)).length);
    return true;
  }

  /** No more text comes. */
  finish() {
    finish(this.node);
  }

  /** Read what was added: the complete lines for good, and what follows them as if the text ended there. @param {string} added */
  _read(added) {
    const parser = this._parser;
    if (this._saved) parser.restore(this._saved);
    const rest = this._rest + added;
    // A carriage return at the end may belong to a line feed that comes later.
    const end = Math.max(rest.lastIndexOf("\n"), rest.slice(0, -1).lastIndexOf("\r")) + 1;
    for (const line of completeLines(rest.slice(0, end))) parser.add(line);
    this._rest = rest.slice(end);
    this._saved = parser.save();
    for (const line of completeLines(this._rest)) parser.add(line);
    parser.end();
  }

  /** @param {Piece} piece @param {number} index among those that are not settled */
  _show(piece, index) {
    const before = this._shown[index];
    const { block, from } = piece;
    if (before?.block === block && before.from === from && before.isLoose === block.isLoose) {
      if (block.kind === "list") this._showItems(before);
      else if (!before.isFinal) this._draw(before);
      before.isFinal = block.isFinal;
      return;
    }
    const drawing = new Drawing(this._parser.definitions, this._fileNode);
    const node = drawPiece(drawing, piece);
    if (!before) placeOfBlock(this.node, this._count++).append(node);
    const kept = keptItems(piece);
    const { isLoose, isFinal } = block;
    const shown = before ? updated(before.node, node) : node;
    this._shown[index] = { ...piece, node: shown, isLoose, isFinal, kept, labels: new Set() };
    if (before) this._forget(before);
    this._depend(this._shown[index], drawing.labels);
  }

  /** Show the items of a list that are new or may have changed. @param {Shown} shown */
  _showItems(shown) {
    const items = itemsOf(shown);
    if (shown.kept === items.length && shown.node.childNodes.length === items.length) return;
    const drawing = new Drawing(this._parser.definitions, this._fileNode);
    const children = [...shown.node.childNodes];
    items.slice(shown.kept).forEach((item, offset) => {
      const node = drawing.item(item, shown.isLoose);
      const child = children[shown.kept + offset];
      if (child) updated(child, node);
      else shown.node.append(node);
    });
    for (const child of children.slice(items.length)) child.remove();
    shown.kept = keptItems(shown);
    this._depend(shown, drawing.labels);
  }

  /** Draw again what is shown. @param {Shown} shown */
  _draw(shown) {
    const drawing = new Drawing(this._parser.definitions, this._fileNode);
    shown.node = updated(shown.node, drawPiece(drawing, shown));
    this._depend(shown, drawing.labels);
  }

  /** Draw again what depends on a definition. @param {string} label */
  _redraw(label) {
    for (const shown of this._dependents.get(label) ?? []) this._draw(shown);
  }

  /** @param {Shown} shown @param {Set<string>} labels */
  _depend(shown, labels) {
    for (const label of labels) {
      shown.labels.add(label);
      const dependents = this._dependents.get(label);
      if (dependents) dependents.add(shown);
      else this._dependents.set(label, new Set([shown]));
    }
  }

  /** @param {Shown} shown */
  _forget(shown) {
    for (const label of shown.labels) this._dependents.get(label)?.delete(shown);
  }

  /** Remove the last piece. @param {Shown} shown */
  _remove(shown) {
    this._forget(shown);
    const part = shown.node.parentElement;
    shown.node.remove();
    this._count -= 1;
    if (part !== this.node && !part?.hasChildNodes()) part?.remove();
  }
}

/** How many items at the beginning of a piece cannot change. @param {Piece} piece */
function keptItems(piece) {
  const items = itemsOf(piece);
  const open = items.findIndex((item) => !item.isFinal);
  return open < 0 ? items.length : open;
}

/**
 * Make `node`, which is in the document, show what `wanted` shows, and keep what is the same in it: the browser lays
 * out what is new only, and a selection stays. Returns the node that is in the document now.
 * @template {Node} Shown
 * @param {Shown} node
 * @param {Shown} wanted
 * @returns {Shown}
 */
function updated(node, wanted) {
  if (node.isEqualNode(wanted)) return node;
  if (node instanceof Text && wanted instanceof Text) {
    node.data = wanted.data;
    return node;
  }
  const isSame =
    node instanceof Element &&
    wanted instanceof Element &&
    node.cloneNode(false).isEqualNode(wanted.cloneNode(false));
  if (!isSame) {
    node.parentNode?.replaceChild(wanted, node);
    return wanted;
  }
  takeOver(node, wanted);
  const children = [...node.childNodes];
  const wantedChildren = [...wanted.childNodes];
  wantedChildren.forEach((child, place) => {
    if (place < children.length) updated(children[place], child);
    else node.appendChild(child);
  });
  for (const child of children.slice(wantedChildren.length)) child.remove();
  return node;
}
