// Messages on their way to the hub. Each has a localId, so that sending one again never doubles it; they survive a reload.

import { ApiError, errorMessage, isTemporary } from "../../lib/errors.js";
import { t } from "../../lib/language.js";
import { keptName } from "../../lib/storage.js";
import { OutboxStorage } from "./outbox-storage.js";

/**
 * @import { Api } from "../hub/api.js"
 * @import { StoredMessage } from "./outbox-storage.js"
 * @import { Attachment, OutgoingMessage } from "../types.js"
 */

/**
 * @typedef {object} OutgoingOptions
 * @property {boolean} [held] until the session is active
 * @property {Attachment[]} [attachments]
 * @property {number | null} [scheduledAt] when the agent shall get it, in ms since the epoch
 * @property {string | null} [replaces] the localId of a message that waits at the hub and is taken back before
 */

const SESSION_INACTIVE = "session_inactive"; // an error code of the hub
const CONNECT_PATIENCE = 60_000; // ms that a session may take to connect to a hub that has been restarted
const RETRY_DELAYS = [1000, 2000, 4000, 8000, 15_000]; // ms
const TAKEOVER_DELAY = 5000; // ms that the tab in which a message was written has to send it

/**
 * The messages of all tabs of this device. Whoever sends those of a session holds its lock; where the browser has none,
 * two tabs may send the same message, which the hub keeps once.
 */
export class Outbox {
  /**
   * @param {Pick<Api, "sendMessage" | "cancelMessage">} api
   * @param {Storage} storage
   * @param {Pick<LockManager, "request"> | null} locks null on pages that came over plain HTTP
   */
  constructor(api, storage, locks = null) {
    this._api = api;
    this._storage = new OutboxStorage(storage);
    this._locks = locks;
    this.onChange = () => {};
    /** Whether a session is known to have ended for good. @type {(sessionId: string) => boolean} */
    this.hasEnded = () => false;
    /** @type {Map<string, OutgoingMessage>} by localId */
    this._messages = new Map();
    /** @type {Set<string>} sessions with a request under way: messages keep their order */
    this._sending = new Set();
    for (const stored of this._storage.read()) this._adopt(stored, "waiting");
    this._storage.save(this._messages);
  }

  get isEmpty() {
    return this._messages.size === 0;
  }

  /** Why the hub does not take messages although it answers; null when it takes them. */
  get refusal() {
    const refused = [...this._messages.values()].find(isRefused);
    return refused?.error ?? null;
  }

  /**
   * The messages of a session. States: "sending", "waiting" (for the next attempt), "held" (until the session is active),
   * "posted" (the hub has it), "failed" (see `error`).
   * @param {string} sessionId
   */
  of(sessionId) {
    return [...this._messages.values()].filter((message) => message.sessionId === sessionId);
  }

  /**
   * @param {string} sessionId
   * @param {string} text
   * @param {OutgoingOptions} options
   */
  add(sessionId, text, { held = false, ...more } = {}) {
    const message = this._new(sessionId, text, more, held);
    this._changed();
    this._sendAll(sessionId);
    return message.localId;
  }

  /**
   * Send messages that wait at the hub once more, so that they are the last ones, in this order.
   * @param {string} sessionId
   * @param {{ localId: string, text: string, attachments: Attachment[] }[]} queued
   */
  sendAgain(sessionId, queued) {
    for (const { localId, text, attachments } of queued)
      this._new(sessionId, text, { attachments, replaces: localId }, false);
    this._changed();
    this._sendAll(sessionId);
  }

  /**
   * @param {string} sessionId
   * @param {string} text
   * @param {OutgoingOptions} options
   * @param {boolean} held
   */
  _new(sessionId, text, { attachments = [], scheduledAt = null, replaces = null }, held) {
    /** @type {OutgoingMessage} */
    const message = {
      ...{ localId: randomId(), sessionId, text, attachments, scheduledAt, replaces },
      createdAt: Date.now(),
      ...initialState(held),
    };
    this._messages.set(message.localId, message);
    return message;
  }

  /** @param {string} localId @param {{ held?: boolean }} options */
  retry(localId, { held = false } = {}) {
    const message = this._messages.get(localId);
    if (!message) return;
    Object.assign(message, initialState(held));
    this._changed();
    this._sendAll(message.sessionId);
  }

  /**
   * Give up a message that the hub does not have. Returns its text, null if another tab is sending it or has sent it.
   * @param {string} localId
   */
  async discard(localId) {
    const message = this._messages.get(localId);
    if (!message) return null;
    return this._exclusively(
      message.sessionId,
      () => {
        if (!this._isStillWaiting(message)) return null;
        this._messages.delete(localId);
        this._changed();
        return message.text;
      },
      { ifAvailable: true },
    );
  }

  /** The message is among those that the hub returned. @param {string} localId */
  confirm(localId) {
    if (this._messages.delete(localId)) this._changed();
  }

  /**
   * The messages of a session have been read: what the hub took and no longer has was cancelled elsewhere.
   * @param {string} sessionId
   * @param {(localId: string) => boolean} isAtHub
   */
  forgetPosted(sessionId, isAtHub) {
    for (const message of this.of(sessionId)) {
      if (message.state === "posted" || isAtHub(message.localId))
        this._messages.delete(message.localId);
    }
    this._changed();
  }

  /** A session goes on under another id. @param {string} from @param {string} to */
  moveSession(from, to) {
    for (const message of this.of(from)) message.sessionId = to;
    this._changed();
  }

  /** A session has become active: send what was too early for it. @param {string} sessionId */
  releaseHeld(sessionId) {
    for (const message of this.of(sessionId)) {
      if (message.code === SESSION_INACTIVE) Object.assign(message, initialState(false));
    }
    this._sendAll(sessionId);
  }

  /** The session can't be resumed. @param {string} sessionId @param {string} error */
  failHeld(sessionId, error) {
    for (const message of this.of(sessionId))
      if (message.state === "held") Object.assign(message, { state: "failed", error });
    this._changed();
  }

  /** Send everything that waits, without waiting for its time. */
  retryAll() {
    for (const sessionId of new Set(
      [...this._messages.values()].map((message) => message.sessionId),
    ))
      this._sendAll(sessionId);
  }

  clear() {
    this._messages.clear();
    this._changed();
  }

  /** Another tab has changed the storage. @param {{ key: string | null, newValue: string | null }} event */
  onStorage(event) {
    const change = this._storage.changeOf(event);
    if (!change) return;
    const { localId, stored } = change;
    const message = this._messages.get(localId);
    if (message?.state === "sending") return; // what comes of it is known when the hub has answered
    if (!stored) this._messages.delete(localId);
    else if (stored.posted && message) Object.assign(message, { state: "posted", error: null });
    else if (!stored.posted && message) message.sessionId = stored.message.sessionId;
    else if (!stored.posted) {
      const adopted = this._adopt(stored, stored.held ? "held" : "waiting");
      setTimeout(() => this._sendAll(adopted.sessionId), TAKEOVER_DELAY);
    }
    this.onChange();
  }

  /** @param {StoredMessage} stored @param {"waiting" | "held"} state */
  _adopt(stored, state) {
    /** @type {OutgoingMessage} */
    const message = { ...stored.message, ...initialState(state === "held") };
    this._messages.set(message.localId, message);
    return message;
  }

  /** @param {string} sessionId */
  async _sendAll(sessionId) {
    if (this._sending.has(sessionId)) return;
    if (!this.of(sessionId).some(({ state }) => state === "waiting")) return;
    this._sending.add(sessionId);
    try {
      await this._exclusively(sessionId, () => this._sendWaiting(sessionId));
    } finally {
      this._sending.delete(sessionId);
    }
  }

  /** @param {string} sessionId */
  async _sendWaiting(sessionId) {
    for (;;) {
      const message = this.of(sessionId).find((candidate) => candidate.state === "waiting");
      if (!message) return;
      if (!this._isStillWaiting(message)) this._changed();
      else if (!(await this._send(message))) return;
    }
  }

  /** Whether no other tab has sent the message or given it up; it is marked if one has. @param {OutgoingMessage} message */
  _isStillWaiting(message) {
    const state = this._storage.stateOf(message.localId);
    if (state === "posted") message.state = "posted";
    else if (state === "gone") this._messages.delete(message.localId);
    return state === "waiting";
  }

  /**
   * Run `run` while no other tab sends messages of the session.
   * @template Result
   * @param {string} sessionId
   * @param {() => Result | Promise<Result>} run
   * @param {{ ifAvailable?: boolean }} options `ifAvailable`: null instead, if one does
   * @returns {Promise<Result | null>}
   */
  async _exclusively(sessionId, run, { ifAvailable = false } = {}) {
    if (!this._locks) return run();
    return this._locks.request(
      keptName(`hapi.outbox.${sessionId}`),
      { ifAvailable },
      async (lock) => (lock === null ? null : run()),
    );
  }

  /** Whether the next message may follow. @param {OutgoingMessage} message */
  async _send(message) {
    message.state = "sending";
    this._changed();
    try {
      if (message.replaces && !(await this._takeBack(message))) return true;
      const { sessionId, text, localId, attachments, scheduledAt } = message;
      await this._api.sendMessage(sessionId, text, localId, { attachments, scheduledAt });
      Object.assign(message, { state: "posted", error: null, code: null });
      return true;
    } catch (error) {
      message.attempts += 1;
      if (error instanceof ApiError) {
        Object.assign(message, { error: errorMessage(error), code: error.code });
        if (!this._mayPassLater(message, error)) {
          message.state = "failed";
          return true;
        }
      } else Object.assign(message, { error: null, code: null });
      message.state = "waiting";
      const delay = RETRY_DELAYS[Math.min(message.attempts, RETRY_DELAYS.length) - 1];
      setTimeout(() => this._sendAll(message.sessionId), delay);
      return false;
    } finally {
      this._changed();
    }
  }

  /** Whether the hub no longer has the message that this one is sent instead of. @param {OutgoingMessage} message */
  async _takeBack(message) {
    const { sessionId, replaces, localId, takesBack } = message;
    message.takesBack = true;
    this._changed(); // whoever sends it after a reload knows that the hub may have answered
    const { status, localId: removed } = await this._api.cancelMessage(sessionId, replaces ?? "");
    if (status === "cancelled" && removed === null && !takesBack) {
      this._messages.delete(localId); // another tab has changed the message: what that sends is the later one
      return false;
    }
    if (status === "cancelled") message.replaces = null;
    else if (status === "invoked")
      this._messages.delete(localId); // the agent has it already
    else
      Object.assign(message, {
        state: "failed",
        error: t("It is not known yet whether the agent has received this message."),
      });
    return status === "cancelled";
  }

  /**
   * Whether a refusal may be over soon: the hub's own failures, its limits, and a session that has not yet connected to a hub
   * that was restarted.
   * @param {OutgoingMessage} message
   * @param {ApiError} error
   */
  _mayPassLater(message, error) {
    if (error.code !== SESSION_INACTIVE) return isTemporary(error);
    message.inactiveSince ??= Date.now();
    const isPatient = Date.now() - message.inactiveSince < CONNECT_PATIENCE;
    return isPatient && !this.hasEnded(message.sessionId);
  }

  _changed() {
    this._storage.save(this._messages);
    this.onChange();
  }
}

/** Whether the hub itself does not take the message at present. @param {OutgoingMessage} message */
function isRefused({ state, error, code }) {
  return (
    (state === "waiting" || state === "sending") && Boolean(error) && code !== SESSION_INACTIVE
  );
}

/** @param {boolean} held @returns {Pick<OutgoingMessage, "state" | "error" | "code" | "attempts" | "inactiveSince">} */
function initialState(held) {
  return {
    state: held ? "held" : "waiting",
    error: null,
    code: held ? SESSION_INACTIVE : null,
    attempts: 0,
    inactiveSince: null,
  };
}

/** A random UUID, also on pages that came over plain HTTP, where crypto.randomUUID is missing. */
export function randomId() {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  bytes[6] = (bytes[6] & 0x0f) | 0x40;
  bytes[8] = (bytes[8] & 0x3f) | 0x80;
  const hex = [...bytes].map((byte) => byte.toString(16).padStart(2, "0")).join("");
  return [
    hex.slice(0, 8),
    hex.slice(8, 12),
    hex.slice(12, 16),
    hex.slice(16, 20),
    hex.slice(20),
  ].join("-");
}
