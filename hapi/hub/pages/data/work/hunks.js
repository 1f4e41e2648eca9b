// The diff of one file as rows with line numbers, one below the other or side by side. Pure.

import { HUNK } from "../../lib/code/diff-lines.js";
import { t } from "../../lib/language.js";
import { unquoted } from "./working-tree.js";

/** @import { Row, RowKind } from "../../lib/code/diff-lines.js" */

/** @typedef {{ head: string, rows: Row[] }} Hunk */
/**
 * @typedef {object} FileDiff
 * @property {Hunk[]} hunks
 * @property {boolean} binary
 * @property {string[]} facts what git says besides the lines: "new file", "renamed from …"
 * @property {number} rows how many in all
 */
/** @typedef {{ left: Row | null, right: Row | null }} Pair */

/** @type {[RegExp, (match: RegExpExecArray) => string][]} */
const FACTS = [
  [/^new file mode 120000$/, () => t("New symbolic link")],
  [/^new file mode 160000$/, () => t("New submodule")],
  [/^new file mode/, () => t("New file")],
  [/^deleted file mode/, () => t("Deleted")],
  [/^rename from (.*)$/, ([, name]) => t("Renamed from {name}", { name: unquoted(name) })],
  [/^copy from (.*)$/, ([, name]) => t("Copied from {name}", { name: unquoted(name) })],
  [/^new mode 100755$/, () => t("Made executable")],
  [/^new mode 100644$/, () => t("No longer executable")],
];

/**
 * @param {string} text the output of `git diff` for one file
 * @returns {FileDiff}
 */
export function parseFileDiff(text) {
  /** @type {FileDiff} */
  const diff = { hunks: [], binary: false, facts: [], rows: 0 };
  /** @type {Hunk | null} */
  let hunk = null;
  let [oldLine, newLine, oldLeft, newLeft] = [0, 0, 0, 0];
  for (const line of lines(text)) {
    if (hunk && (oldLeft > 0 || newLeft > 0)) {
      const [sign, rest] = [line[0], line.slice(1)];
      if (sign === "+" || sign === "-" || sign === " " || line === "") {
        /** @type {RowKind} */
        const kind = sign === "+" ? "plus" : sign === "-" ? "minus" : "same";
        const isOld = kind !== "plus";
        const isNew = kind !== "minus";
        hunk.rows.push({
          kind,
          old: isOld ? oldLine : null,
          new: isNew ? newLine : null,
          text: rest,
          cut: false,
        });
        diff.rows += 1;
        if (isOld) [oldLine, oldLeft] = [oldLine + 1, oldLeft - 1];
        if (isNew) [newLine, newLeft] = [newLine + 1, newLeft - 1];
        continue;
      }
    }
    if (line.startsWith("\\")) {
      const last = hunk?.rows.at(-1);
      if (last) last.cut = true;
      continue;
    }
    const head = HUNK.exec(line);
    if (head) {
      hunk = { head: head[5].trim(), rows: [] };
      diff.hunks.push(hunk);
      [oldLine, oldLeft] = [Number(head[1]), Number(head[2] ?? 1)];
      [newLine, newLeft] = [Number(head[3]), Number(head[4] ?? 1)];
    } else if (!hunk) readFact(diff, line);
  }
  return diff;
}

/** @param {string} text */
function* lines(text) {
  let at = 0;
  while (at < text.length) {
    const end = text.indexOf("\n", at);
    yield text.slice(at, end < 0 ? undefined : end);
    if (end < 0) return;
    at = end + 1;
  }
}

/** @param {FileDiff} diff @param {string} line */
function readFact(diff, line) {
  if (/^Binary files .* differ$|^GIT binary patch$/.test(line)) diff.binary = true;
  for (const [pattern, say] of FACTS) {
    const match = pattern.exec(line);
    if (match) {
      diff.facts.push(say(match));
      return;
    }
  }
}

/**
 * A file that git does not know yet, as a diff: every line is new.
 * @param {string} text
 * @returns {FileDiff}
 */
export function newFileDiff(text) {
  const content = text.endsWith("\n") ? text.slice(0, -1) : text;
  const rows = text === "" ? [] : content.split("\n").map((line, index) => newRow(line, index));
  const last = rows.at(-1);
  if (last) last.cut = !text.endsWith("\n");
  const hunks = rows.length > 0 ? [{ head: "", rows }] : [];
  return { hunks, binary: false, facts: [], rows: rows.length };
}

/** @param {string} text @param {number} index @returns {Row} */
function newRow(text, index) {
  return { kind: "plus", old: null, new: index + 1, text, cut: false };
}

/**
 * The rows of a hunk side by side: removed lines on the left of the added lines that follow them.
 * @param {Row[]} rows
 * @returns {Pair[]}
 */
export function sideBySide(rows) {
  /** @type {Pair[]} */
  const pairs = [];
  let at = 0;
  while (at < rows.length) {
    if (rows[at].kind === "same") {
      pairs.push({ left: rows[at], right: rows[at] });
      at += 1;
      continue;
    }
    const minus = takeWhile(rows, at, "minus");
    const plus = takeWhile(rows, at + minus.length, "plus");
    const count = Math.max(minus.length, plus.length);
    for (let index = 0; index < count; index += 1)
      pairs.push({ left: minus[index] ?? null, right: plus[index] ?? null });
    at += minus.length + plus.length;
  }
  return pairs;
}

/** @param {Row[]} rows @param {number} start @param {RowKind} kind */
function takeWhile(rows, start, kind) {
  let end = start;
  while (end < rows.length && rows[end].kind === kind) end += 1;
  return rows.slice(start, end);
}
