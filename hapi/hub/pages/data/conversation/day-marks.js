// Where a new day begins in a conversation. Pure.

/** @import { Block } from "../types.js" */

/**
 * `blocks` with a block for each new day between them.
 * @param {Block[]} blocks
 * @returns {Block[]}
 */
export function withDays(blocks) {
  const today = new Date().toDateString();
  /** @type {string | null} */
  let last = null;
  let [start, end] = [0, 0]; // of the last day, in ms since the epoch
  return blocks.flatMap((block) => {
    if (block.kind === "request" || !block.at || (block.at >= start && block.at < end))
      return [block];
    const day = new Date(block.at);
    const date = day.toDateString();
    start = day.setHours(0, 0, 0, 0);
    end = day.setDate(day.getDate() + 1);
    if (date === last) return [block];
    const isOnlyToday = last === null && date === today;
    last = date;
    return isOnlyToday
      ? [block]
      : [{ key: `day:${date}`, version: "", kind: "day", at: block.at }, block];
  });
}
