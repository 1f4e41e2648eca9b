// Bringing a block of a conversation on screen, also one whose messages have not been read yet.

import { blockNamed } from "../../data/conversation/block-keys.js";
import { blockOf } from "../../data/conversation/message-place.js";

/**
 * @import { Transcript } from "../../data/conversation/transcript.js"
 * @import { Block } from "../../data/types.js"
 */

const LOADING_INTERVAL = 50; // ms between two looks whether earlier messages have come
const PAGE = 200; // messages that are read at once on the way to a given one
const MARK_TIME = 2500; // ms

/**
 * @typedef {object} Conversation
 * @property {() => Transcript} transcript
 * @property {() => Block[]} blocks
 * @property {(key: string, margin?: number) => HTMLElement | null} bringOnScreen
 * @property {(limit: number) => Promise<unknown>} loadOlder
 * @property {(messageId: string) => Promise<boolean | null>} loadAround reads what is around a message; false if it is unknown
 * @property {() => Promise<unknown>} loadLatest reads the end of the conversation again
 * @property {() => void} draw
 * @property {() => boolean} isGivenUp whether nothing more is read
 */

export class BlockNavigation {
  /** @param {Conversation} conversation */
  constructor(conversation) {
    this._conversation = conversation;
    this._searches = 0;
  }

  /** Whether messages are being read on the way to a block. */
  get isReading() {
    return this._searches > 0;
  }

  /**
   * Bring a block on screen. For a message the hub gives what is around it; for anything else earlier messages are read
   * until it is there.
   * @param {string} id the key of a block, or the id of a message or of an agent's record that it shows
   * @returns {Promise<boolean>} whether there is such a block
   */
  async show(id) {
    this._searches += 1;
    try {
      const block = await this._read(id);
      const node = block && this._conversation.bringOnScreen(block.key);
      if (node) markShown(node);
      return Boolean(node);
    } finally {
      this._searches -= 1;
    }
  }

  /**
   * Bring a block to the place where it was, without a mark: nobody has asked for it.
   * @param {string} key
   * @param {number} margin px below the upper edge
   */
  async restore(key, margin) {
    this._searches += 1;
    try {
      const block = await this._read(key);
      if (block) this._conversation.bringOnScreen(block.key, margin);
    } finally {
      this._searches -= 1;
    }
  }

  /** @param {string} id @returns {Promise<Block | undefined>} */
  async _read(id) {
    const { transcript, blocks, loadOlder, loadAround, loadLatest, draw, isGivenUp } =
      this._conversation;
    for (let isFirst = true; ; isFirst = false) {
      draw();
      const message = transcript().messages.get(id);
      const block = message ? blockOf(blocks(), message) : blockNamed(blocks(), id);
      if (block) return block;
      while (!isGivenUp() && (!transcript().ready || transcript().loadingOlder))
        await pause(LOADING_INTERVAL);
      const known = transcript().messages.size;
      if (isGivenUp()) return undefined;
      const { hasOlder, hasNewer } = transcript();
      if (isFirst && (hasOlder || hasNewer)) {
        const isKey = id.includes(":"); // of a block
        if (!isKey && (await loadAround(id))) continue;
        await loadLatest(); // no message has that id: it may be in what is nearer to the end
        continue;
      }
      if (!hasOlder) return undefined;
      await loadOlder(PAGE);
      if (transcript().messages.size === known) return undefined;
    }
  }
}

/** Mark a block for a moment, and read on from there with the keyboard. @param {HTMLElement} node */
function markShown(node) {
  node.tabIndex = -1;
  node.focus({ preventScroll: true });
  node.classList.add("is-shown");
  setTimeout(() => node.classList.remove("is-shown"), MARK_TIME);
}

/** @param {number} time ms */
function pause(time) {
  return new Promise((resolve) => {
    setTimeout(resolve, time);
  });
}
