// By which key a block of a conversation is known. Pure.

/** @import { Block } from "../types.js" */

/**
 * `blocks`, where a key that an earlier block has already is changed.
 * @param {Block[]} blocks
 */
export function withOwnKeys(blocks) {
  /** @type {Map<string, number>} */
  const counts = new Map();
  for (const block of blocks) {
    const count = (counts.get(block.key) ?? 0) + 1;
    counts.set(block.key, count);
    if (count > 1) block.key = `${block.key}#${count}`;
  }
  return blocks;
}

/**
 * The block of that key, or the one that shows the message or record of that id.
 * @param {Block[]} blocks
 * @param {string} id
 * @returns {Block | undefined}
 */
export function blockNamed(blocks, id) {
  return (
    blocks.find((block) => block.key === id) ??
    blocks.find(
      (block) =>
        block.version === id ||
        ("messageId" in block && block.messageId === id) ||
        block.key.endsWith(`:${id}`) ||
        block.key.includes(`:${id}/`),
    )
  );
}
