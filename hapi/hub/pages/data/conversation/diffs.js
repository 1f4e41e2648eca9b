// Unified diffs as what is shown of them: the kind of each line, and what changes in which file. Pure.

import { isObject } from "../json.js";

/** @import { Json } from "../types.js" */

/** @typedef {"plus" | "minus" | "hunk" | "meta" | "same"} LineKind */
/** @typedef {{ path: string, added: number, removed: number }} FileCounts */
/** @typedef {FileCounts & { text: string }} Change */

const START = /^(?:diff --git |Index: |--- [^\n]*\n\+\+\+ |@@ -\d)/;
const HUNK = /^@@ -\d+(?:,(\d+))? \+\d+(?:,(\d+))? @@/;

/** Whether a text is a unified diff. @param {string} text */
export function isDiff(text) {
  return START.test(text);
}

/**
 * The lines of a diff with their kinds. How many lines of a hunk follow is told by its head, so that a removed line
 * that begins with dashes is no head of a file. A text without hunks is taken line by line.
 * @param {string} text
 * @returns {{ line: string, kind: LineKind }[]}
 */
export function diffLines(text) {
  const hasHunks = /^@@ -\d/m.test(text);
  let before = 0;
  let after = 0;
  return text.split("\n").map((line) => {
    if (hasHunks && before <= 0 && after <= 0) {
      const head = HUNK.exec(line);
      if (!head) return { line, kind: line.startsWith("@@ -") ? "hunk" : "meta" };
      before = Number(head[1] ?? 1);
      after = Number(head[2] ?? 1);
      return { line, kind: "hunk" };
    }
    if (line.startsWith("-")) {
      before -= 1;
      return { line, kind: "minus" };
    }
    if (line.startsWith("+")) {
      after -= 1;
      return { line, kind: "plus" };
    }
    if (hasHunks && line.startsWith("\\")) return { line, kind: "meta" };
    before -= 1;
    after -= 1;
    return { line, kind: "same" };
  });
}

/**
 * The files of a diff and how many lines change in each. One without a name if the diff names none.
 * @param {string} text
 * @returns {FileCounts[]}
 */
export function diffFiles(text) {
  /** @type {FileCounts[]} */
  const files = [];
  let previous = "";
  for (const { line, kind } of diffLines(text)) {
    if (kind === "meta" && line.startsWith("+++ "))
      files.push({ path: pathOf(line, previous), added: 0, removed: 0 });
    else if (kind === "plus" || kind === "minus") {
      let file = files.at(-1);
      if (!file) files.push((file = { path: "", added: 0, removed: 0 }));
      file[kind === "plus" ? "added" : "removed"] += 1;
    }
    previous = line;
  }
  return files;
}

/** The path in the head of a file: of the new version, or of the old one of a file that is deleted. @param {string} line @param {string} previous */
function pathOf(line, previous) {
  const path = nameIn(line);
  return path === "/dev/null" && previous.startsWith("--- ") ? nameIn(previous) : path;
}

/** @param {string} line `+++ b/path<TAB>time` */
function nameIn(line) {
  return line
    .slice(4)
    .split("\t")[0]
    .replace(/^[ab]\//, "");
}

/**
 * The changes in a record of a session, without those that are malformed.
 * @param {Json} value
 * @returns {Change[]}
 */
export function changesIn(value) {
  if (!Array.isArray(value)) return [];
  return value
    .filter((change) => isObject(change) && typeof change.diff === "string" && change.diff)
    .map(({ path, diff, added, removed }) => ({
      path: typeof path === "string" ? path : "",
      text: diff,
      added: typeof added === "number" ? added : 0,
      removed: typeof removed === "number" ? removed : 0,
    }));
}

/** The diff of one file without the lines that name the file, which its caption does. @param {string} text */
export function withoutFileHead(text) {
  return text.replace(/^--- [^\n]*\n\+\+\+ [^\n]*\n/, "");
}
