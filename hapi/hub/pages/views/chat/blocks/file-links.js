// Names of files in an answer become links to the files of the session.

import { fileNamed, fileReferences, linkedFile } from "../../../data/work/file-references.js";
import { h } from "../../../lib/dom.js";

/** @typedef {(path: string, line: number | null) => { address: string, follow: (event: MouseEvent) => void }} FileAddress */

const MAX_LINKS = 200; // in one message

/**
 * The label of a link to a file, which `linkFiles` makes a link; null if the address names no file.
 * @param {string} address
 * @param {boolean} _isPicture
 * @param {(Node | string)[]} label
 */
export function fileMark(address, _isPicture, label) {
  return linkedFile(address) && h("span", { "data-file": address }, label);
}

/**
 * Put links into rendered text. Blocks of code and links of the agent stay as they are.
 * @param {HTMLElement} node
 * @param {FileAddress | undefined} addressOf without it nothing is linked
 */
export function linkFiles(node, addressOf) {
  if (!addressOf) return;
  let left = MAX_LINKS;
  for (const mark of [...node.querySelectorAll("[data-file]")].slice(0, MAX_LINKS)) {
    const named = linkedFile(mark.getAttribute("data-file") ?? "");
    if (!named) continue;
    const { address, follow } = addressOf(named.path, named.line);
    const props = { class: "file-link", href: address, on: { click: follow } };
    mark.replaceWith(h("a", props, [...mark.childNodes]));
  }
  const walker = document.createTreeWalker(node, NodeFilter.SHOW_TEXT);
  const texts = [];
  while (walker.nextNode()) texts.push(/** @type {Text} */ (walker.currentNode));
  for (const text of texts) {
    const parent = text.parentElement;
    if (left <= 0 || !parent || parent.closest("a, pre, button, math")) continue;
    const isCode = parent.tagName === "CODE";
    const named = isCode ? fileNamed(text.data) : null;
    const found = isCode ? (named ? [named] : []) : fileReferences(text.data);
    if (found.length === 0) continue;
    left -= found.length;
    let at = 0;
    const parts = [];
    for (const { start, end, path, line } of found) {
      const { address, follow } = addressOf(path, line);
      const label = text.data.slice(start, end);
      parts.push(text.data.slice(at, start));
      parts.push(h("a", { class: "file-link", href: address, on: { click: follow } }, label));
      at = end;
    }
    parts.push(text.data.slice(at));
    text.replaceWith(...parts.filter((part) => part !== ""));
  }
}
