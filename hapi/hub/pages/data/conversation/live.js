// What the agent of the open session is saying before it is a record. Nothing of it is kept.

/** @import { Block, LiveBlock, LiveEvent, TextBlock, ThoughtBlock, ToolBlock } from "../types.js" */

/** The live text of one session, as the hub sends it: all there is at first, then what changes. */
export class LiveText {
  constructor() {
    /** @type {Map<string, LiveBlock>} in the order in which they are shown */
    this.blocks = new Map();
    this.revision = 0; // changes with every change
    this._epoch = "";
    this._number = 0;
  }

  clear() {
    this.blocks.clear();
    this._epoch = "";
    this.revision += 1;
  }

  /**
   * Apply an update. False if it does not follow the last one: then all must be asked for again.
   * @param {LiveEvent} event
   */
  apply({ epoch, number, whole, blocks, ended = [] }) {
    const follows = epoch === this._epoch && number === this._number + 1;
    if (!whole && !follows) return false;
    this._epoch = epoch;
    this._number = number;
    this.revision += 1;
    const known = new Map(this.blocks);
    if (whole) this.blocks.clear();
    for (const id of ended) this.blocks.delete(id);
    for (const { id, type, text, append } of blocks) {
      const before = known.get(id);
      this.blocks.set(id, {
        id,
        type,
        text: append && before ? before.text + text : text,
        at: before?.at ?? Date.now(),
        revision: this.revision,
      });
    }
    return true;
  }
}

/**
 * `blocks` of a conversation with what is being said now: after everything that was said, before what waits.
 * A block whose record has come already is left out.
 * @param {Block[]} blocks
 * @param {Iterable<LiveBlock>} live
 * @returns {Block[]}
 */
export function withLive(blocks, live) {
  const said = [...live];
  if (said.length === 0) return blocks;
  const places = new Map(blocks.map((block, place) => [block.key, place]));
  const result = [...blocks];
  /** @type {Block[]} */
  const added = [];
  for (const block of said) {
    const shown = liveBlock(block, blocks[places.get(keyOf(block)) ?? -1]);
    if (!shown) continue;
    const place = places.get(shown.key);
    if (place === undefined) added.push(shown);
    else result[place] = shown;
  }
  result.splice(endOfSaid(blocks), 0, ...added);
  return result;
}

/** @param {LiveBlock} block */
function keyOf({ type, id }) {
  return { message: "text:", reasoning: "thought:", "tool-output": "tool:" }[type] + id;
}

/**
 * What is shown of a live block, given the block of its records so far; null if these show it already.
 * @param {LiveBlock} live
 * @param {Block | undefined} recorded
 * @returns {TextBlock | ThoughtBlock | ToolBlock | null}
 */
function liveBlock(live, recorded) {
  const { text, at } = live;
  const base = { key: keyOf(live), version: `live ${live.revision}`, at: recorded?.at ?? at };
  switch (live.type) {
    case "message":
      return recorded ? null : { ...base, kind: "text", text, live: true };
    case "reasoning":
      if (recorded?.kind === "thought" && !recorded.live) return null;
      return { ...base, kind: "thought", text, live: true };
    default:
      if (recorded?.kind !== "tool" || recorded.done) return null;
      return {
        ...recorded,
        version: `${recorded.version} ${base.version}`,
        output: text,
        recordedVersion: recorded.version,
      };
  }
}

/** The place after the last block that is not a request or a message that waits. @param {Block[]} blocks */
function endOfSaid(blocks) {
  const last = blocks.findLastIndex(
    (block) => block.kind !== "request" && !(block.kind === "user" && block.state !== "sent"),
  );
  return last + 1;
}
