// What a session has used, in words. Pure.

import { duration } from "../lib/format.js";
import { isObject } from "./json.js";

/** @import { Block, Json, TurnBlock } from "./types.js" */

const MIN_SHOWN_DURATION = 1000; // ms

/**
 * What a session has used: `metadata.usage`, or what the last turn of its conversation tells.
 * @param {Json} usage
 * @param {Block[]} [blocks]
 * @returns {Json} null if nothing is known
 */
export function knownUsage(usage, blocks = []) {
  if (isObject(usage)) return usage;
  const turn = /** @type {TurnBlock | undefined} */ (
    blocks.findLast((block) => block.kind === "turn" && (block.context || block.input > 0))
  );
  if (!turn) return null;
  const { context, duration: turnMs } = turn;
  return { contextTokens: context?.tokens, contextWindow: context?.window, turnMs };
}

/**
 * A usage for the head of a session and for a dialog; null if it tells nothing.
 * @param {Json} usage
 * @returns {{ label: string, details: [label: string, value: string][], share: number | null } | null}
 * `share` of the context window that is in use, 0 to 1
 */
export function describeUsage(usage) {
  if (!isObject(usage)) return null;
  const { contextTokens, contextWindow, inputTokens, outputTokens, cost, turnMs, turns } = usage;
  const isKnown = isCount(contextTokens) && isCount(contextWindow) && contextWindow > 0;
  const share = isKnown ? contextTokens / contextWindow : null;
  /** @type {[string, string | false][]} */
  const rows = [
    ["Context", share !== null && `${tokens(contextTokens)} of ${tokens(contextWindow)} tokens`],
    ["Left", share !== null && `${tokens(Math.max(0, contextWindow - contextTokens))} tokens`],
    ["Tokens in", isCount(inputTokens) && tokens(inputTokens)],
    ["Tokens out", isCount(outputTokens) && tokens(outputTokens)],
    ["Cost", isObject(cost) && isCount(cost.amount) && price(cost)],
    ["Turns", isCount(turns) && tokens(turns)],
    ["Last turn", isCount(turnMs) && turnMs > 0 && duration(turnMs)],
  ];
  const details = /** @type {[string, string][]} */ (rows.filter(([, value]) => value));
  if (details.length === 0) return null;
  return { label: shortLabel(usage, share) || details[0].join(": "), details, share };
}

/**
 * What fits into the head of a session.
 * @param {Record<string, Json>} usage
 * @param {number | null} share of the context window
 */
function shortLabel({ contextTokens, contextWindow, inputTokens, outputTokens }, share) {
  if (share !== null)
    return `${Math.round(share * 100)}% · ${compact(contextTokens)} of ${compact(contextWindow)}`;
  if (isCount(inputTokens) && isCount(outputTokens))
    return `${compact(inputTokens)} in, ${compact(outputTokens)} out`;
  return "";
}

/**
 * What a turn took, as short texts.
 * @param {TurnBlock} turn
 * @returns {string[]}
 */
export function turnFacts({ duration: ms, input, output, model, cost }) {
  return [
    ms !== null && ms >= MIN_SHOWN_DURATION && duration(ms),
    (input > 0 || output > 0) && `${compact(input)} tokens in, ${compact(output)} out`,
    cost && price(cost),
    model,
  ].filter((text) => typeof text === "string");
}

/** @param {number} count */
function compact(count) {
  return count.toLocaleString("en", { notation: "compact", maximumFractionDigits: 1 });
}

/** @param {Json} value @returns {value is number} */
function isCount(value) {
  return typeof value === "number" && Number.isFinite(value) && value >= 0;
}

/** @param {number} count */
function tokens(count) {
  return count.toLocaleString("en");
}

/** @param {Json} cost `{amount, currency}` */
function price({ amount, currency }) {
  const code = typeof currency === "string" ? currency : "USD";
  return `${amount.toFixed(amount < 1 ? 4 : 2)} ${code}`;
}
