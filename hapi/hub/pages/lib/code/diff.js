// The lines of a diff as elements: the same wherever the page shows one.

import { fill, h } from "../dom.js";
import { plural, t } from "../language.js";
import { diffRows } from "./diff-lines.js";
import { languageOfPath } from "./languages.js";

/** @import { Row } from "./diff-lines.js" */

export const MAX_LINE_LENGTH = 4000; // characters shown of one line
const MAX_ROWS = 3000; // of a text; what follows is plain
export const SIGNS = { plus: "+", minus: "-", same: " " };

/**
 * The sign of a line in a column of its own, and its text.
 * @param {Row} row
 * @param {HTMLElement} text the element that shows the text
 */
export function lineCells(row, text) {
  const left = row.text.length - MAX_LINE_LENGTH;
  return [
    h("span", { class: "diff-sign", "aria-hidden": "true" }, SIGNS[row.kind]),
    h(
      "code",
      { class: "diff-text" },
      row.kind !== "same" &&
        h(
          "span",
          { class: "for-readers" },
          `${row.kind === "plus" ? t("added:") : t("removed:")} `,
        ),
      text,
      left > 0 &&
        h("em", null, [" … ", plural(left, "{count} more character", "{count} more characters")]),
      row.cut && h("em", null, " ", t("(no line feed at the end of the file)")),
    ),
  ];
}

/** What is shown of the text of a line. @param {Row} row @param {(string | HTMLElement)[]} [coloured] */
export function lineText({ text }, coloured) {
  if (text.length > MAX_LINE_LENGTH) return [text.slice(0, MAX_LINE_LENGTH)];
  return coloured?.map((part) => (part instanceof Node ? part.cloneNode(true) : part)) ?? [text];
}

/**
 * Find the colours of both sides, which are texts of their own, and call `show` with the parts of each line.
 * @param {Row[]} rows
 * @param {string} path of the file, whose name tells the language
 * @param {(row: Row, parts: (string | HTMLElement)[]) => void} show
 */
export async function colourRows(rows, path, show) {
  const language = languageOfPath(path);
  if (!language) return;
  const { highlight, highlightedLines } = await import("./highlight.js");
  const sides = [
    rows.filter((row) => row.kind !== "minus"),
    rows.filter((row) => row.kind === "minus"),
  ];
  await Promise.all(
    sides.map(async (side) => {
      const code = side.map((row) => row.text).join("\n");
      const tokens = await highlight(code, language);
      if (!tokens) return;
      const lines = highlightedLines(code, tokens);
      for (const [index, row] of side.entries()) show(row, lines[index]);
    }),
  );
}

/**
 * A diff without buttons, as in a message or on the card of a tool. Long lines are broken.
 * @param {string} text
 * @param {string} path of the file, "" if it is not known
 */
export function diffCard(text, path) {
  const all = diffRows(text);
  const shown = all.slice(0, MAX_ROWS);
  const lines = shown.flatMap((row) => (row.kind === "head" ? [] : [row]));
  const isNumbered = lines.some((row) => (row.new ?? row.old) !== null);
  /** @type {Map<Row, HTMLElement>} */
  const texts = new Map();
  const node = h(
    "div",
    { class: "diff-card" },
    shown.map((row) => {
      if (row.kind === "head") return h("div", { class: "diff-hunk" }, row.text);
      const content = h("span", null, lineText(row));
      texts.set(row, content);
      const number = isNumbered && h("span", { class: "diff-number" }, row.new ?? row.old ?? "");
      return h("div", { class: `diff-row ${row.kind}` }, number, lineCells(row, content));
    }),
    all.length > MAX_ROWS &&
      h(
        "pre",
        null,
        all
          .slice(MAX_ROWS)
          .map((row) => (row.kind === "head" ? row.text : SIGNS[row.kind] + row.text))
          .join("\n"),
      ),
  );
  colourRows(lines, path, (row, parts) => {
    const content = texts.get(row);
    if (content) fill(content, lineText(row, parts));
  });
  return node;
}
