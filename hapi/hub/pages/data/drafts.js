// Messages that are being written: one per session, kept as long as the tab.

/** @param {string} sessionId */
const keyOf = (sessionId) => `hapi.draft.${sessionId}`;

export class Drafts {
  /** @param {Storage} storage */
  constructor(storage) {
    this._storage = storage;
  }

  /** @param {string} sessionId */
  get(sessionId) {
    return this._storage.getItem(keyOf(sessionId)) ?? "";
  }

  /** @param {string} sessionId @param {string} text */
  set(sessionId, text) {
    if (text) this._storage.setItem(keyOf(sessionId), text);
    else this._storage.removeItem(keyOf(sessionId));
  }
}
