// Values that are kept by their keys; when they become too many, those go that have not been used for longest.

/** @template Value */
export class LruCache {
  /**
   * @param {number} capacity of all that is kept
   * @param {(key: string) => number} [sizeOf] what a value counts; each counts 1 without it
   * @param {(value: Value) => void} [dropped] called with a value that goes
   */
  constructor(capacity, sizeOf = () => 1, dropped = () => {}) {
    this._capacity = capacity;
    this._sizeOf = sizeOf;
    this._dropped = dropped;
    /** @type {Map<string, Value>} the ones used last come last */
    this._kept = new Map();
    this._size = 0;
  }

  /** @param {string} key @returns {Value | null} */
  get(key) {
    const value = this._kept.get(key);
    if (value === undefined) return null;
    this._kept.delete(key);
    this._kept.set(key, value);
    return value;
  }

  /** @param {string} key @param {Value} value */
  set(key, value) {
    if (!this._kept.has(key)) this._size += this._sizeOf(key);
    this._kept.set(key, value);
    for (const [oldest, kept] of this._kept) {
      if (this._size <= this._capacity) break;
      this._kept.delete(oldest);
      this._size -= this._sizeOf(oldest);
      this._dropped(kept);
    }
  }
}
