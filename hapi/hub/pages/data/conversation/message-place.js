// Where a message is shown in a conversation. Pure.

import { blockNamed } from "./block-keys.js";
import { blocksOf } from "./blocks.js";

/** @import { Block, Message } from "../types.js" */

/**
 * The block that shows a message: several messages make one block, such as a tool call and its result. One that shows
 * nothing of its own is found at the block before it.
 * @param {Block[]} blocks
 * @param {Message} message
 * @returns {Block | undefined}
 */
export function blockOf(blocks, message) {
  const named = blockNamed(blocks, message.id);
  if (named) return named;
  const keys = new Set(blocksOf([message], [], null).map((block) => block.key));
  const at = message.invokedAt ?? message.createdAt;
  return (
    blocks.find((block) => keys.has(block.key)) ??
    blocks.findLast((block) => block.at !== 0 && block.at <= at) ??
    blocks[0]
  );
}
