// Messages on their way to the hub. Each has a localId, so sending again never doubles it; they survive a reload of the page.

import { ApiError, inWords } from "../lib/errors.js";
import { randomId } from "../lib/dom.js";

const KEY = "hapi.outbox";
const INACTIVE = "session_inactive"; // the hub's code
const DELAYS = [1000, 2000, 4000, 8000, 15000]; // ms

export class Outbox {
  constructor(api, storage) {
    Object.assign(this, { _api: api, _storage: storage });
    this.onChange = () => {};
    this._entries = new Map(); // localId -> {localId, sessionId, text, createdAt, state, error, attempts}
    this._busy = new Set(); // session ids with a request under way: messages keep their order
    for (const entry of restored(storage)) this._entries.set(entry.localId, { ...entry, state: "waiting", attempts: 0 });
  }

  /** The entries of a session; state: "sending", "waiting" (will be tried again), "held" (until the session is active), "posted" (the hub has it), "failed" (with `error`). */
  of(sessionId) {
    return [...this._entries.values()].filter((entry) => entry.sessionId === sessionId);
  }

  add(sessionId, text, { held = false } = {}) {
    const entry = { localId: randomId(), sessionId, text, createdAt: Date.now(), state: held ? "held" : "waiting", error: null, code: held ? INACTIVE : null, attempts: 0 };
    this._entries.set(entry.localId, entry);
    this._changed();
    this._pump(sessionId);
    return entry.localId;
  }

  retry(localId, { held = false } = {}) {
    const entry = this._entries.get(localId);
    if (!entry) return;
    Object.assign(entry, { state: held ? "held" : "waiting", error: null, code: held ? INACTIVE : null, attempts: 0 });
    this._changed();
    this._pump(entry.sessionId);
  }

  /** Give up on a message that the hub does not have; returns its text. */
  discard(localId) {
    const entry = this._entries.get(localId);
    this._entries.delete(localId);
    this._changed();
    return entry?.text ?? "";
  }

  /** The message turned up among those of the hub. */
  seen(localId) {
    if (this._entries.delete(localId)) this._changed();
  }

  /** After the messages of a session were read: what the hub took and no longer has was cancelled elsewhere. */
  forgetPosted(sessionId, isThere) {
    for (const entry of this.of(sessionId)) if (entry.state === "posted" || isThere(entry.localId)) this._entries.delete(entry.localId);
    this._changed();
  }

  /** A session goes on under another id. */
  moved(from, to) {
    for (const entry of this.of(from)) entry.sessionId = to;
    this._changed();
  }

  /** A session came to life: what it was too early for is tried again. */
  activated(sessionId) {
    for (const entry of this.of(sessionId)) if (entry.code === INACTIVE) Object.assign(entry, { state: "waiting", error: null, code: null });
    this._pump(sessionId);
  }

  /** The session can't be brought to life, as `error` says. */
  refused(sessionId, error) {
    for (const entry of this.of(sessionId)) if (entry.state === "held") Object.assign(entry, { state: "failed", error });
    this._changed();
  }

  /** The connection is back: try everything that waits. */
  wake() {
    for (const sessionId of new Set([...this._entries.values()].map((entry) => entry.sessionId))) this._pump(sessionId);
  }

  clear() {
    this._entries.clear();
    this._changed();
  }

  async _pump(sessionId) {
    if (this._busy.has(sessionId)) return;
    this._busy.add(sessionId);
    try {
      for (;;) {
        const entry = this.of(sessionId).find((candidate) => candidate.state === "waiting");
        if (!entry || !(await this._send(entry))) return;
      }
    } finally {
      this._busy.delete(sessionId);
    }
  }

  async _send(entry) {
    entry.state = "sending";
    this._changed();
    try {
      await this._api.send(entry.sessionId, entry.text, entry.localId);
      entry.state = "posted";
      return true;
    } catch (error) {
      entry.attempts += 1;
      if (error instanceof ApiError && error.status < 500 && error.status !== 429) {
        Object.assign(entry, { state: "failed", error: inWords(error), code: error.code });
        return true;
      }
      entry.state = "waiting";
      setTimeout(() => this._pump(entry.sessionId), DELAYS[Math.min(entry.attempts, DELAYS.length) - 1]);
      return false;
    } finally {
      this._changed();
    }
  }

  _changed() {
    const keep = [...this._entries.values()].filter((entry) => entry.state !== "posted");
    try {
      this._storage.setItem(KEY, JSON.stringify(keep.map(({ localId, sessionId, text, createdAt }) => ({ localId, sessionId, text, createdAt }))));
    } catch { /* storage full or forbidden: the page still sends, it only can't survive a reload */ }
    this.onChange();
  }
}

function restored(storage) {
  try {
    return JSON.parse(storage.getItem(KEY) ?? "[]").filter((entry) => entry.localId && entry.sessionId && typeof entry.text === "string");
  } catch {
    return [];
  }
}
