// Names of files in an answer, such as `src/app.py:12`. Pure.

import { languageNamed } from "../../lib/code/languages.js";

/** @typedef {{ start: number, end: number, path: string, line: number | null }} FileReference */

// A path of names without spaces that ends in a name with an extension, and a line after a colon.
const REFERENCE =
  /(?<![\w./@:+~-])((?:~|\.{1,2})?(?:\/?[\w.@+-]+)(?:\/[\w.@+-]+)*\.[A-Za-z]\w{0,9}):(\d{1,7})(?::\d+)?(?![\w/])/g;
const WHOLE_PATH = /^\/?(?:[\w.@+-]+\/)+[\w.@+-]+\.[A-Za-z]\w{0,9}$/;
const LINKED =
  /^((?:~\/|\/|(?:\.{1,2}\/)+)?(?:[\w.@+ -]+\/)*[\w.@+ -]+\.[A-Za-z]\w{0,9})(?::(\d{1,7})(?:[:-]\d+)?|#L(\d{1,7})(?:-L?\d+)?)?$/;
const MAX_LINKED = 300; // characters
const HOST = /^(?:[a-z\d](?:[a-z\d-]*[a-z\d])?\.)+([a-z]{2,})$/i;
/** Endings of hosts that agents name; those of countries have two letters. */
const DOMAINS = new Set(
  "com org net edu gov int info biz dev app cloud blog page site online tech xyz wiki local localhost".split(
    " ",
  ),
);
/** Endings of files with two letters besides those of the languages. */
const SHORT_ENDINGS = new Set("in am ac po mo so db gz xz bz ui tf ps hx mp ts".split(" "));
const MAX_TEXT = 20_000; // characters of one text that are looked at

/**
 * Whether a path without a scheme is rather the address of a host: its first part ends as hosts do, and not as the
 * files do whose language is known. `main.py` and `docs/x.com` are files, `example.com` and `a.example.io/x.md` are not.
 * @param {string} path
 */
function isHost(path) {
  const ending = HOST.exec(path.split("/", 1)[0])?.[1].toLowerCase();
  if (!ending || languageNamed(ending) !== null) return false;
  return ending.length === 2 ? !SHORT_ENDINGS.has(ending) : DOMAINS.has(ending);
}

/**
 * The files with a line that a text names.
 * @param {string} text
 * @returns {FileReference[]}
 */
export function fileReferences(text) {
  if (text.length > MAX_TEXT || !/:\d/.test(text)) return [];
  const found = [...text.matchAll(REFERENCE)].filter((match) => !isHost(match[1]));
  return found.map((match) => ({
    start: match.index,
    end: match.index + match[0].length,
    path: match[1],
    line: Number(match[2]),
  }));
}

/**
 * The file that a piece of code is the name of; null if it is something else.
 * @param {string} code
 * @returns {FileReference | null}
 */
export function fileNamed(code) {
  const [reference] = fileReferences(code);
  if (reference && reference.start === 0 && reference.end === code.length) return reference;
  if (code.length > 300 || !WHOLE_PATH.test(code)) return null;
  return { start: 0, end: code.length, path: code, line: null };
}

/**
 * The file that the address of a link in an answer names, such as "src/app.py:12" or "app.py#L12"; null for another address.
 * @param {string} address
 * @returns {{ path: string, line: number | null } | null}
 */
export function linkedFile(address) {
  const match = LINKED.exec(address.length > MAX_LINKED ? "" : decoded(address));
  if (!match || isHost(match[1])) return null;
  const line = match[2] ?? match[3];
  return { path: match[1], line: line === undefined ? null : Number(line) };
}

/**
 * The path of the file that a document names by a relative address; null for an address of another kind, or above the root.
 * @param {string} document path of the document
 * @param {string} address such as "../assets/logo.png" or "/docs/guide.md#start"; one from the root begins at the session's directory
 */
export function fileNamedBy(document, address) {
  const [written] = address.split(/[?#]/);
  if (!written || /^(?:[a-z][a-z0-9+.-]*:|\/\/)/i.test(written)) return null;
  const isFromRoot = written.startsWith("/");
  const isAbsolute = !isFromRoot && document.startsWith("/");
  /** @type {string[]} */
  const path = isFromRoot ? [] : document.split("/").filter(Boolean).slice(0, -1);
  for (const part of decoded(written).split("/")) {
    if (part === "" || part === ".") continue;
    if (part !== "..") path.push(part);
    else if (path.pop() === undefined) return null;
  }
  return path.length > 0 ? (isAbsolute ? "/" : "") + path.join("/") : null;
}

/** @param {string} address */
function decoded(address) {
  try {
    return decodeURIComponent(address);
  } catch {
    return address; // a lone percent sign of a name
  }
}
