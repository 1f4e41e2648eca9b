// The parts of links: destinations, titles, labels, and the definitions that labels refer to (CommonMark 0.31.2,
// "Links" and "Link reference definitions").

import { unescaped } from "./entities.js";

/** @typedef {{ address: string, title: string | null }} Target */
/** @typedef {Map<string, Target>} Definitions by label */

const MAX_LABEL = 999; // characters
const MAX_PARENTHESES = 32; // open at once in a destination, as in cmark
const SPACE = /[ \t\n]/;

/** Where something else than a space is, at `at` or after it. @param {string} text @param {number} at */
function afterSpaces(text, at) {
  let end = at;
  while (end < text.length && SPACE.test(text[end])) end += 1;
  return end;
}

/** The same for all spellings of a label. @param {string} label */
export function normalLabel(label) {
  return label.trim().replace(/\s+/g, " ").toLowerCase().toUpperCase();
}

/**
 * Where the label in brackets that begins at `at` ends; 0 if there is none.
 * @param {string} text
 * @param {number} at
 */
export function labelEnd(text, at) {
  if (text[at] !== "[") return 0;
  const last = Math.min(text.length, at + MAX_LABEL + 2);
  for (let end = at + 1; end < last; end += 1) {
    if (text[end] === "]") return end + 1;
    if (text[end] === "[") return 0;
    if (text[end] === "\\") end += 1;
  }
  return 0;
}

/**
 * The destination at `at` and where it ends; null if there is none.
 * @param {string} text
 * @param {number} at
 */
function destinationAt(text, at) {
  return text[at] === "<" ? bracketedDestination(text, at) : plainDestination(text, at);
}

/** @param {string} text @param {number} at */
function bracketedDestination(text, at) {
  for (let end = at + 1; end < text.length; end += 1) {
    if (text[end] === ">") return { address: unescaped(text.slice(at + 1, end)), end: end + 1 };
    if (text[end] === "<" || text[end] === "\n") return null;
    if (text[end] === "\\") end += 1;
  }
  return null;
}

/** @param {string} text @param {number} at */
function plainDestination(text, at) {
  let open = 0;
  let end = at;
  for (; end < text.length; end += 1) {
    const character = text[end];
    if (character <= " " || character === "\x7f") break;
    if (character === "\\" && text[end + 1] > " ") end += 1;
    else if (character === "(") {
      open += 1;
      if (open > MAX_PARENTHESES) return null;
    } else if (character === ")") {
      if (open === 0) break;
      open -= 1;
    }
  }
  return open > 0 ? null : { address: unescaped(text.slice(at, end)), end };
}

/** @type {Record<string, string>} */
const TITLE_ENDS = { '"': '"', "'": "'", "(": ")" };

/**
 * The title at `at` and where it ends; null if there is none.
 * @param {string} text
 * @param {number} at
 */
function titleAt(text, at) {
  const mark = TITLE_ENDS[text[at]];
  if (!mark) return null;
  for (let end = at + 1; end < text.length; end += 1) {
    if (text[end] === mark) return { title: unescaped(text.slice(at + 1, end)), end: end + 1 };
    if (text[end] === "(" && mark === ")") return null;
    if (text[end] === "\\") end += 1;
  }
  return null;
}

/**
 * What follows the text of a link in parentheses, and where it ends; null if it is none.
 * @param {string} text
 * @param {number} at where the parenthesis is
 * @returns {(Target & { end: number }) | null}
 */
export function inlineTarget(text, at) {
  if (text[at] !== "(") return null;
  const destination = destinationAt(text, afterSpaces(text, at + 1));
  if (!destination) return null;
  const next = afterSpaces(text, destination.end);
  const title = next > destination.end ? titleAt(text, next) : null;
  const end = title ? afterSpaces(text, title.end) : next;
  if (text[end] !== ")") return null;
  return { address: destination.address, title: title?.title ?? null, end: end + 1 };
}

/** Where the line ends if only spaces follow `at` in it; 0 if not. @param {string} text @param {number} at */
function lineEnd(text, at) {
  let end = at;
  while (text[end] === " " || text[end] === "\t") end += 1;
  return end === text.length || text[end] === "\n" ? end + 1 : 0;
}

/**
 * The definition that begins at `at`, and where the line after it begins; null if there is none.
 * @param {string} text the text of a paragraph
 * @param {number} at
 * @returns {(Target & { label: string, end: number }) | null}
 */
export function definitionAt(text, at) {
  const colon = labelEnd(text, at);
  if (!colon || text[colon] !== ":") return null;
  const label = normalLabel(text.slice(at + 1, colon - 1));
  if (!label) return null;
  const from = afterSpaces(text, colon + 1);
  const destination = from < text.length ? destinationAt(text, from) : null;
  if (!destination || destination.end === from) return null;
  const next = afterSpaces(text, destination.end);
  const title = next > destination.end ? titleAt(text, next) : null;
  const titledEnd = title ? lineEnd(text, title.end) : 0;
  if (title && titledEnd)
    return { label, address: destination.address, title: title.title, end: titledEnd };
  const end = lineEnd(text, destination.end);
  return end ? { label, address: destination.address, title: null, end } : null;
}
