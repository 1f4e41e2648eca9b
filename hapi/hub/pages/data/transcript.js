// The messages of one session, as far as they have been read: a window that grows at both ends.

import { isObject } from "./json.js";

/** @import { Json, Message, MessagePage, PageInfo, PagePosition, QueuedStates } from "./types.js" */

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
    this.stale = false; // changes may have been missed
    /** @type {string | number | null} */
    this._epoch = null;
    /** @type {PagePosition | null} where the oldest page that was read begins */
    this._oldest = null;
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

  /** Let the next read start over with the newest page. */
  forgetPosition() {
    this._epoch = null;
  }

  /** @param {MessagePage} answer */
  addPage({ messages, page }) {
    if (page.direction === "latest" || page.reset) {
      this.messages.clear();
      this._snapshots.clear();
      this.hasOlder = page.hasMore;
      this._oldest = olderPosition(page);
    }
    this._epoch = page.epoch;
    this.ready = true;
    for (const message of readableMessages(messages)) this._put(message);
    this.revision += 1;
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
    if (this.messages.size <= most || this.loadingOlder) return;
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

  /** @param {Message} message */
  upsert(message) {
    for (const each of readableMessages([message])) this._put(each);
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
