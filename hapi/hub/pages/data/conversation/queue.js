// The messages that wait for the agent, and how they change places. Pure.

/** @import { Block } from "../types.js" */

/** Tell of each message that waits for the agent whether it can be moved. @param {Block[]} waiting */
export function markPlaces(waiting) {
  const queued = queuedIn(waiting);
  queued.forEach((block, at) => {
    block.canRise = at > 0;
    block.canFall = at < queued.length - 1;
    block.version += ` ${block.canRise} ${block.canFall}`;
  });
}

/** The messages that wait for the agent, in their order. @param {readonly Block[]} blocks */
export function queuedIn(blocks) {
  return blocks.flatMap((block) =>
    block.kind === "user" && block.state === "queued" ? [block] : [],
  );
}

/** The ids of the messages ahead of one in the queue. @param {{ localId: string }[]} queued @param {string} localId */
export function aheadOf(queued, localId) {
  const place = queued.findIndex((block) => block.localId === localId);
  return queued.slice(0, Math.max(0, place)).map((block) => block.localId);
}

/**
 * The messages that have to be sent again to stand behind a new one that takes a place in the queue.
 * @template {{ localId: string }} Queued
 * @param {Queued[]} queued in their order
 * @param {string[]} ahead the ids of those that were ahead of the place
 * @returns {Queued[]}
 */
export function behind(queued, ahead) {
  const last = queued.findLastIndex((block) => ahead.includes(block.localId));
  return queued.slice(last + 1);
}

/**
 * The messages that wait, after one of them was moved: those that have to be sent again to stand behind the others.
 * @template {{ localId: string }} Queued
 * @param {Queued[]} queued in their order
 * @param {string} localId
 * @param {-1 | 1} by
 * @returns {Queued[]}
 */
export function movedQueue(queued, localId, by) {
  const from = queued.findIndex((block) => block.localId === localId);
  const to = from + by;
  const moved = queued[from];
  if (!moved || to < 0 || to >= queued.length) return [];
  const next = queued.filter((block) => block !== moved);
  next.splice(to, 0, moved);
  return next.slice(Math.max(from, to));
}
