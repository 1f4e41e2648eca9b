// The messages of one session, as far as they have been read: a window that grows at both ends.

export class Transcript {
  constructor() {
    this.messages = new Map(); // id -> message object of the hub
    this.revision = 0; // moves with every change
    this.ready = false; // the first page has arrived
    this.hasOlder = false;
    this.loadingOlder = false;
    this.stale = false; // something may have been missed
    this._epoch = null;
    this._older = null; // position of the oldest page read
    this._live = new Map(); // id of a reasoning stream -> id of the row that holds its newest snapshot
  }

  /** Where to read on after what is known; null: the newest page. */
  catchUpPosition() {
    if (!this.ready || this._epoch === null) return null;
    const newest = this.ordered().findLast((message) => !isQueued(message));
    if (!newest) return null;
    return { afterSeq: newest.seq, afterAt: at(newest), epoch: this._epoch };
  }

  olderPosition() {
    return this.hasOlder ? this._older : null;
  }

  /** The next read starts over with the newest page. */
  forgetPosition() {
    this._epoch = null;
  }

  take({ messages, page }) {
    if (page.direction === "latest" || page.reset) {
      this.messages.clear();
      this._live.clear();
      this.hasOlder = page.hasMore;
      this._older = older(page);
    }
    this._epoch = page.epoch;
    this.ready = true;
    for (const message of messages) this._put(message);
    this.revision += 1;
  }

  takeOlder({ messages, page }) {
    this.hasOlder = page.hasMore;
    this._older = older(page);
    for (const message of messages) if (!this.messages.has(message.id)) this._put(message);
    this.revision += 1;
  }

  upsert(message) {
    this._put(message);
    this.revision += 1;
  }

  _put(message) {
    const known = this.messages.get(message.id);
    this.messages.set(message.id, known?.invokedAt && !message.invokedAt ? { ...message, invokedAt: known.invokedAt } : message);
    const data = message.content?.content?.data;
    if (data?.type !== "reasoning" || !data.id) return;
    const before = this._live.get(data.id);
    if (before && before !== message.id) {
      // The hub has dropped the older snapshot too. The text stays where its first snapshot stood.
      const first = this.messages.get(before);
      if (first?.content.content.data.live) {
        this.messages.delete(before);
        this.messages.set(message.id, { ...message, createdAt: first.createdAt, invokedAt: first.invokedAt, standsAt: first.standsAt ?? first.seq });
      }
    }
    this._live.set(data.id, message.id);
  }

  consumed(localIds, invokedAt) {
    for (const message of this._withLocal(localIds)) {
      this.messages.set(message.id, { ...message, invokedAt: message.invokedAt ?? invokedAt, deliveryState: undefined });
    }
    this.revision += 1;
  }

  mark(localIds, deliveryState) {
    for (const message of this._withLocal(localIds)) this.messages.set(message.id, { ...message, deliveryState });
    this.revision += 1;
  }

  remove(messageId, localId) {
    this.messages.delete(messageId);
    for (const message of this._withLocal(localId ? [localId] : [])) this.messages.delete(message.id);
    this.revision += 1;
  }

  /** What became of the messages that wait for the agent, as the hub tells it; those it does not know are gone. */
  settle({ queuedLocalIds, indeterminateLocalIds, invokedLocalMessages }) {
    const invoked = new Map(invokedLocalMessages.map(({ localId, invokedAt }) => [localId, invokedAt]));
    for (const message of this.queued()) {
      const { localId } = message;
      if (invoked.has(localId)) this.consumed([localId], invoked.get(localId));
      else if (indeterminateLocalIds.includes(localId)) this.mark([localId], "indeterminate");
      else if (queuedLocalIds.includes(localId)) this.mark([localId], undefined);
      else this.remove(message.id, localId);
    }
  }

  queued() {
    return [...this.messages.values()].filter(isQueued);
  }

  hasLocal(localId) {
    return this._withLocal([localId]).length > 0;
  }

  _withLocal(localIds) {
    return [...this.messages.values()].filter((message) => message.localId && localIds.includes(message.localId));
  }

  /** All messages, oldest first, those still waiting for the agent last. */
  ordered() {
    return [...this.messages.values()].sort(
      (one, other) => isQueued(one) - isQueued(other) || at(one) - at(other) || (one.standsAt ?? one.seq) - (other.standsAt ?? other.seq),
    );
  }
}

/** A message of a person that the agent has not been given yet. */
export function isQueued(message) {
  return Boolean(message.localId) && !message.invokedAt;
}

function at(message) {
  return message.invokedAt ?? message.createdAt;
}

function older(page) {
  return page.nextBeforeSeq === null || page.nextBeforeSeq === undefined ? null : { beforeSeq: page.nextBeforeSeq, beforeAt: page.nextBeforeAt };
}
