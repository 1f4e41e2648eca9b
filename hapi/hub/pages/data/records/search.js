// Search over all conversations: what a person types as a query, and what the hub found, ready to be shown. Pure.

import { t } from "../../lib/language.js";
import { sessionAddress } from "../addresses.js";

/** @import { SearchResult, Snippet } from "../types.js" */

/** What a kind of message is called. @type {Record<string, string>} */
export const KIND_LABELS = {
  prompt: t("Your prompt"),
  answer: t("Answer"),
  thought: t("Thought"),
  tool: t("Tool call"),
  output: t("Output"),
  plan: t("Plan"),
  note: t("Note"),
};

/** The address of the search for a text. @param {string} text */
export const searchAddress = (text) => `/search${text && `?${new URLSearchParams({ q: text })}`}`;

/**
 * The query for what has been typed so far: the last word may still grow, so what begins like it is found as well. One letter alone
 * begins too much.
 * @param {string} text
 */
export function queryOf(text) {
  const isInQuotes = (text.match(/["“”„]/g) ?? []).length % 2 === 1;
  return !isInQuotes && /[\p{L}\p{N}]{2}$/u.test(text) ? `${text}*` : text;
}

/** Whether a text holds anything that can be searched. @param {string} text */
export function isSearchable(text) {
  return /[\p{L}\p{N}]/u.test(text);
}

/**
 * A snippet as parts, which alternate between what was not and what was searched for.
 * @param {Snippet} snippet
 * @returns {{ text: string, isMatch: boolean }[]}
 */
export function partsOf({ text, marks, hasMoreBefore, hasMoreAfter }) {
  const parts = [];
  let at = 0;
  const lead = hasMoreBefore ? "… " : "";
  for (const [start, end] of marks) {
    if (start < at) continue; // overlaps the mark before
    parts.push({ text: (at === 0 ? lead : "") + text.slice(at, start), isMatch: false });
    parts.push({ text: text.slice(start, end), isMatch: true });
    at = end;
  }
  parts.push({
    text: (at === 0 ? lead : "") + text.slice(at) + (hasMoreAfter ? " …" : ""),
    isMatch: false,
  });
  return parts.filter((part) => part.text !== "");
}

/** Where a result is read: its conversation, at the message. @param {SearchResult} result */
export function resultAddress({ sessionId, messageId }) {
  return `${sessionAddress(sessionId)}?${new URLSearchParams({ message: messageId })}`;
}

/**
 * Results that follow each other in the same session, together.
 * @param {SearchResult[]} results
 * @returns {{ sessionId: string, title: string, results: SearchResult[] }[]}
 */
export function bySession(results) {
  /** @type {{ sessionId: string, title: string, results: SearchResult[] }[]} */
  const groups = [];
  for (const result of results) {
    const last = groups.at(-1);
    if (last?.sessionId === result.sessionId) last.results.push(result);
    else
      groups.push({ sessionId: result.sessionId, title: result.sessionTitle, results: [result] });
  }
  return groups;
}

/**
 * The words and phrases of a query as they are looked for in names, in lower case; none if they begin too much.
 * @param {string} text
 * @returns {string[]}
 */
export function wordsOf(text) {
  const words = [...text.toLowerCase().matchAll(/["“”„]([^"“”„]*)|([^\s"“”„]+)/g)]
    .map(([, phrase, word]) => (phrase ?? word.replace(/\*+$/, "")).trim())
    .filter(isSearchable);
  return words.some((word) => word.length > 1 || word > "\u024f") ? words : []; // beyond the Latin letters
}

/**
 * A name as parts, which alternate between what was not and what was searched for; null unless it has all `words`.
 * @param {string} name @param {string[]} words
 * @returns {{ text: string, isMatch: boolean }[] | null}
 */
export function nameParts(name, words) {
  const lowered = name.toLowerCase();
  if (words.length === 0 || !words.every((word) => lowered.includes(word))) return null;
  if (lowered.length !== name.length) return [{ text: name, isMatch: false }]; // a letter of another length, as İ
  /** @type {[number, number][]} */
  const marks = words.map((word) => [lowered.indexOf(word), lowered.indexOf(word) + word.length]);
  marks.sort(([one], [other]) => one - other);
  return partsOf({ text: name, marks, hasMoreBefore: false, hasMoreAfter: false });
}
