// The usage of a time, as it is shown. Pure.

import { LOCALE, t } from "../../lib/language.js";

/** @import { UsageOf } from "../types.js" */

/** What can be chosen, by the hub's name for it. @type {Record<string, string>} */
export const RANGES = { "7d": t("7 days"), "30d": t("30 days"), all: t("All") };

const DAY = 24 * 60 * 60 * 1000; // ms
const MAX_DAYS = 62; // more are shown without those on which nothing was used

/** A count as "1.2M". @param {number} count */
export function compactCount(count) {
  return count.toLocaleString(LOCALE, { notation: "compact", maximumFractionDigits: 1 });
}

/** A day of the hub, `2026-11-26`, as people write it. @param {string} key */
export function dayName(key) {
  const date = new Date(`${key}T12:00:00Z`);
  if (Number.isNaN(date.getTime())) return key;
  return date.toLocaleDateString(LOCALE, {
    weekday: "short",
    day: "numeric",
    month: "short",
    timeZone: "UTC",
  });
}

/**
 * The days of a time, the newest first, with those on which nothing was used.
 * @param {UsageOf[]} daily
 * @param {{ from: number, to: number }} range ms
 * @returns {UsageOf[]}
 */
export function withDaysBetween(daily, { from, to }) {
  const newestFirst = [...daily].reverse();
  if (daily.length === 0 || to - from > MAX_DAYS * DAY) return newestFirst;
  const known = new Map(daily.map((day) => [day.key, day]));
  const last = Date.parse(`${newestFirst[0].key}T12:00:00Z`);
  const first = Date.parse(`${daily[0].key}T12:00:00Z`);
  const days = [];
  for (let at = last; at >= first; at -= DAY) {
    const key = new Date(at).toISOString().slice(0, 10);
    days.push(known.get(key) ?? nothing(key));
  }
  return days;
}

/** @param {string} key @returns {UsageOf} */
function nothing(key) {
  return {
    key,
    inputTokens: 0,
    outputTokens: 0,
    cacheReadTokens: 0,
    cacheCreationTokens: 0,
    totalTokens: 0,
    uncachedTokens: 0,
    requests: 0,
  };
}
