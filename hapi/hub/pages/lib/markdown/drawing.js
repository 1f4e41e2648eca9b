// The tree of a Markdown text as DOM nodes. Its text and its HTML become text nodes.

import { codeBlock } from "../code/code-block.js";
import { h, linkButton } from "../dom.js";
import { t } from "../language.js";
import { markedTextNode } from "../bidi-controls.js";
import { safeAddress } from "./address.js";
import { inline } from "./inline.js";
import { CHUNK_LENGTH, splitText } from "./text-chunks.js";
import { cells } from "./tables.js";

/** @import { Block } from "./block.js" */
/** @import { AddressNode, Inline, LinkNode } from "./inline-tree.js" */
/** @import { Definitions } from "./links.js" */

const MAX_BREAKS = 1000; // lines of a paragraph that are divided by elements
const TASK = /^\[([ xX])\][ \t\n]+(?=\S)/;
const TAGS = /** @type {const} */ ({ emphasis: "em", strong: "strong", strike: "s" });

/**
 * What shows the file that a link or a picture names without a host; null if it names none.
 * @typedef {(address: string, isPicture: boolean, label: (Node | string)[]) => Node | null} FileNode
 */

/** Draws the blocks of one text. */
export class Drawing {
  /**
   * @param {Definitions} definitions
   * @param {FileNode} [fileNode] without it no file is shown
   * @param {(node: HTMLElement) => void} [onMore] called when more of a long text was added to `node`; without it all is shown at once
   */
  constructor(definitions, fileNode, onMore) {
    this._definitions = definitions;
    this._fileNode = fileNode;
    this._onMore = onMore;
    /** @type {Set<string>} labels on which depends what was drawn */
    this.labels = new Set();
  }

  /** The node of a block; null if it shows nothing. @param {Block} block @returns {HTMLElement | null} */
  block(block) {
    switch (block.kind) {
      case "paragraph":
        return this._paragraph(block, block.text);
      case "heading": {
        const tag = /** @type {"h3" | "h4" | "h5" | "h6"} */ (`h${Math.min(block.level + 2, 6)}`);
        return h(tag, null, this._inline(block.text));
      }
      case "code":
        return codeBlock(block.code, block.language);
      case "html":
        return h("p", { class: "html" }, block.code);
      case "rule":
        return h("hr");
      case "table":
        return this._table(block);
      case "quote":
        return h("blockquote", null, this._blocks(block.children));
      case "list":
        return this.list(block, 0, block.children.length);
      default:
        return null;
    }
  }

  /**
   * The items of a list from `from` to `to`, as a list that goes on with its numbers.
   * @param {Block} list
   * @param {number} from
   * @param {number} to
   */
  list(list, from, to) {
    const start = list.start + from;
    const isOrdered = list.mark?.isOrdered;
    return h(
      isOrdered ? "ol" : "ul",
      { class: list.isLoose && "loose", start: isOrdered && start !== 1 && start },
      list.children.slice(from, to).map((item) => this.item(item, list.isLoose)),
    );
  }

  /** @param {Block} item @param {boolean} isLoose */
  item(item, isLoose) {
    const first = item.children[0];
    const task = first?.kind === "paragraph" ? TASK.exec(first.text) : null;
    const inner = item.children.map((child) => {
      if (child.kind !== "paragraph") return this.block(child);
      const isTask = task !== null && child === first;
      const text = isTask ? child.text.slice(task[0].length) : child.text;
      const content = [isTask && checkbox(task[1] !== " "), this._inline(text)];
      return isLoose ? h("p", null, content) : content;
    });
    return h("li", task ? { class: "task" } : null, inner);
  }

  /** @param {Block[]} blocks */
  _blocks(blocks) {
    return blocks.map((block) => this.block(block));
  }

  /** @param {Block} block @param {string} text */
  _paragraph(block, text) {
    if (block.lines.length <= MAX_BREAKS) return h("p", null, this._inline(text));
    return h("p", { class: "lines" }, this._inline(text, "\n"));
  }

  /** @param {Block} table */
  _table(table) {
    const [head, ...rows] = table.lines;
    /** @type {(line: string, tag: "th" | "td") => HTMLElement} */
    const row = (line, tag) => {
      const texts = cells(line);
      return h(
        "tr",
        null,
        table.columns.map((alignment, column) =>
          h(tag, { class: CELL_CLASSES[alignment ?? "left"] }, this._inline(texts[column] ?? "")),
        ),
      );
    };
    const body = h(
      "tbody",
      null,
      rows.map((line) => row(line, "td")),
    );
    const grid = h("table", null, h("thead", null, row(head, "th")), body);
    return h("div", { class: "table", tabindex: "0" }, grid);
  }

  /**
   * @param {string} text
   * @param {string} [lineBreak] the text that divides lines; an element does it without one
   * @param {number} [size] characters that are shown; a button shows more
   * @returns {(Node | string)[]}
   */
  _inline(text, lineBreak, size = CHUNK_LENGTH) {
    const [first, rest] = this._onMore ? splitText(text, size) : [text, ""];
    const { nodes, labels } = inline(first, this._definitions);
    for (const label of labels) this.labels.add(label);
    const shown = drawn(nodes, { lineBreak, isInLink: false, fileNode: this._fileNode });
    return rest ? [...shown, this._moreButton(rest, lineBreak, 2 * size)] : shown;
  }

  /** @param {string} rest @param {string | undefined} lineBreak @param {number} size */
  _moreButton(rest, lineBreak, size) {
    const control = linkButton(t("Show more ({count} characters)", { count: rest.length }), () => {
      const node = control.parentElement;
      const added = this._inline(rest, lineBreak, size);
      const next = added.at(-1);
      control.replaceWith(...added);
      if (next instanceof HTMLElement) next.focus({ preventScroll: true });
      if (node) this._onMore?.(node);
    });
    return control;
  }
}

const CELL_CLASSES = { left: null, center: "centered", right: "right" };

/** @param {boolean} isDone */
function checkbox(isDone) {
  const label = isDone ? t("done") : t("open");
  return h("input", { type: "checkbox", disabled: true, checked: isDone, "aria-label": label });
}

/** @typedef {{ lineBreak: string | undefined, isInLink: boolean, fileNode: FileNode | undefined }} Form */

/**
 * @param {Inline[]} nodes
 * @param {Form} form
 * @returns {(Node | string)[]}
 */
function drawn(nodes, form) {
  return nodes.flatMap((node) => {
    switch (node.type) {
      case "text":
        return form.isInLink ? node.text : markedTextNode(node.text);
      case "html":
        return node.text;
      case "code":
        return h("code", null, node.text);
      case "break":
        return form.lineBreak ?? h("br");
      case "formula":
        return h("span", { class: node.isDisplayed ? "math display" : "math" }, node.text);
      case "address":
        return addressNode(node, form);
      case "link":
      case "image":
        return link(node, form);
      default:
        return h(TAGS[node.type], null, drawn(node.children, form));
    }
  });
}

/** @param {AddressNode} node @param {Form} form */
function addressNode({ text, address, isBare }, { isInLink }) {
  const safe = isInLink ? null : safeAddress(address);
  if (safe) return anchor(safe, null, [text]);
  return isBare ? text : `<${text}>`;
}

/**
 * A link; a picture is a link to it, as the page loads nothing from other places, unless it is one of the session's files.
 * A link to where the page does not lead is shown as it was written.
 * @param {LinkNode} node
 * @param {Form} form
 */
function link(node, form) {
  const content = () =>
    node.children.length > 0 ? drawn(node.children, { ...form, isInLink: true }) : [node.address];
  if (form.isInLink) return content();
  const safe = safeAddress(node.address);
  if (safe) return anchor(safe, node.title, content());
  const file = form.fileNode?.(node.address, node.type === "image", content());
  if (file) return file;
  return [node.text, ...drawn(node.children, form), node.end];
}

/**
 * @param {string} address
 * @param {string | null} title
 * @param {(Node | string)[]} content
 */
function anchor(address, title, content) {
  return h("a", { href: address, title, target: "_blank", rel: "noopener noreferrer" }, content);
}
