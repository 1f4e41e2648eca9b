// Messages on their way to the hub. Each has a localId, so that sending one again never doubles it; they survive a reload.

import { ApiError, errorMessage, isTemporary } from "../lib/errors.js";

/**
 * @import { Api } from "./api.js"
 * @import { Attachment, OutgoingMessage } from "./types.js"
 */

const KEY = "hapi.outbox";
const SESSION_INACTIVE = "session_inactive"; // an error code of the hub
const CONNECT_PATIENCE = 60_000; // ms that a session may take to connect to a hub that has been restarted
const RETRY_DELAYS = [1000, 2000, 4000, 8000, 15_000]; // ms

export class Outbox {
  /**
   * @param {Pick<Api, "sendMessage">} api
   * @param {Storage} storage
   */
  constructor(api, storage) {
    this._api = api;
    this._storage = storage;
    this.onChange = () => {};
    /** Whether a session is known to have ended for good. @type {(sessionId: string) => boolean} */
    this.hasEnded = () => false;
    /** @type {Map<string, OutgoingMessage>} by localId */
    this._messages = new Map();
    /** @type {Set<string>} sessions with a request under way: messages keep their order */
    this._sending = new Set();
    for (const stored of storedMessages(storage)) {
      this._messages.set(stored.localId, {
        ...stored,
        attachments: Array.isArray(stored.attachments) ? stored.attachments : [],
        state: "waiting",
        error: null,
        code: null,
        attempts: 0,
        inactiveSince: null,
      });
    }
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
   * @param {{ held?: boolean, attachments?: Attachment[] }} options `held`: until the session is active
   */
  add(sessionId, text, { held = false, attachments = [] } = {}) {
    const localId = randomId();
    this._messages.set(localId, {
      localId,
      sessionId,
      text,
      attachments,
      createdAt: Date.now(),
      ...initialState(held),
    });
    this._changed();
    this._sendAll(sessionId);
    return localId;
  }

  /** @param {string} localId @param {{ held?: boolean }} options */
  retry(localId, { held = false } = {}) {
    const message = this._messages.get(localId);
    if (!message) return;
    Object.assign(message, initialState(held));
    this._changed();
    this._sendAll(message.sessionId);
  }

  /** Give up a message that the hub does not have; returns its text. @param {string} localId */
  discard(localId) {
    const message = this._messages.get(localId);
    this._messages.delete(localId);
    this._changed();
    return message?.text ?? "";
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

  /** @param {string} sessionId */
  async _sendAll(sessionId) {
    if (this._sending.has(sessionId)) return;
    this._sending.add(sessionId);
    try {
      for (;;) {
        const message = this.of(sessionId).find((candidate) => candidate.state === "waiting");
        if (!message || !(await this._send(message))) return;
      }
    } finally {
      this._sending.delete(sessionId);
    }
  }

  /** Whether the next message may follow. @param {OutgoingMessage} message */
  async _send(message) {
    message.state = "sending";
    this._changed();
    try {
      const { sessionId, text, localId, attachments } = message;
      await this._api.sendMessage(sessionId, text, localId, attachments);
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
    const kept = [...this._messages.values()].filter((message) => message.state !== "posted");
    const stored = kept.map(({ localId, sessionId, text, attachments, createdAt }) => ({
      localId,
      sessionId,
      text,
      attachments,
      createdAt,
    }));
    try {
      this._storage.setItem(KEY, JSON.stringify(stored));
    } catch {
      // The storage is full or forbidden: messages are still sent, they only don't survive a reload.
    }
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

/** @param {Storage} storage @returns {Pick<OutgoingMessage, "localId" | "sessionId" | "text" | "attachments" | "createdAt">[]} */
function storedMessages(storage) {
  try {
    /** @type {OutgoingMessage[]} */
    const stored = JSON.parse(storage.getItem(KEY) ?? "[]");
    return stored.filter(
      (message) => message.localId && message.sessionId && typeof message.text === "string",
    );
  } catch {
    return [];
  }
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
