// What the storage of the device keeps of messages on their way, for all tabs.

/** @import { OutgoingMessage } from "../types.js" */

const PREFIX = "hapi.outbox."; // each message has an item of its own, so that no tab writes over another's
const FORMER_KEY = "hapi.outbox"; // of builds that kept one list

/**
 * @typedef {object} StoredMessage
 * @property {Pick<OutgoingMessage, "localId" | "sessionId" | "text" | "attachments" | "createdAt" | "scheduledAt" | "replaces" | "takesBack">} message
 * @property {boolean} posted whether the hub has it
 * @property {boolean} held whether it waits until its session is active
 */

export class OutboxStorage {
  /** @param {Storage} storage */
  constructor(storage) {
    this._storage = storage;
    /** @type {Map<string, string>} what the storage has of each message, by localId */
    this._stored = new Map();
  }

  /** The messages that wait, the oldest first. What the hub has is forgotten. @returns {StoredMessage[]} */
  read() {
    const storage = this._storage;
    const keys = Array.from({ length: storage.length }, (_, at) => storage.key(at) ?? "");
    const found = keys
      .filter((key) => key.startsWith(PREFIX))
      .flatMap((key) => {
        const text = storage.getItem(key) ?? "";
        const stored = storedMessage(text);
        if (!stored || stored.posted) {
          storage.removeItem(key);
          return [];
        }
        this._stored.set(stored.message.localId, text);
        return [stored];
      });
    const former = formerMessages(storage.getItem(FORMER_KEY) ?? "[]");
    storage.removeItem(FORMER_KEY);
    return [...former, ...found].sort(
      (one, other) => one.message.createdAt - other.message.createdAt,
    );
  }

  /**
   * Keep what has changed. A message that the hub has is marked as such until it has been confirmed.
   * @param {Map<string, OutgoingMessage>} messages
   */
  save(messages) {
    for (const localId of this._stored.keys()) {
      if (messages.has(localId)) continue;
      this._storage.removeItem(PREFIX + localId);
      this._stored.delete(localId);
    }
    for (const message of messages.values()) {
      const text = serialized(message);
      if (this._stored.get(message.localId) === text) continue;
      try {
        this._storage.setItem(PREFIX + message.localId, text);
        this._stored.set(message.localId, text);
      } catch {
        // The storage is full or forbidden: messages are still sent, they only don't survive a reload.
      }
    }
  }

  /**
   * What another tab has done to a message: `stored` is null if it has removed it. Null if it was something else.
   * @param {{ key: string | null, newValue: string | null }} event
   */
  changeOf({ key, newValue }) {
    if (!key?.startsWith(PREFIX)) return null;
    const localId = key.slice(PREFIX.length);
    if (newValue === null) this._stored.delete(localId);
    else this._stored.set(localId, newValue);
    return { localId, stored: newValue === null ? null : storedMessage(newValue) };
  }

  /** What has become of a message, which another tab may have sent or given up. @param {string} localId @returns {"waiting" | "posted" | "gone"} */
  stateOf(localId) {
    if (!this._stored.has(localId)) return "waiting"; // the storage did not take it: no other tab knows of it
    const stored = storedMessage(this._storage.getItem(PREFIX + localId) ?? "");
    if (stored) return stored.posted ? "posted" : "waiting";
    this._stored.delete(localId);
    return "gone";
  }
}

/** @param {OutgoingMessage} message */
function serialized(message) {
  const {
    localId,
    sessionId,
    text,
    attachments,
    createdAt,
    scheduledAt,
    replaces,
    takesBack,
    state,
  } = message;
  return JSON.stringify({
    ...{ localId, sessionId, text, attachments, createdAt, scheduledAt, replaces },
    ...(takesBack && { takesBack }),
    ...(state === "posted" && { posted: true }),
    ...(state === "held" && { held: true }),
  });
}

/** @param {string} text */
function formerMessages(text) {
  try {
    const listed = JSON.parse(text);
    return [listed].flat().flatMap((entry) => storedMessage(JSON.stringify(entry)) ?? []);
  } catch {
    return []; // cut off: as if there were none
  }
}

/** A message of the storage; null if it is none. @param {string} text @returns {StoredMessage | null} */
function storedMessage(text) {
  try {
    const { localId, sessionId, text: written, ...rest } = JSON.parse(text);
    if (!localId || !sessionId || typeof written !== "string") return null;
    const message = {
      ...{ localId, sessionId, text: written },
      attachments: Array.isArray(rest.attachments) ? rest.attachments : [],
      createdAt: Number(rest.createdAt) || 0,
      scheduledAt: rest.scheduledAt ?? null,
      replaces: rest.replaces ?? null,
      takesBack: rest.takesBack === true,
    };
    return { message, posted: rest.posted === true, held: rest.held === true };
  } catch {
    return null;
  }
}
