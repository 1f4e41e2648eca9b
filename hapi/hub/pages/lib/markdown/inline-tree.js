// The nodes inside of a block of text, and the tree that they make.

/** @import { EmphasisKind, Run } from "./delimiters.js" */

/** @typedef {{ type: "text" | "code" | "html", text: string }} PlainNode */
/** @typedef {{ type: "break", isHard: boolean }} BreakNode */
/** @typedef {{ type: "formula", text: string, isDisplayed: boolean }} FormulaNode */
/** @typedef {{ type: "address", text: string, address: string, isBare: boolean }} AddressNode */
/** @typedef {{ type: EmphasisKind, children: Inline[] }} EmphasisNode */
/**
 * @typedef {object} LinkNode
 * @property {"link" | "image"} type
 * @property {string} address as it is written, without escapes
 * @property {string | null} title
 * @property {string} text what stands before its content
 * @property {string} end what stands after it
 * @property {Inline[]} children
 */
/** @typedef {PlainNode | BreakNode | FormulaNode | AddressNode} LeafNode */
/** @typedef {LeafNode | EmphasisNode | LinkNode} Inline */
/** @typedef {Omit<LinkNode, "children"> & { type: "link" | "image" }} LinkStart */
/** @typedef {LeafNode | LinkStart | { type: "run", run: Run } | { type: "end" }} Token */

const MAX_DEPTH = 32; // emphasis and links in one another; the marks of deeper ones are text

/** @type {Record<EmphasisKind, number>} */
const MARK_LENGTHS = { emphasis: 1, strong: 2, strike: 2 };

/** Builds a tree from what begins and ends in it. */
class Tree {
  constructor() {
    /** @type {Inline[]} */
    this.nodes = [];
    /** @type {Inline[][]} what is around `nodes` */
    this._around = [];
    this._tooDeep = 0; // nodes that began and are none, as they are too deep
  }

  /** @param {string} text */
  text(text) {
    const last = this.nodes.at(-1);
    if (last?.type === "text") last.text += text;
    else if (text) this.nodes.push({ type: "text", text });
  }

  /** @param {EmphasisNode | LinkNode} node @param {string} mark shown if it is too deep */
  begin(node, mark) {
    if (this._around.length >= MAX_DEPTH) {
      this._tooDeep += 1;
      this.text(mark);
      return;
    }
    this.nodes.push(node);
    this._around.push(this.nodes);
    this.nodes = node.children;
  }

  /** @param {string} mark shown if it is too deep */
  end(mark) {
    if (this._tooDeep > 0) {
      this._tooDeep -= 1;
      this.text(mark);
    } else this.nodes = this._around.pop() ?? this.nodes;
  }
}

/** @param {Token[]} tokens @returns {Inline[]} */
export function treeOf(tokens) {
  const tree = new Tree();
  /** @type {string[]} the ends of the links that are open */
  const ends = [];
  for (const token of tokens) {
    if (token.type === "text") tree.text(token.text);
    else if (token.type === "run") addRun(tree, token.run);
    else if (token.type === "end") tree.end(ends.pop() ?? "");
    else if (token.type === "link" || token.type === "image") {
      ends.push(token.end);
      tree.begin({ ...token, children: [] }, token.text);
    } else tree.nodes.push(/** @type {LeafNode} */ (token));
  }
  return tree.nodes;
}

/** @param {Tree} tree @param {Run} run */
function addRun(tree, { sign, left, closes, opens }) {
  for (const kind of closes) tree.end(sign.repeat(MARK_LENGTHS[kind]));
  if (left > 0) tree.text(sign.repeat(left));
  for (const kind of opens.toReversed())
    tree.begin({ type: kind, children: [] }, sign.repeat(MARK_LENGTHS[kind]));
}
