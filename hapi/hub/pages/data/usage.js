// What a session has used, in words. Pure.

import { duration } from "../lib/format.js";
import { isObject } from "./json.js";

/** @import { Json } from "./types.js" */

/**
 * `metadata.usage` as a short label and the rest of it in a sentence; null if it tells nothing.
 * @param {Json} usage
 * @returns {{ label: string, details: string, isNearlyFull: boolean } | null}
 */
export function describeUsage(usage) {
  if (!isObject(usage)) return null;
  const { contextTokens, contextWindow, inputTokens, outputTokens, cost, turnMs } = usage;
  const share = isCount(contextTokens) && contextWindow > 0 ? contextTokens / contextWindow : null;
  const details = [
    share !== null && `Context: ${tokens(contextTokens)} of ${tokens(contextWindow)} tokens`,
    isCount(inputTokens) &&
      isCount(outputTokens) &&
      `Used: ${tokens(inputTokens)} tokens in, ${tokens(outputTokens)} out`,
    isObject(cost) && isCount(cost.amount) && `Cost: ${price(cost.amount, cost.currency)}`,
    isCount(turnMs) && turnMs > 0 && `Last turn: ${duration(turnMs)}`,
  ].filter(Boolean);
  if (details.length === 0) return null;
  return {
    label: shortLabel(usage, share) || String(details[0]),
    details: details.join(" · "),
    isNearlyFull: share !== null && share >= 0.9,
  };
}

/**
 * What fits into the head of a session.
 * @param {Record<string, Json>} usage
 * @param {number | null} share of the context window
 */
function shortLabel({ contextTokens, contextWindow, inputTokens, outputTokens }, share) {
  if (share !== null)
    return `${compact(contextTokens)} of ${compact(contextWindow)} tokens (${Math.round(share * 100)}%)`;
  if (isCount(inputTokens) && isCount(outputTokens))
    return `${compact(inputTokens)} tokens in, ${compact(outputTokens)} out`;
  return "";
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

/** @param {number} amount @param {Json} currency */
function price(amount, currency) {
  const code = typeof currency === "string" ? currency : "USD";
  return `${amount.toFixed(amount < 1 ? 4 : 2)} ${code}`;
}
