// Which heads of the list a person has opened or closed, kept on this device.

const FOLDS_KEY = "hapi.folds";
const MAX_FOLDS = 500; // remembered, the latest

export class Folds {
  /** @param {Storage} storage */
  constructor(storage) {
    this._storage = storage;
    /** @type {Map<string, boolean>} */
    this._open = new Map(restoredFolds(storage));
  }

  /** What the person chose: true is open. @param {string} key */
  get(key) {
    return this._open.get(key);
  }

  /** @param {string} key @param {boolean} isOpen */
  set(key, isOpen) {
    this._open.delete(key);
    this._open.set(key, isOpen);
    try {
      this._storage.setItem(FOLDS_KEY, JSON.stringify([...this._open].slice(-MAX_FOLDS)));
    } catch {
      // The storage is full: the choice holds until the page is reloaded.
    }
  }
}

/** @param {Storage} storage @returns {[string, boolean][]} */
function restoredFolds(storage) {
  try {
    const found = JSON.parse(storage.getItem(FOLDS_KEY) ?? "[]");
    return found.filter((/** @type {unknown} */ entry) => Array.isArray(entry));
  } catch {
    return [];
  }
}
