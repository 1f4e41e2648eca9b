// The messages of the sessions: read a page at a time, and kept current by events.

import { statusOf } from "../../lib/errors.js";
import { Transcript } from "../conversation/transcript.js";

/**
 * @import { Api } from "../hub/api.js"
 * @import { Outbox } from "./outbox.js"
 * @import { HubEvent, Message, MessagePage, PagePosition } from "../types.js"
 */

const FIRST_PAGE = 50; // messages
const CATCH_UP_PAGE = 200; // messages
const MAX_QUEUED_IDS = 1000; // in one request
const NOT_FOUND = 404; // of HTTP

/**
 * @typedef {object} ConversationOptions
 * @property {Api} api
 * @property {Outbox} outbox
 * @property {<Answer>(request: () => Promise<Answer>, apply: (answer: Answer) => void) => Promise<Answer>} read does a read, and applies its answer and what the hub told meanwhile
 * @property {() => void} changed announces a change
 * @property {(id: string) => boolean} isOpen whether the session is on screen
 */

export class Conversations {
  /** @param {ConversationOptions} options */
  constructor({ api, outbox, read, changed, isOpen }) {
    this._api = api;
    this._outbox = outbox;
    this._read = read;
    this._changed = changed;
    this._isOpen = isOpen;
    /** @type {Map<string, Transcript>} by session id */
    this._transcripts = new Map();
  }

  /** @param {string} id */
  transcript(id) {
    const known = this._transcripts.get(id);
    if (known) return known;
    const transcript = new Transcript();
    this._transcripts.set(id, transcript);
    return transcript;
  }

  /** What is known of all sessions that are not on screen may have changed. */
  distrustOthers() {
    for (const [id, transcript] of this._transcripts)
      if (!this._isOpen(id)) transcript.stale = true;
  }

  /** The session is gone. @param {string} id */
  forget(id) {
    this._transcripts.delete(id);
  }

  /** Bring the messages of a session up to date: the newest page at first, later what was missed. @param {string} id */
  async catchUp(id) {
    const transcript = this.transcript(id);
    while (!transcript.isBehind) {
      const position = transcript.catchUpPosition();
      const limit = position ? CATCH_UP_PAGE : FIRST_PAGE;
      const { messages, page } = await this._readBeside(id, limit, position ?? {}, (answer) =>
        transcript.addPage(answer),
      );
      this._confirmSent(messages);
      if (!position || !page.hasMore || page.reset) break;
    }
    const queued = transcript
      .queued()
      .map((message) => String(message.localId))
      .slice(0, MAX_QUEUED_IDS);
    if (queued.length > 0)
      await this._read(
        () => this._api.queuedStates(id, queued),
        (states) => transcript.settleQueued(states),
      );
    transcript.stale = false;
    this._outbox.forgetPosted(id, (localId) => transcript.hasLocalId(localId));
    this._changed();
  }

  /** Read the page before the oldest message that is known. @param {string} id @param {number} [limit] messages */
  async readOlder(id, limit = FIRST_PAGE) {
    const transcript = this.transcript(id);
    const position = transcript.olderPosition();
    if (!position || transcript.loadingOlder) return;
    transcript.loadingOlder = true;
    this._changed();
    try {
      await this._readBeside(id, limit, position, (answer) => transcript.addOlderPage(answer));
    } finally {
      transcript.loadingOlder = false;
      this._changed();
    }
  }

  /** Read the page after the newest message that is known, where there are newer ones. @param {string} id */
  async readNewer(id) {
    const transcript = this.transcript(id);
    const position = transcript.newerPosition();
    if (!position || transcript.loadingNewer) return;
    transcript.loadingNewer = true;
    this._changed();
    try {
      await this._readBeside(id, CATCH_UP_PAGE, position, (answer) =>
        transcript.addNewerPage(answer),
      );
    } finally {
      transcript.loadingNewer = false;
      this._changed();
    }
  }

  /**
   * Read a page that belongs beside what is known, unless the window has started over meanwhile.
   * @param {string} id
   * @param {number} limit
   * @param {PagePosition} position
   * @param {(answer: MessagePage) => void} add
   */
  _readBeside(id, limit, position, add) {
    const transcript = this.transcript(id);
    const { generation } = transcript;
    return this._read(
      () => this._api.messages(id, limit, position),
      (answer) => {
        if (transcript.generation === generation) add(answer);
      },
    );
  }

  /**
   * Go to a message far back: read what is around it, in place of what is known.
   * @param {string} id
   * @param {string} messageId
   * @returns {Promise<boolean>} whether the hub knows such a message, and such a request
   */
  async readAround(id, messageId) {
    const transcript = this.transcript(id);
    try {
      const { page } = await this._read(
        () => this._api.messages(id, CATCH_UP_PAGE, { around: messageId }),
        (answer) => {
          if (answer.page.direction === "around") transcript.addAroundPage(answer);
        },
      );
      return page.direction === "around";
    } catch (error) {
      if (statusOf(error) === NOT_FOUND) return false;
      throw error;
    }
  }

  /** Go to the end of a conversation of which a part far back is shown. @param {string} id */
  async readLatest(id) {
    const transcript = this.transcript(id);
    if (!transcript.hasNewer) return;
    transcript.forgetPosition();
    await this.catchUp(id);
  }

  /** Apply an event to the messages of a session. @param {string} id @param {HubEvent} event */
  apply(id, event) {
    const transcript = this._transcripts.get(id);
    switch (event.type) {
      case "message-received":
        this._confirmSent([event.message]);
        transcript?.upsert(event.message);
        break;
      case "messages-consumed":
        for (const localId of event.localIds) this._outbox.confirm(localId);
        transcript?.markConsumed(event.localIds, event.invokedAt);
        break;
      case "message-cancelled":
        if (event.localId) this._outbox.confirm(event.localId);
        transcript?.remove(event.messageId, event.localId);
        break;
      case "messages-indeterminate":
        transcript?.markDelivery(event.localIds, "indeterminate");
        break;
      case "messages-requeued":
        transcript?.markDelivery(event.localIds, undefined);
        break;
      case "messages-invalidated":
        if (transcript) this._invalidate(id, transcript);
        break;
      default: // events of other kinds change nothing here
    }
  }

  /** @param {string} id @param {Transcript} transcript */
  _invalidate(id, transcript) {
    transcript.stale = true;
    transcript.forgetPosition();
    if (this._isOpen(id)) this.catchUp(id).catch(() => {}); // else, and after a failure, when it is opened
  }

  /** @param {Message[]} messages */
  _confirmSent(messages) {
    for (const message of messages) if (message.localId) this._outbox.confirm(message.localId);
  }
}
