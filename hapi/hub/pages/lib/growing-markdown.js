// Markdown that grows while an agent writes it.

import { h } from "./dom.js";
import { blockNode, finish, listItems, placeOfBlock } from "./markdown.js";

/** @import { BlockResult, ListForm } from "./markdown.js" */

// Where a block ends depends on the two lines after it at most, and the last line may not be complete.
const UNSETTLED_LINES = 3;

/**
 * Markdown that grows at its end. What can no longer change is not read and drawn again, so that a piece costs what
 * the block of text at the end costs, however long the text is. It shows the same as `markdown` does.
 */
export class GrowingMarkdown {
  constructor() {
    this.node = h("div", { class: "markdown" });
    this._text = "";
    this._end = ""; // the text from the first block on that may still change
    /** @type {HTMLElement[]} the nodes of these blocks */
    this._endNodes = [];
    this._count = 0; // blocks that are shown
    /** @type {(ListForm & { node: HTMLElement, kept: number }) | null} the list that `_end` begins in: items before it are settled */
    this._list = null;
  }

  /** Show `text`. False if it does not begin with what is shown. @param {string} text */
  grow(text) {
    if (!text.startsWith(this._text)) return false;
    if (text.length === this._text.length) return true;
    this._end = (this._end + text.slice(this._text.length)).replaceAll("\r\n", "\n");
    this._text = text;
    const before = this._endNodes;
    this._endNodes = [];
    let reused = 0;
    const lines = this._end.split("\n");
    let settled = 0; // lines of blocks that nothing that follows can change
    const rest = this._list;
    this._list = null;
    for (let at = 0; at < lines.length;) {
      /** @type {BlockResult} */
      const [node, next, form] =
        at === 0 && rest ? restOfList(lines, rest) : blockNode(lines, at, 0);
      at = next;
      const isSettled = next + UNSETTLED_LINES <= lines.length;
      if (isSettled) settled = next;
      if (!node) continue;
      const place = before[reused];
      if (place) reused += 1;
      else placeOfBlock(this.node, this._count++).append(node);
      const shown = place && place !== node ? updated(place, node) : node;
      if (isSettled) continue;
      if (this._endNodes.length === 0 && form) {
        const whole = form.starts.findLastIndex((line) => line + UNSETTLED_LINES <= lines.length);
        const kept = (node === rest?.node ? rest.kept : 0) + Math.max(whole, 0);
        if (kept > 0) this._list = { ...form, node: shown, kept };
        if (whole > 0) settled = form.starts[whole];
      }
      this._endNodes.push(shown);
    }
    for (const node of before.slice(reused).reverse()) this._remove(node);
    if (settled > 0) this._end = lines.slice(settled).join("\n");
    return true;
  }

  /** No more text comes. */
  finish() {
    finish(this.node);
  }

  /** Remove the last block. @param {HTMLElement} block */
  _remove(block) {
    const part = block.parentElement;
    block.remove();
    this._count -= 1;
    if (part !== this.node && !part?.hasChildNodes()) part?.remove();
  }
}

/**
 * The list of which `lines` are the rest, with its items up to the end of the list.
 * @param {string[]} lines
 * @param {ListForm & { node: HTMLElement, kept: number }} known
 * @returns {BlockResult}
 */
function restOfList(lines, { node, kept, indent, ordered, start }) {
  const { items, end, starts } = listItems(lines, 0, 0, { indent, ordered, start }, kept);
  const shown = [...node.childNodes].slice(kept);
  items.forEach((item, place) => {
    if (place < shown.length) updated(shown[place], item);
    else node.append(item);
  });
  for (const child of shown.slice(items.length)) child.remove();
  return [node, end, { indent, ordered, start, starts }];
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
  const children = [...node.childNodes];
  const wantedChildren = [...wanted.childNodes];
  wantedChildren.forEach((child, place) => {
    if (place < children.length) updated(children[place], child);
    else node.appendChild(child);
  });
  for (const child of children.slice(wantedChildren.length)) child.remove();
  return node;
}
