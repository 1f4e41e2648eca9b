// A file as numbered lines, drawn a part at a time, in colours as soon as they are found.

import { button, fill, h } from "../../lib/dom.js";
import { highlight, highlightedLines } from "../../lib/code/highlight.js";
import { plural, t } from "../../lib/language.js";
import { languageOfPath } from "../../lib/code/languages.js";

const LINES_AT_ONCE = 2000;
const MAX_LINE_LENGTH = 4000; // characters shown of one line

/**
 * @param {string} text
 * @param {{ path: string, chosen: number | null, wraps: boolean }} options `chosen`: the line that the address names
 */
export function codeLines(text, { path, chosen, wraps }) {
  const lines = (text.endsWith("\n") ? text.slice(0, -1) : text).split("\n");
  const table = h("div", { class: wraps ? "file-lines wraps" : "file-lines" });
  const more = button(t("Show more"), { class: "diff-more", on: { click: () => drawMore() } });
  /** @type {HTMLElement[]} */
  const texts = [];
  /** @type {(string | HTMLElement)[][] | null} */
  let coloured = null;
  /** @type {HTMLElement | null} */
  let target = null;

  /** @param {number} index */
  function fillLine(index) {
    const line = lines[index];
    const left = line.length - MAX_LINE_LENGTH;
    fill(
      texts[index],
      left > 0
        ? [
            line.slice(0, MAX_LINE_LENGTH),
            h("em", null, [
              " … ",
              plural(left, "{count} more character", "{count} more characters"),
            ]),
          ]
        : (coloured?.[index] ?? line),
    );
  }

  function drawMore() {
    const start = texts.length;
    const end = Math.min(lines.length, start + LINES_AT_ONCE);
    const part = document.createDocumentFragment();
    for (let index = start; index < end; index += 1) {
      texts.push(h("code", { class: "diff-text" }));
      fillLine(index);
      const isChosen = index + 1 === chosen;
      const node = h(
        "div",
        { class: isChosen ? "file-line chosen" : "file-line", id: `line-${index + 1}` },
        h("span", { class: "diff-number" }, index + 1),
        texts[index],
      );
      if (isChosen) target = node;
      part.append(node);
    }
    table.append(part);
    more.hidden = end === lines.length;
  }

  drawMore();
  while (chosen !== null && !target && texts.length < lines.length) drawMore();
  highlight(text, languageOfPath(path)).then((tokens) => {
    if (!tokens) return;
    coloured = highlightedLines(text, tokens);
    for (const index of texts.keys()) fillLine(index);
  });
  return {
    node: h("div", { class: "diff-box" }, table, more),
    showChosen: () => target?.scrollIntoView({ block: "center" }),
  };
}
