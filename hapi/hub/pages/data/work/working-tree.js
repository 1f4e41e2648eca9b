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
 * The counts of `git diff --numstat`, by the names as git writes them, without quotes: paths from the top of the
 * repository, `old => new` or `dir/{old => new}/name` after a rename.
 * @param {string} text
 * @returns {Map<string, LineCounts>}
 */
export function parseNumstat(text) {
  /** @type {Map<string, LineCounts>} */
  const counts = new Map();
  for (const line of text.split("\n")) {
    const [, added, removed, name] = /^(\d+|-)\t(\d+|-)\t(.+)$/s.exec(line) ?? [];
    if (name === undefined) continue;
    counts.set(plainName(name), {
      added: added === "-" ? null : Number(added),
      removed: removed === "-" ? null : Number(removed),
    });
  }
  return counts;
}

/** One name or `old => new` without the quotes that each of them may have. @param {string} name */
function plainName(name) {
  const quoted = '"(?:[^"\\\\]|\\\\.)*"';
  const pair = new RegExp(`^(${quoted}) => (.+)$|^(.+) => (${quoted})$`, "s").exec(name);
  if (!pair) return unquoted(name);
  return `${unquoted(pair[1] ?? pair[3])} => ${unquoted(pair[2] ?? pair[4])}`;
}

/**
 * How git writes a rename: the directories that both paths begin and end with are written once (`pprint_rename` in
 * git's diff.c).
 * @param {string} from
 * @param {string} to
 */
function renameName(from, to) {
  let start = 0; // characters of the directories that both begin with
  for (let at = 0; at < from.length && from[at] === to[at]; at += 1)
    if (from[at] === "/") start = at + 1;
  const overlap = start > 0 ? 1 : 0; // the slash after them may also be the first of what both end with
  const most = Math.min(from.length, to.length) - start + overlap;
  let end = 0; // characters, from a slash on
  for (let back = 1; back <= most && from.at(-back) === to.at(-back); back += 1)
    if (from.at(-back) === "/") end = back;
  if (start + end === 0) return `${from} => ${to}`;
  const middle = (/** @type {string} */ path) =>
    path.slice(start, Math.max(start, path.length - end));
  return `${from.slice(0, start)}{${middle(from)} => ${middle(to)}}${from.slice(from.length - end)}`;
}

/** A path from the top of the repository. @param {string} prefix of the directory that `path` starts in @param {string} path */
function fromTop(prefix, path) {
  const parts = prefix.split("/").filter(Boolean);
  let rest = path;
  while (rest.startsWith("../") && parts.length > 0) {
    parts.pop();
    rest = rest.slice(3);
  }
  return [...parts, rest].join("/");
}

/**
 * Put the counts of lines to the files.
 * @param {ChangedFile[]} files
 * @param {Map<string, LineCounts>} counts
 * @param {string} [prefix] the way from the top of the repository to the directory in which the paths of the files start
 */
export function withCounts(files, counts, prefix = "") {
  return files.map((file) => {
    if (file.kind === "submodule") return file; // its lines are names of commits
    const path = fromTop(prefix, file.path);
    const from = file.from ? fromTop(prefix, file.from) : null;
    const names = from === null ? [path] : [renameName(from, path), `${from} => ${path}`];
    const found = names.map((name) => counts.get(name)).find((each) => each !== undefined);
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
