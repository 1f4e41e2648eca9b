// Which sessions have news: per session, the last change that was on screen, kept on this device.

const KEY = "hapi.seen";
const MAX_SESSIONS = 500; // remembered

export class SeenSessions {
  /** @param {Storage} storage */
  constructor(storage) {
    this._storage = storage;
    /** @type {Map<string, number>} */
    this._times = new Map(restored(storage));
    this._since = this._times.size > 0 ? 0 : Date.now(); // on a new device nothing old counts as unread
  }

  /** @param {string} id @param {number} updatedAt */
  isUnread(id, updatedAt) {
    return updatedAt > (this._times.get(id) ?? this._since);
  }

  /** @param {string} id @param {number} updatedAt */
  mark(id, updatedAt) {
    if ((this._times.get(id) ?? 0) >= updatedAt) return;
    this._times.delete(id);
    this._times.set(id, updatedAt);
    try {
      this._storage.setItem(KEY, JSON.stringify([...this._times].slice(-MAX_SESSIONS)));
    } catch {
      // The storage is full: the marks hold until the page is reloaded.
    }
  }
}

/** @param {Storage} storage */
function restored(storage) {
  try {
    return JSON.parse(storage.getItem(KEY) ?? "[]");
  } catch {
    return [];
  }
}
