// Which sessions have news: per session, the last change that was on screen, kept on this device.

const SEEN_KEY = "hapi.seen";
const MAX_SESSIONS = 500; // remembered

/**
 * @typedef {object} Saved
 * @property {number} since what changed before counts as read (ms)
 * @property {[id: string, time: number][]} times
 * @property {string[]} marked sessions that the person marked as unread
 */

export class SeenSessions {
  /** @param {Storage} storage @param {number} [now] ms */
  constructor(storage, now = Date.now()) {
    this._storage = storage;
    const saved = restoredMarks(storage);
    this._since = saved?.since ?? now; // on a new device nothing old counts as unread
    /** @type {Map<string, number>} */
    this._times = new Map(saved?.times ?? []);
    /** @type {Set<string>} */
    this._marked = new Set(saved?.marked ?? []);
  }

  /** Whether a session has changed since it was on screen. @param {string} id @param {number} updatedAt */
  isUnread(id, updatedAt) {
    return updatedAt > (this._times.get(id) ?? this._since);
  }

  /** Whether the person marked a session as unread. @param {string} id */
  isMarked(id) {
    return this._marked.has(id);
  }

  /** A session is on screen, as it was at `updatedAt`. @param {string} id @param {number} updatedAt */
  mark(id, updatedAt) {
    const wasMarked = this._marked.delete(id);
    const isKnown = (this._times.get(id) ?? 0) >= updatedAt;
    if (!isKnown) {
      this._times.delete(id);
      this._times.set(id, updatedAt);
      this._forgetOldest();
    }
    if (wasMarked || !isKnown) this._save();
  }

  /** @param {string} id */
  markUnread(id) {
    this._marked.add(id);
    this._save();
  }

  /** What is forgotten must not become unread again, so everything as old counts as read. */
  _forgetOldest() {
    for (const [id, time] of this._times) {
      if (this._times.size <= MAX_SESSIONS) return;
      this._times.delete(id);
      this._since = Math.max(this._since, time);
    }
  }

  _save() {
    /** @type {Saved} */
    const saved = {
      since: this._since,
      times: [...this._times],
      marked: [...this._marked].slice(-MAX_SESSIONS),
    };
    try {
      this._storage.setItem(SEEN_KEY, JSON.stringify(saved));
    } catch {
      // The storage is full: the marks hold until the page is reloaded.
    }
  }
}

/** @param {Storage} storage @returns {Saved | null} */
function restoredMarks(storage) {
  try {
    const found = JSON.parse(storage.getItem(SEEN_KEY) ?? "null");
    // Earlier versions kept a list of times alone.
    if (Array.isArray(found))
      return found.length > 0 ? { since: latest(found), times: found, marked: [] } : null;
    const isWhole = Array.isArray(found?.times) && Array.isArray(found.marked);
    return isWhole && Number.isFinite(found.since) ? found : null;
  } catch {
    return null;
  }
}

/** @param {[string, number][]} times */
function latest(times) {
  return Math.max(...times.map(([, time]) => Number(time) || 0));
}
