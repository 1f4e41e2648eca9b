// A long list of which only what is near the screen is in the document.

import { replaceKeepingFocus } from "../dom.js";
import { ItemMeasurements } from "./item-measurements.js";

const MAX_WHOLE = 80; // items; a list that is not longer is in the document as a whole
const MARGIN = 1200; // px above and below the screen that are in the document too
const MAX_KEPT_NODES = 60; // of items that keep their node
const MAX_SETTLING = 8; // rounds until the measured heights agree with where the list is shown

/**
 * @template Item
 * @typedef {object} ListOptions
 * @property {HTMLElement} scroller
 * @property {HTMLElement} content holds the nodes of the items, in `scroller`
 * @property {(item: Item) => string} key
 * @property {(item: Item) => unknown} version tells whether a node still shows the item
 * @property {(item: Item) => HTMLElement} draw
 * @property {(node: Element, item: Item) => boolean} update makes a node show the changed item; false if it cannot
 * @property {(item: Item) => boolean} keepsNode whether the node is kept when it is far from the screen, with what a person wrote in it
 * @property {() => boolean} isAtEnd whether the end is to stay on screen when the list grows
 */

/**
 * What is on screen stays where it is when items above it come, go or change their heights. Heights of items that have
 * not been in the document are estimated.
 * @template Item
 */
export class VirtualList {
  /** @param {ListOptions<Item>} options */
  constructor(options) {
    this._options = options;
    /** @type {readonly Item[]} */
    this._items = [];
    /** @type {Map<string, number>} the place of an item by its key */
    this._places = new Map();
    this._measurements = new ItemMeasurements();
    this._from = 0;
    this._to = 0;
    /** @type {Map<string, { node: HTMLElement, version: unknown }>} what is in the document */
    this._shown = new Map();
    /** @type {Map<string, { node: HTMLElement, version: unknown }>} what is kept outside of it */
    this._kept = new Map();
    /** @type {{ key: string, top: number } | null} the first item on screen, and where */
    this._anchor = null;
    this._isScheduled = false;
    this._resized =
      typeof ResizeObserver === "undefined" ? null : new ResizeObserver(() => this._onResize());
    this._resized?.observe(options.scroller);
    options.scroller.addEventListener("scroll", () => this._onScroll(), { passive: true });
  }

  /** Show `items`. @param {readonly Item[]} items */
  set(items) {
    this._items = items;
    this._places = new Map(items.map((item, place) => [this._options.key(item), place]));
    this._measurements.setKeys(items.map(this._options.key));
    this._render(this._options.isAtEnd());
  }

  /** Whether the list has an item of that key. @param {string} key */
  has(key) {
    return this._places.has(key);
  }

  /** The first item on screen, and how many px below the upper edge it begins. */
  get place() {
    return this._anchor;
  }

  /** The node of an item that is in the document. @param {string} key */
  node(key) {
    return this._shown.get(key)?.node ?? null;
  }

  /**
   * Bring an item on screen, `margin` px below the upper edge.
   * @param {string} key
   * @param {number} [margin]
   * @returns {HTMLElement | null} its node; null if the list has no such item
   */
  show(key, margin = 60) {
    const place = this._places.get(key);
    if (place === undefined) return null;
    const { scroller } = this._options;
    this._anchor = null;
    if (!this._shown.has(key)) {
      scroller.scrollTop = this._contentTop() + this._measurements.offsets[place] - margin;
      this._render(false);
    }
    for (let round = 0; round < MAX_SETTLING; round += 1) {
      const node = this._shown.get(key)?.node;
      if (!node) break;
      const off = node.getBoundingClientRect().top - scroller.getBoundingClientRect().top - margin;
      const before = scroller.scrollTop;
      scroller.scrollTop += off;
      if (Math.abs(scroller.scrollTop - before) < 1) break;
      this._anchor = null;
      this._render(false);
    }
    this._remember();
    return this._shown.get(key)?.node ?? null;
  }

  disconnect() {
    this._resized?.disconnect();
  }

  _onScroll() {
    this._remember();
    if (this._isScheduled) return;
    this._isScheduled = true;
    requestAnimationFrame(() => {
      this._isScheduled = false;
      const [from, to] = this._wanted(false, MARGIN / 2);
      if (from < this._from || to > this._to) this._render(false);
    });
  }

  _onResize() {
    const isAtEnd = this._options.isAtEnd();
    this._measure();
    this._pad();
    if (!isAtEnd) this._restore();
    const [from, to] = this._wanted(isAtEnd, MARGIN / 2);
    if (from < this._from || to > this._to) this._render(isAtEnd);
  }

  /** Whether the list has a place on the screen, so that it has heights. */
  get _isLaidOut() {
    return this._options.scroller.clientHeight > 0;
  }

  /** px from the top of what scrolls to the first item, as if all were in the document. */
  _contentTop() {
    const { scroller, content } = this._options;
    return (
      content.getBoundingClientRect().top -
      scroller.getBoundingClientRect().top +
      scroller.scrollTop
    );
  }

  /** Where the upper edge of the screen is among the items: what was on screen stays there. */
  _topOnScreen() {
    const place = this._anchor ? this._places.get(this._anchor.key) : undefined;
    if (place === undefined || !this._anchor)
      return this._options.scroller.scrollTop - this._contentTop();
    return this._measurements.offsets[place] - this._anchor.top;
  }

  /**
   * The places of the first item that belongs into the document and of the first one after it that does not.
   * @param {boolean} isAtEnd
   * @param {number} margin px
   * @returns {[from: number, to: number]}
   */
  _wanted(isAtEnd, margin) {
    const count = this._items.length;
    const { scroller } = this._options;
    if (count <= MAX_WHOLE) return [0, count];
    const height = scroller.clientHeight;
    const { offsets } = this._measurements;
    if (!this._isLaidOut) return [count - MAX_WHOLE, count];
    const top = isAtEnd ? offsets[count] - height : this._topOnScreen();
    return [
      Math.max(0, this._measurements.placeAt(top - margin)),
      Math.min(count, this._measurements.placeAt(top + height + margin) + 1),
    ];
  }

  /** @param {boolean} isAtEnd */
  _render(isAtEnd) {
    this._measurements.locate();
    let [from, to] = this._wanted(isAtEnd, MARGIN);
    if (isAtEnd) from = this._steadyStart(from, to);
    this._put(from, to);
    if (!this._isLaidOut) return;
    for (let round = 0; round < MAX_SETTLING; round += 1) {
      this._measure();
      this._pad();
      if (isAtEnd) this._options.scroller.scrollTop = this._options.scroller.scrollHeight;
      else this._restore();
      [from, to] = this._wanted(isAtEnd, MARGIN / 2);
      if (from >= this._from && to <= this._to) break;
      [from, to] = this._wanted(isAtEnd, MARGIN);
      this._put(from, to);
    }
    this._remember();
  }

  /**
   * Where the document begins while the list grows at its end: what is a little farther from the screen than it need be
   * stays, so that items go in groups and not one with each that comes.
   * @param {number} from @param {number} to
   */
  _steadyStart(from, to) {
    const shown = this._from;
    const isNear = shown < from && to - shown <= MAX_WHOLE;
    return isNear && this._measurements.offsets[from] - this._measurements.offsets[shown] < MARGIN
      ? shown
      : from;
  }

  /** Have the items from `from` on, up to `to`, in the document. @param {number} from @param {number} to */
  _put(from, to) {
    const { content, key } = this._options;
    this._from = from;
    this._to = to;
    const wanted = this._items.slice(from, to);
    const staying = new Set(wanted.map(key));
    for (const [id, entry] of this._shown) if (!staying.has(id)) this._take(id, entry);
    if (this._shown.size === 0) content.replaceChildren();
    let next = content.firstChild;
    for (const item of wanted) {
      const { node, replaced } = this._nodeOf(item);
      if (replaced && next === replaced) next = node;
      if (next !== null && node === next) next = next.nextSibling;
      else content.insertBefore(node, next);
    }
  }

  /** Take the node of an item out of the document. @param {string} id @param {{ node: HTMLElement, version: unknown }} entry */
  _take(id, entry) {
    this._shown.delete(id);
    this._resized?.unobserve(entry.node);
    entry.node.remove();
    const place = this._places.get(id);
    if (place === undefined || !this._options.keepsNode(this._items[place])) return;
    this._kept.set(id, entry);
    if (this._kept.size > MAX_KEPT_NODES) this._kept.delete([...this._kept.keys()][0]);
  }

  /** @param {Item} item */
  _nodeOf(item) {
    const { key, version, draw, update } = this._options;
    const id = key(item);
    const before = this._shown.get(id) ?? this._kept.get(id);
    this._kept.delete(id);
    const entry = { node: before?.node, version: version(item) };
    const isChanged = before?.version !== entry.version;
    let replaced = null;
    if (!entry.node || (isChanged && !update(entry.node, item))) {
      const node = draw(item);
      if (entry.node) {
        replaced = entry.node;
        this._resized?.unobserve(entry.node);
        replaceKeepingFocus(entry.node, node);
      }
      entry.node = node;
    }
    const { node } = entry;
    if (!this._shown.has(id) || replaced) this._resized?.observe(node);
    this._shown.set(id, { node, version: entry.version });
    return { node, replaced };
  }

  /** Learn the heights of what is in the document. */
  _measure() {
    if (!this._isLaidOut) return;
    const { content, key } = this._options;
    const nodes = this._items.slice(this._from, this._to).map((item) => {
      const id = key(item);
      return { id, rect: this._shown.get(id)?.node.getBoundingClientRect() };
    });
    if (nodes.length === 0) return;
    const style = getComputedStyle(content);
    const gap = parseFloat(style.rowGap) || 0;
    let isChanged = false;
    nodes.forEach(({ id, rect }, index) => {
      if (!rect) return;
      const next = nodes[index + 1]?.rect;
      const height = next ? next.top - rect.top : rect.height + gap;
      if (this._measurements.setHeight(id, height)) isChanged = true;
    });
    if (isChanged) this._measurements.locate();
  }

  /** Leave the room of what is not in the document. */
  _pad() {
    const { style } = this._options.content;
    const end = this._measurements.offsets[this._items.length];
    const top = `${this._measurements.offsets[this._from]}px`;
    const bottom = `${end - this._measurements.offsets[this._to]}px`;
    if (style.paddingTop !== top) style.paddingTop = top;
    if (style.paddingBottom !== bottom) style.paddingBottom = bottom;
  }

  /** Remember what is on screen, and where. */
  _remember() {
    const edge = this._options.scroller.getBoundingClientRect().top;
    this._anchor = null;
    for (let place = this._from; place < this._to; place += 1) {
      const key = this._options.key(this._items[place]);
      const rect = this._shown.get(key)?.node.getBoundingClientRect();
      if (!rect || rect.bottom <= edge) continue;
      this._anchor = { key, top: rect.top - edge };
      return;
    }
  }

  /** Scroll so that what was on screen is where it was. */
  _restore() {
    const { scroller } = this._options;
    const node = this._anchor && this._shown.get(this._anchor.key)?.node;
    if (!node || !this._anchor) return;
    const edge = scroller.getBoundingClientRect().top;
    const moved = node.getBoundingClientRect().top - edge - this._anchor.top;
    if (Math.abs(moved) >= 1) scroller.scrollTop += moved;
  }
}
