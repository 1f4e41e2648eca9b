// The messages of one session, as far as they have been read: a window that grows at both ends. It ends with the newest
// message, or in the middle of the conversation when a person has gone to a place far back.

import { isObject } from "../json.js";

/** @import { Json, Message, MessagePage, PageInfo, PagePosition, QueuedStates } from "../types.js" */

const MAX_TIME = 8.64e15; // ms since the epoch: the last moment that a Date can hold

/** What the fields of a message must be. @type {Record<string, (value: Json) => boolean>} */
const READABLE = {
  seq: isTime,
  createdAt: isTime,
  invokedAt: (value) => isMissing(value) || isTime(value),
  scheduledAt: (value) => isMissing(value) || isTime(value),
  localId: (value) => isMissing(value) || typeof value === "string",
  deliveryState: (value) => isMissing(value) || typeof value === "string",
};
/** What stands for a field that is not. @type {Record<string, Json>} */
const INSTEAD = { seq: 0, createdAt: 0 };

export class Transcript {
  constructor() {
    /** @type {Map<string, Message>} */
    this.messages = new Map();
    this.revision = 0; // changes with every change
    this.ready = false; // the first page has arrived
    this.hasOlder = false;
    this.loadingOlder = false;
    this.hasNewer = false; // the newest messages are not in the window
    this.loadingNewer = false;
    this.generation = 0; // changes when the window starts over: pages that were asked for before do not fit
    this.stale = false; // changes may have been missed
    /** @type {string | number | null} */
    this._epoch = null;
    /** @type {PagePosition | null} where the oldest page that was read begins */
    this._oldest = null;
    /** @type {PagePosition | null} where the newest page ends, while there are newer ones */
    this._newest = null;
    /** @type {Map<string, string>} id of a stream of reasoning -> id of the message that holds its newest snapshot */
    this._snapshots = new Map();
  }

  /** Where to read on after what is known; null: with the newest page. @returns {PagePosition | null} */
  catchUpPosition() {
    if (!this.ready || this._epoch === null) return null;
    const newest = this.ordered().findLast((message) => !isQueued(message));
    if (!newest) return null;
    return { afterSeq: newest.seq, afterAt: positionTime(newest), epoch: this._epoch };
  }

  olderPosition() {
    return this.hasOlder ? this._oldest : null;
  }

  /** Where to read on towards the end; null if the end is known. @returns {PagePosition | null} */
  newerPosition() {
    return this.hasNewer && this._newest && this._epoch !== null
      ? { ...this._newest, epoch: this._epoch }
      : null;
  }

  /** Whether nothing can have been missed, as what comes is read later. */
  get isBehind() {
    return this.hasNewer && this._epoch !== null;
  }

  /** Let the next read start over with the newest page. */
  forgetPosition() {
    this._epoch = null;
  }

  /** @param {MessagePage} answer */
  addPage({ messages, page }) {
    if (page.direction === "latest" || page.reset) {
      this._startOver(page);
      this.hasNewer = false;
    }
    this._epoch = page.epoch;
    this.ready = true;
    for (const message of readableMessages(messages)) this._put(message);
    this.revision += 1;
  }

  /** Forget what is known: another part of the conversation is shown. @param {PageInfo} page */
  _startOver(page) {
    this.messages.clear();
    this._snapshots.clear();
    this.generation += 1;
    this.hasOlder = page.hasMore;
    this._oldest = olderPosition(page);
  }

  /** Start over with a page from the middle of the conversation. @param {MessagePage} answer */
  addAroundPage({ messages, page }) {
    const queued = this.queued();
    this._startOver(page);
    this.hasNewer = Boolean(page.hasMoreAfter);
    this._newest = newerPosition(page);
    this._epoch = page.epoch;
    this.ready = true;
    for (const message of [...readableMessages(messages), ...queued]) this._put(message);
    this.revision += 1;
  }

  /** @param {MessagePage} answer */
  addNewerPage(answer) {
    const { messages, page } = answer;
    if (page.direction !== "after" || page.reset) {
      this.addPage(answer);
      return;
    }
    this.hasNewer = page.hasMore;
    this._newest = newerPosition(page) ?? this._newest;
    for (const message of readableMessages(messages)) this._put(message);
    this.revision += 1;
  }

  /** The conversation is left: it begins with its end when it is shown again. */
  leave() {
    if (!this.hasNewer) return;
    this.messages.clear();
    this._snapshots.clear();
    Object.assign(this, { generation: this.generation + 1, hasNewer: false, hasOlder: false });
    Object.assign(this, { ready: false, _epoch: null, revision: this.revision + 1 });
  }

  /** @param {MessagePage} answer */
  addOlderPage({ messages, page }) {
    this.hasOlder = page.hasMore;
    this._oldest = olderPosition(page);
    for (const message of readableMessages(messages))
      if (!this.messages.has(message.id)) this._put(message);
    this.revision += 1;
  }

  /**
   * Forget all but the newest messages, when there are many: they can be read again.
   * @param {number} most messages that are kept at most
   * @param {number} [rest] messages that are kept when there are more
   */
  trim(most, rest = most) {
    if (this.messages.size <= most || this.loadingOlder || this.hasNewer) return;
    const said = this.ordered().filter((message) => !isQueued(message));
    const gone = said.slice(0, Math.max(0, said.length - rest));
    const oldest = said[gone.length];
    if (gone.length === 0 || !oldest) return;
    for (const message of gone) this.messages.delete(message.id);
    for (const [stream, id] of this._snapshots)
      if (!this.messages.has(id)) this._snapshots.delete(stream);
    this._oldest = { beforeSeq: oldest.seq, beforeAt: positionTime(oldest) };
    this.hasOlder = true;
    this.revision += 1;
  }

  /** A message has come. One after the end of the window is read when the window gets there. @param {Message} message */
  upsert(message) {
    for (const each of readableMessages([message])) {
      if (this.hasNewer && !this.messages.has(each.id) && !isQueued(each)) continue;
      this._put(each);
    }
    this.revision += 1;
  }

  /** @param {Message} message */
  _put(message) {
    const known = this.messages.get(message.id);
    this.messages.set(
      message.id,
      known?.invokedAt && !message.invokedAt ? { ...message, invokedAt: known.invokedAt } : message,
    );
    const data = message.content?.content?.data;
    if (data?.type === "reasoning" && typeof data.id === "string")
      this._putSnapshot(message, data.id);
  }

  /**
   * A newer snapshot replaces the one before, as it does at the hub. The text stays where its first snapshot stood.
   * @param {Message} message
   * @param {string} streamId
   */
  _putSnapshot(message, streamId) {
    const earlierId = this._snapshots.get(streamId);
    const earlier =
      earlierId !== undefined && earlierId !== message.id
        ? this.messages.get(earlierId)
        : undefined;
    if (earlier?.content?.content?.data?.live) {
      this.messages.delete(earlier.id);
      const { createdAt, invokedAt } = earlier;
      this.messages.set(message.id, {
        ...message,
        createdAt,
        invokedAt,
        standsAt: earlier.standsAt ?? earlier.seq,
      });
    }
    this._snapshots.set(streamId, message.id);
  }

  /** The agent has received these messages. @param {string[]} localIds @param {number} invokedAt */
  markConsumed(localIds, invokedAt) {
    for (const message of this._withLocalIds(localIds)) {
      if (this.hasNewer && isQueued(message)) {
        this.messages.delete(message.id); // it stands at the end of the conversation now
        continue;
      }
      this.messages.set(message.id, {
        ...message,
        invokedAt: message.invokedAt ?? invokedAt,
        deliveryState: undefined,
      });
    }
    this.revision += 1;
  }

  /** @param {string[]} localIds @param {string | undefined} deliveryState */
  markDelivery(localIds, deliveryState) {
    for (const message of this._withLocalIds(localIds))
      this.messages.set(message.id, { ...message, deliveryState });
    this.revision += 1;
  }

  /** @param {string | undefined} messageId @param {string | null | undefined} localId */
  remove(messageId, localId) {
    if (messageId !== undefined) this.messages.delete(messageId);
    for (const message of this._withLocalIds(localId ? [localId] : []))
      this.messages.delete(message.id);
    this.revision += 1;
  }

  /** Update the queued messages to what the hub reports; those that the hub does not know are removed. @param {QueuedStates} states */
  settleQueued({ queuedLocalIds, indeterminateLocalIds, invokedLocalMessages }) {
    const invoked = new Map(
      invokedLocalMessages.map(({ localId, invokedAt }) => [localId, invokedAt]),
    );
    for (const message of this.queued()) {
      const localId = String(message.localId);
      const invokedAt = invoked.get(localId);
      if (invokedAt !== undefined) this.markConsumed([localId], invokedAt);
      else if (indeterminateLocalIds.includes(localId))
        this.markDelivery([localId], "indeterminate");
      else if (queuedLocalIds.includes(localId)) this.markDelivery([localId], undefined);
      else this.remove(message.id, localId);
    }
  }

  queued() {
    return [...this.messages.values()].filter(isQueued);
  }

  /** @param {string} localId */
  hasLocalId(localId) {
    return this._withLocalIds([localId]).length > 0;
  }

  /** @param {string[]} localIds */
  _withLocalIds(localIds) {
    return [...this.messages.values()].filter(
      (message) => message.localId && localIds.includes(message.localId),
    );
  }

  /** All messages, oldest first, with queued ones last. */
  ordered() {
    return [...this.messages.values()].sort(
      (one, other) =>
        Number(isQueued(one)) - Number(isQueued(other)) ||
        positionTime(one) - positionTime(other) ||
        (one.standsAt ?? one.seq) - (other.standsAt ?? other.seq),
    );
  }
}

/**
 * Messages as the views can read them: those with an id, each without what has a type that they do not expect.
 * @param {Json} messages
 * @returns {Message[]}
 */
function readableMessages(messages) {
  if (!Array.isArray(messages)) return [];
  return messages
    .filter((message) => isObject(message) && typeof message.id === "string")
    .map((message) => {
      const odd = Object.entries(READABLE).filter(([key, isRight]) => !isRight(message[key]));
      return odd.length === 0
        ? message
        : { ...message, ...Object.fromEntries(odd.map(([key]) => [key, INSTEAD[key]])) };
    });
}

/** @param {Json} value */
function isMissing(value) {
  return value === null || value === undefined;
}

/** Whether a value is a time in ms, or another whole number that a message may have. @param {Json} value */
function isTime(value) {
  return typeof value === "number" && Math.abs(value) <= MAX_TIME;
}

/** Whether a message is a person's that the agent has not received yet. @param {Message} message */
export function isQueued(message) {
  return Boolean(message.localId) && !message.invokedAt;
}

/** @param {Message} message */
function positionTime(message) {
  return message.invokedAt ?? message.createdAt;
}

/** @param {PageInfo} page @returns {PagePosition | null} */
function olderPosition({ nextBeforeSeq, nextBeforeAt }) {
  if (nextBeforeSeq === null || nextBeforeSeq === undefined) return null;
  return { beforeSeq: nextBeforeSeq, beforeAt: nextBeforeAt ?? 0 };
}

/** @param {PageInfo} page @returns {PagePosition | null} */
function newerPosition({ nextAfterSeq, nextAfterAt }) {
  if (nextAfterSeq === null || nextAfterSeq === undefined) return null;
  return { afterSeq: nextAfterSeq, afterAt: nextAfterAt ?? 0 };
}
