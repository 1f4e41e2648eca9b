// Messages that are being written: one per session, shared by the tabs of this device, kept until they are sent.

/** @import { Attachment } from "../types.js" */

const TEXT_KEY = "hapi.draft.";
const FILES_KEY = "hapi.draft-files.";
const PLACE_KEY = "hapi.draft-place.";
export const ANSWERS_KEY = "hapi.draft-answers"; // of answer-drafts.js

export class Drafts {
  /** @param {Storage} storage of the device */
  constructor(storage) {
    this._storage = storage;
    /** @type {Map<string, string>} what the storage did not take */
    this._unstored = new Map();
    /** @type {Set<(sessionId: string) => void>} */
    this._watchers = new Set();
  }

  /** @param {string} sessionId */
  get(sessionId) {
    return this._item(TEXT_KEY + sessionId);
  }

  /** @param {string} sessionId @param {string} text */
  set(sessionId, text) {
    this._put(TEXT_KEY + sessionId, text);
  }

  /** The files that were uploaded for the message. @param {string} sessionId @returns {Attachment[]} */
  files(sessionId) {
    try {
      const stored = JSON.parse(this._item(FILES_KEY + sessionId) || "[]");
      return stored.filter(isAttachment);
    } catch {
      return []; // another program's, or cut off: as if there were none
    }
  }

  /** @param {string} sessionId @param {Attachment[]} files */
  setFiles(sessionId, files) {
    this._put(FILES_KEY + sessionId, files.length > 0 ? JSON.stringify(files) : "");
  }

  /**
   * The ids of the messages that are ahead of the draft in the queue of the agent: it is one that was taken out of the
   * queue to be edited. Null if it is a new message.
   * @param {string} sessionId
   * @returns {string[] | null}
   */
  place(sessionId) {
    try {
      const stored = JSON.parse(this._item(PLACE_KEY + sessionId) || "null");
      return Array.isArray(stored) ? stored.map(String) : null;
    } catch {
      return null; // another program's, or cut off
    }
  }

  /** @param {string} sessionId @param {string[] | null} ahead */
  setPlace(sessionId, ahead) {
    this._put(PLACE_KEY + sessionId, ahead === null ? "" : JSON.stringify(ahead));
  }

  /** A session goes on under another id, or is gone (`to` null). @param {string} from @param {string | null} to */
  move(from, to) {
    if (to !== null) {
      this.set(to, this.get(from));
      this.setFiles(to, this.files(from));
    }
    this.set(from, "");
    this.setFiles(from, []);
    this.setPlace(from, null); // the queue of the other one is its own
  }

  /** Forget all drafts of the device. */
  clear() {
    const keys = Array.from({ length: this._storage.length }, (_, at) => this._storage.key(at));
    for (const key of keys)
      if (
        [TEXT_KEY, FILES_KEY, PLACE_KEY].some((each) => key?.startsWith(each)) ||
        key === ANSWERS_KEY
      )
        this._storage.removeItem(key ?? "");
  }

  /**
   * Call `watcher` with the session whose draft another tab has changed; returns a function that ends this.
   * @param {(sessionId: string) => void} watcher
   */
  watch(watcher) {
    this._watchers.add(watcher);
    return () => this._watchers.delete(watcher);
  }

  /** Another tab has changed the storage. @param {{ key: string | null }} event */
  onStorage({ key }) {
    const prefix = [TEXT_KEY, FILES_KEY].find((each) => key?.startsWith(each));
    if (!key || !prefix) return;
    for (const watcher of this._watchers) watcher(key.slice(prefix.length));
  }

  /** @param {string} key */
  _item(key) {
    return this._unstored.get(key) ?? this._storage.getItem(key) ?? "";
  }

  /** @param {string} key @param {string} value */
  _put(key, value) {
    this._unstored.delete(key);
    try {
      if (value) this._storage.setItem(key, value);
      else this._storage.removeItem(key);
    } catch {
      this._unstored.set(key, value); // the storage is full or forbidden: the draft lives as long as the tab
    }
  }
}

/**
 * What becomes of a draft when this tab writes to it: what another tab has written meanwhile, without this one having
 * shown it, is kept above.
 * @param {string} text that the person has written here; "" when it is sent or removed
 * @param {string} known the draft as this tab last showed it
 * @param {string} stored the draft now
 */
export function joinedDraft(text, known, stored) {
  const isCrossed = stored !== known && stored !== "" && !text.includes(stored);
  if (!isCrossed) return text;
  return text.trim() ? `${stored}\n${text}` : stored;
}

/** @param {any} entry @returns {entry is Attachment} */
function isAttachment(entry) {
  return [entry?.id, entry?.filename, entry?.path].every((field) => typeof field === "string");
}
