// What a session has used, in words. Pure.

import { duration } from "../../lib/format.js";
import { LOCALE, t } from "../../lib/language.js";
import { isObject } from "../json.js";

/** @import { Block, Json, TurnBlock } from "../types.js" */

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
    [
      t("Context"),
      share !== null &&
        t("{used} of {window} tokens", {
          used: tokens(contextTokens),
          window: tokens(contextWindow),
        }),
    ],
    [
      t("Left"),
      share !== null &&
        t("{count} tokens", { count: tokens(Math.max(0, contextWindow - contextTokens)) }),
    ],
    [t("Tokens in"), isCount(inputTokens) && tokens(inputTokens)],
    [t("Tokens out"), isCount(outputTokens) && tokens(outputTokens)],
    [t("Cost"), isObject(cost) && isCount(cost.amount) && price(cost)],
    [t("Turns"), isCount(turns) && tokens(turns)],
    [t("Last turn"), isCount(turnMs) && turnMs > 0 && duration(turnMs)],
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
    return t("{percent}% · {used} of {window}", {
      percent: Math.round(share * 100),
      used: compact(contextTokens),
      window: compact(contextWindow),
    });
  if (isCount(inputTokens) && isCount(outputTokens))
    return t("{input} in, {output} out", {
      input: compact(inputTokens),
      output: compact(outputTokens),
    });
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
    (input > 0 || output > 0) &&
      t("{input} tokens in, {output} out", { input: compact(input), output: compact(output) }),
    cost && price(cost),
    model,
  ].filter((text) => typeof text === "string");
}

/** @param {number} count */
function compact(count) {
  return count.toLocaleString(LOCALE, { notation: "compact", maximumFractionDigits: 1 });
}

/** @param {Json} value @returns {value is number} */
function isCount(value) {
  return typeof value === "number" && Number.isFinite(value) && value >= 0;
}

/** @param {number} count */
function tokens(count) {
  return count.toLocaleString(LOCALE);
}

/** @param {Json} cost `{amount, currency}` */
function price({ amount, currency }) {
  const code = typeof currency === "string" ? currency : "USD";
  return `${amount.toFixed(amount < 1 ? 4 : 2)} ${code}`;
}
