// What unified diffs change in which file. Pure.

import { diffLines, pathOf } from "../../lib/code/diff-lines.js";
import { isObject } from "../json.js";

/** @import { Json } from "../types.js" */

/** @typedef {{ path: string, added: number, removed: number }} FileCounts */
/** @typedef {FileCounts & { text: string }} Change */

const START = /^(?:diff --git |Index: |--- [^\n]*\n\+\+\+ |@@ -\d)/;

/** Whether a text is a unified diff. @param {string} text */
export function isDiff(text) {
  return START.test(text);
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
