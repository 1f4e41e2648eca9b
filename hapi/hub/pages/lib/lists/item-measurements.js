// Where the items of a long list are: the heights that were measured, and an estimate of the others.

const FIRST_ESTIMATE = 90; // px; the height of an item while none has been measured
const ESTIMATE_GROWTH = 1.5; // of the number of measured heights between two estimates
const MIN_CHANGE = 0.1; // px; what differs less is the rounding of positions
const MIN_FORGETTING = 80; // heights of items that are gone, before they are forgotten

export class ItemMeasurements {
  constructor() {
    /** @type {readonly string[]} in the order of the items */
    this._keys = [];
    /** @type {Map<string, number>} px from the top of an item to the top of the next one */
    this._heights = new Map();
    this._measuredSum = 0;
    this._estimate = FIRST_ESTIMATE; // px; the height of an item that has not been measured
    this._estimatedFrom = 0; // measured heights
    /** @type {Float64Array} where each item begins, and where the last one ends */
    this.offsets = new Float64Array(1);
  }

  /** The list has these items now. @param {readonly string[]} keys */
  setKeys(keys) {
    this._keys = keys;
    if (this._heights.size > 2 * keys.length + MIN_FORGETTING) this._forget();
  }

  /** An item was measured. @param {string} key @param {number} height px @returns {boolean} whether that is news */
  setHeight(key, height) {
    const known = this._heights.get(key);
    if (known !== undefined && Math.abs(known - height) < MIN_CHANGE) return false;
    this._measuredSum += height - (known ?? 0);
    this._heights.set(key, height);
    return true;
  }

  /** Find the offsets anew. */
  locate() {
    this._renewEstimate();
    const offsets = new Float64Array(this._keys.length + 1);
    this._keys.forEach((key, place) => {
      offsets[place + 1] = offsets[place] + (this._heights.get(key) ?? this._estimate);
    });
    this.offsets = offsets;
  }

  /** The last place whose offset is not above `position`. @param {number} position px */
  placeAt(position) {
    const { offsets } = this;
    let low = 0;
    let high = offsets.length - 1;
    while (low < high) {
      const middle = Math.ceil((low + high) / 2);
      if (offsets[middle] <= position) low = middle;
      else high = middle - 1;
    }
    return low;
  }

  _forget() {
    const present = new Set(this._keys);
    for (const key of this._heights.keys()) if (!present.has(key)) this._heights.delete(key);
    this._measuredSum = [...this._heights.values()].reduce((sum, height) => sum + height, 0);
  }

  /**
   * The estimate is renewed when many more heights are known, and not with each of them: whenever it changes, so does the
   * room of what is not in the document, and the browser lays out the list once more.
   */
  _renewEstimate() {
    const count = this._heights.size;
    if (count < this._estimatedFrom) this._estimatedFrom = 0; // heights have been forgotten
    if (count === 0 || count < this._estimatedFrom * ESTIMATE_GROWTH) return;
    this._estimate = this._measuredSum / count;
    this._estimatedFrom = count;
  }
}
