// The state of a working tree, read from what git prints: `status --porcelain=v2 --branch` and `diff --numstat`. Pure.

/** @typedef {"added" | "modified" | "deleted" | "renamed" | "copied" | "type" | "untracked" | "conflict" | "submodule"} ChangeKind */
/**
 * @typedef {object} ChangedFile
 * @property {string} path
 * @property {string | null} from the path before a rename or copy
 * @property {ChangeKind} kind
 * @property {boolean} staged
 * @property {boolean} exact false if the name is not UTF-8, so that it cannot be named in a request
 * @property {number | null} added lines; null if they are not known
 * @property {number | null} removed
 * @property {boolean} binary
 */
/**
 * @typedef {object} WorkingTree
 * @property {string | null} branch null: the head is detached
 * @property {string | null} commit null: there is none yet
 * @property {string | null} upstream
 * @property {number} ahead commits
 * @property {number} behind
 * @property {ChangedFile[]} staged
 * @property {ChangedFile[]} unstaged conflicts included
 * @property {ChangedFile[]} untracked
 */
/** @typedef {{ added: number | null, removed: number | null }} LineCounts null: a binary file */

/** @type {Record<string, ChangeKind>} */
export const KINDS = {
  A: "added",
  M: "modified",
  D: "deleted",
  R: "renamed",
  C: "copied",
  T: "type",
};
const ESCAPES = /** @type {Record<string, string>} */ ({
  a: "\x07",
  b: "\b",
  t: "\t",
  n: "\n",
  v: "\v",
  f: "\f",
  r: "\r",
});
const REPLACEMENT = "�"; // what stands for bytes that are not UTF-8

/**
 * @param {string} text the output of `git status --porcelain=v2 --branch`
 * @returns {WorkingTree}
 */
export function parseStatus(text) {
  /** @type {WorkingTree} */
  const tree = {
    branch: null,
    commit: null,
    upstream: null,
    ahead: 0,
    behind: 0,
    staged: [],
    unstaged: [],
    untracked: [],
  };
  for (const line of text.split("\n")) {
    switch (line[0]) {
      case "#":
        readHeader(tree, line);
        break;
      case "1":
      case "2":
        readChange(tree, line);
        break;
      case "u":
        tree.unstaged.push(changed(fieldsAfter(line, 10), null, "conflict", false));
        break;
      case "?":
        tree.untracked.push(changed(line.slice(2), null, "untracked", false));
        break;
    }
  }
  return tree;
}

/** @param {WorkingTree} tree @param {string} line */
function readHeader(tree, line) {
  const [, name, value = ""] = /^# (\S+) (.*)$/.exec(line) ?? [];
  if (name === "branch.oid") tree.commit = value === "(initial)" ? null : value;
  else if (name === "branch.head") tree.branch = value === "(detached)" ? null : value;
  else if (name === "branch.upstream") tree.upstream = value;
  else if (name === "branch.ab") {
    const [ahead, behind] = value.split(" ").map(Number);
    tree.ahead = ahead || 0;
    tree.behind = Math.abs(behind) || 0;
  }
}

/** @param {WorkingTree} tree @param {string} line `1 XY SUB …PATH` or `2 XY SUB …PATH<TAB>FROM` */
function readChange(tree, line) {
  const isMoved = line[0] === "2";
  const [path, from = null] = fieldsAfter(line, isMoved ? 9 : 8).split("\t");
  const isSubmodule = line[5] === "S";
  const [x, y] = [line[2], line[3]];
  /** @param {string} letter @returns {ChangeKind} */
  const kindOf = (letter) => (isSubmodule ? "submodule" : (KINDS[letter] ?? "modified"));
  /** @param {string} letter */
  const origin = (letter) => (letter === "R" || letter === "C" ? from : null);
  if (x !== ".") tree.staged.push(changed(path, origin(x), kindOf(x), true));
  if (y !== ".") tree.unstaged.push(changed(path, origin(y), kindOf(y), false));
}

/** What follows the first `count` fields, which spaces separate. @param {string} line @param {number} count */
function fieldsAfter(line, count) {
  let at = 0;
  for (let left = count; left > 0; left -= 1) {
    at = line.indexOf(" ", at) + 1;
    if (at === 0) return "";
  }
  return line.slice(at);
}

/**
 * @param {string} written
 * @param {string | null} from
 * @param {ChangeKind} kind
 * @param {boolean} staged
 * @returns {ChangedFile}
 */
function changed(written, from, kind, staged) {
  const path = unquoted(written);
  return {
    path,
    from: from === null ? null : unquoted(from),
    kind,
    staged,
    exact: !path.includes(REPLACEMENT),
    added: null,
    removed: null,
    binary: false,
  };
}

/**
 * A path as git writes it: in quotes, with escapes as in C, if it has characters that need them.
 * @param {string} written
 */
export function unquoted(written) {
  if (!written.startsWith('"') || !written.endsWith('"') || written.length < 2) return written;
  const bytes = [];
  const inner = written.slice(1, -1);
  const encoder = new TextEncoder();
  for (const [piece, octal, letter] of inner.matchAll(/\\([0-7]{3})|\\(.)|[^\\]+/gs)) {
    if (octal !== undefined) bytes.push(parseInt(octal, 8));
    else if (letter !== undefined) bytes.push(...encoder.encode(ESCAPES[letter] ?? letter));
    else for (const byte of encoder.encode(piece)) bytes.push(byte);
  }
  return new TextDecoder().decode(new Uint8Array(bytes));
}

/**
 * The counts of `git diff --numstat`, by the path after the change.
 * @param {string} text
 * @returns {Map<string, LineCounts>}
 */
export function parseNumstat(text) {
  /** @type {Map<string, LineCounts>} */
  const counts = new Map();
  for (const line of text.split("\n")) {
    const [, added, removed, name] = /^(\d+|-)\t(\d+|-)\t(.+)$/s.exec(line) ?? [];
    if (name === undefined) continue;
    counts.set(pathAfter(name), {
      added: added === "-" ? null : Number(added),
      removed: removed === "-" ? null : Number(removed),
    });
  }
  return counts;
}

/** The new path of `dir/{old => new}/name`, `old => new` or `name`. @param {string} name */
function pathAfter(name) {
  const braces = /^(.*)\{(.*) => (.*)\}(.*)$/s.exec(name);
  if (braces) return (braces[1] + braces[3] + braces[4]).replace("//", "/");
  const arrow = / => (.+)$/s.exec(name);
  return unquoted(arrow ? arrow[1] : name);
}

/**
 * Put the counts of lines to the files.
 * @param {ChangedFile[]} files
 * @param {Map<string, LineCounts>} counts
 */
export function withCounts(files, counts) {
  return files.map((file) => {
    const found = counts.get(file.path);
    if (!found) return file;
    return { ...file, ...found, binary: found.added === null };
  });
}

/** How many files and lines a list of changes has. @param {ChangedFile[]} files */
export function totals(files) {
  let added = 0;
  let removed = 0;
  for (const file of files) {
    added += file.added ?? 0;
    removed += file.removed ?? 0;
  }
  return { files: files.length, added, removed };
}
