// A long list of rows of known heights, of which only those in sight are in the document.

import { h, keyed } from "../dom.js";

const MARGIN = 400; // px above and below the visible part, in which rows are ready

/**
 * The first and the last (exclusive) of the rows between two heights. `tops` has the top of each row, and the height of all
 * of them at its end.
 * @param {ArrayLike<number>} tops
 * @param {number} from
 * @param {number} to
 * @returns {[first: number, end: number]}
 */
export function rowsBetween(tops, from, to) {
  const first = Math.max(0, firstAbove(tops, from) - 1);
  return [first, Math.max(first, Math.min(tops.length - 1, firstAbove(tops, to)))];
}

/** The number of the first row whose top is below `height`. @param {ArrayLike<number>} tops @param {number} height */
function firstAbove(tops, height) {
  let low = 0;
  let high = tops.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (tops[middle] > height) high = middle;
    else low = middle + 1;
  }
  return low;
}

/**
 * @template Item
 * @param {object} options
 * @param {HTMLElement} options.scroller what scrolls; the list is its first child
 * @param {(item: Item) => string} options.key
 * @param {(item: Item) => number} options.height in px; every row of the item has exactly this height
 * @param {(item: Item) => unknown} options.version tells whether a row still shows its item
 * @param {(item: Item) => HTMLElement} options.draw creates a row
 * @param {(first: number) => void} [options.drawn] called with the number of the first row when rows were drawn
 */
export function rowList({ scroller, key, height, version, draw, drawn = () => {} }) {
  const node = h("ul", { class: "virtual-list", role: "list" });
  /** @type {readonly Item[]} */
  let items = [];
  let tops = new Float64Array(1);
  /** @type {Map<string, number>} the numbers of the items by their keys */
  let numbers = new Map();
  let range = [0, 0];

  /** @param {readonly Item[]} next */
  function show(next) {
    const anchor = anchorOf();
    items = next;
    tops = new Float64Array(next.length + 1);
    numbers = new Map();
    next.forEach((item, index) => {
      tops[index + 1] = tops[index] + height(item);
      numbers.set(key(item), index);
    });
    node.style.height = `${tops[next.length]}px`;
    const number = anchor === null ? undefined : numbers.get(anchor.key);
    if (anchor !== null && number !== undefined) {
      const wanted = tops[number] + anchor.offset;
      if (Math.abs(wanted - scroller.scrollTop) >= 1) scroller.scrollTop = wanted;
    }
    drawWindow(true);
  }

  /** The row at the upper edge, which stays where it is when the list changes; none at the very top. */
  function anchorOf() {
    const { scrollTop } = scroller;
    if (scrollTop < 1 || items.length === 0) return null;
    const [first] = rowsBetween(tops, scrollTop, scrollTop);
    const item = items[first];
    return item === undefined ? null : { key: key(item), offset: scrollTop - tops[first] };
  }

  /** @param {boolean} isChanged whether the rows may show something else than before */
  function drawWindow(isChanged) {
    const { scrollTop, clientHeight } = scroller;
    const next = rowsBetween(tops, scrollTop - MARGIN, scrollTop + clientHeight + MARGIN);
    if (!isChanged && next[0] === range[0] && next[1] === range[1]) return;
    range = next;
    node.style.paddingTop = `${tops[next[0]]}px`;
    keyed(node, items.slice(next[0], next[1]), key, version, draw);
    drawn(next[0]);
  }

  /** Bring a row into sight. @param {number} number */
  function reveal(number) {
    const top = tops[number];
    const bottom = tops[number + 1];
    if (top < scroller.scrollTop) scroller.scrollTop = top;
    else if (bottom > scroller.scrollTop + scroller.clientHeight)
      scroller.scrollTop = bottom - scroller.clientHeight;
    drawWindow(false);
  }

  scroller.addEventListener("scroll", () => drawWindow(false), { passive: true });
  new ResizeObserver(() => drawWindow(false)).observe(scroller);

  return {
    node,
    show,
    reveal,
    /** @returns {readonly Item[]} */
    items: () => items,
    /** The number of the item with a key, -1 if there is none. @param {string} wanted */
    numberOf: (wanted) => numbers.get(wanted) ?? -1,
  };
}
