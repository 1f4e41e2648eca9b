// Markdown as DOM nodes. Nothing is ever parsed as HTML: what is not Markdown stays text.

import { colourCode } from "../code/code-block.js";
import { h } from "../dom.js";
import { BlockParser, linesOf } from "./blocks.js";
import { Drawing } from "./drawing.js";

/** @import { Block } from "./block.js" */
/** @import { FileNode } from "./drawing.js" */

const PART_ITEMS = 100; // of a long list
const PART_BLOCKS = 50; // of a long text
export const MORE_SHOWN = "hapi-more-shown"; // the event of an element that shows more of a long text now

/** @typedef {{ block: Block, from: number }} Piece a block that is drawn at once; of a long list the items from `from` on */

/**
 * A div.markdown that shows `text`.
 * @param {string} text
 * @param {FileNode} [fileNode] shows the files that it names
 */
export function markdown(text, fileNode) {
  const node = h("div", { class: "markdown" });
  const parser = new BlockParser();
  for (const line of completeLines(String(text))) parser.add(line);
  parser.end();
  const drawing = new Drawing(parser.definitions, fileNode, (added) => {
    finish(added);
    added.dispatchEvent(new Event(MORE_SHOWN, { bubbles: true }));
  });
  piecesOf(parser.document.children).forEach((piece, index) =>
    placeOfBlock(node, index).append(drawPiece(drawing, piece)),
  );
  finish(node);
  return node;
}

/** The lines of a text that ends with one. @param {string} text */
export function completeLines(text) {
  const lines = linesOf(text);
  if (lines.at(-1) === "") lines.pop();
  return lines;
}

/**
 * What is drawn at once, in order. A long list is drawn as several lists: the browser goes through all items of a list
 * when one is added.
 * @param {Block[]} blocks of the text itself
 * @returns {Piece[]}
 */
export function piecesOf(blocks) {
  return blocks.flatMap((block) => {
    if (block.kind === "definitions") return [];
    const parts = block.kind === "list" ? Math.ceil(block.children.length / PART_ITEMS) : 1;
    return Array.from({ length: parts }, (_, part) => ({ block, from: part * PART_ITEMS }));
  });
}

/** The items of a piece, if it is one of a list. @param {Piece} piece */
export function itemsOf({ block, from }) {
  return block.kind === "list" ? block.children.slice(from, from + PART_ITEMS) : [];
}

/** @param {Drawing} drawing @param {Piece} piece @returns {HTMLElement} */
export function drawPiece(drawing, { block, from }) {
  if (block.kind === "list") return drawing.list(block, from, from + PART_ITEMS);
  return drawing.block(block) ?? h("p");
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
