// Unified diffs as lines with their kinds and numbers. Pure.

/** @typedef {"plus" | "minus" | "hunk" | "meta" | "same"} LineKind */
/** @typedef {"plus" | "minus" | "same"} RowKind */
/** @typedef {{ kind: RowKind, old: number | null, new: number | null, text: string, cut: boolean }} Row `cut`: the file ends without a line feed */
/** @typedef {Row | { kind: "head", text: string }} DiffRow `head`: what stands between parts: the name of a function, of a file */

export const HUNK = /^@@ -(\d+)(?:,(\d+))? \+(\d+)(?:,(\d+))? @@(.*)$/;
const FILE_HEAD = /^(?:diff --git |Index: |index [0-9a-f]|={20}|--- |\+\+\+ )/;

/**
 * The lines of a diff with their kinds. How many lines of a hunk follow is told by its head, so that a removed line
 * that begins with dashes is no head of a file. A text without heads is taken line by line.
 * @param {string} text
 * @returns {{ line: string, kind: LineKind }[]}
 */
export function diffLines(text) {
  const hasHeads = /^(?:diff --git |@@ -\d)/m.test(text);
  let before = 0;
  let after = 0;
  return text.split("\n").map((line) => {
    if (hasHeads && before <= 0 && after <= 0) {
      const head = HUNK.exec(line);
      if (!head) return { line, kind: line.startsWith("@@ -") ? "hunk" : "meta" };
      before = Number(head[2] ?? 1);
      after = Number(head[4] ?? 1);
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
    if (hasHeads && line.startsWith("\\")) return { line, kind: "meta" };
    before -= 1;
    after -= 1;
    return { line, kind: "same" };
  });
}

/** The path in the head of a file: of the new version, or of the old one of a file that is deleted. @param {string} line @param {string} previous */
export function pathOf(line, previous) {
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
 * The rows of a diff as people read it: without the marks and heads that only programs need. The numbers of the lines
 * are null where no hunk tells them, and files are named where there are several.
 * @param {string} text
 * @returns {DiffRow[]}
 */
export function diffRows(text) {
  const lines = diffLines(text);
  const files = lines.filter(({ line, kind }) => kind === "meta" && line.startsWith("+++ ")).length;
  /** @type {DiffRow[]} */
  const rows = [];
  /** @type {number | null} */
  let nextOld = null;
  /** @type {number | null} */
  let nextNew = null;
  for (const [index, { line, kind }] of lines.entries()) {
    if (kind === "hunk") {
      const head = HUNK.exec(line);
      [nextOld, nextNew] = head ? [Number(head[1]), Number(head[3])] : [null, null];
      const section = head?.[5].trim() ?? "";
      const isFirst = rows.length === 0 || rows.at(-1)?.kind === "head";
      if (section || !isFirst) rows.push({ kind: "head", text: section || "⋯" });
    } else if (kind === "meta") {
      const last = rows.at(-1);
      if (line.startsWith("\\") && last && last.kind !== "head") last.cut = true;
      else if (files > 1 && line.startsWith("+++ "))
        rows.push({ kind: "head", text: pathOf(line, lines[index - 1]?.line ?? "") });
      else if (line && !FILE_HEAD.test(line)) rows.push({ kind: "head", text: line });
    } else {
      const isSame = kind === "same";
      const content = isSame && !line.startsWith(" ") ? line : line.slice(1);
      /** @type {number | null} */
      const before = kind === "plus" ? null : nextOld;
      /** @type {number | null} */
      const after = kind === "minus" ? null : nextNew;
      rows.push({ kind, old: before, new: after, text: content, cut: false });
      if (before !== null) nextOld = before + 1;
      if (after !== null) nextNew = after + 1;
    }
  }
  return rows;
}
