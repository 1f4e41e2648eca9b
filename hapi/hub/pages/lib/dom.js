// Creating and updating DOM nodes. Text becomes text nodes: nothing here can produce markup.

import { withBase } from "./base-path.js";
import { visible } from "./format.js";

/** @typedef {any} Child a node, a text, a (nested) list of them; null, undefined and false are left out */
/** @typedef {Record<string, any>} Props */

const SVG_NAMESPACE = "http://www.w3.org/2000/svg";
const ADDRESSES = new Set(["href", "src", "action"]);
const TEXTS = /^title|label$/;
const PROPERTIES = new Set([
  "value",
  "checked",
  "disabled",
  "selected",
  "hidden",
  "readOnly",
  "open",
  "indeterminate",
]);

/**
 * Create an element. `props` holds attributes, properties such as `value`, and `on` = {event: listener}.
 * A null or false attribute is left out. An address that begins with "/" begins at the page's root.
 * @template {keyof HTMLElementTagNameMap} Tag
 * @param {Tag} tag
 * @param {Props | null} [props]
 * @param {...Child} children
 * @returns {HTMLElementTagNameMap[Tag]}
 */
export function h(tag, props, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(props ?? {})) {
    if (name === "on") {
      for (const [event, listener] of Object.entries(value))
        node.addEventListener(event, /** @type {EventListener} */ (listener));
    } else if (PROPERTIES.has(name)) {
      /** @type {Record<string, any>} */ (node)[name] = value;
    } else if (value !== null && value !== undefined && value !== false) {
      const text = value === true ? "" : String(value);
      node.setAttribute(
        name,
        ADDRESSES.has(name) ? withBase(text) : TEXTS.test(name) ? visible(text) : text,
      );
    }
  }
  return append(node, ...children);
}

/**
 * Append strings, whose invisible characters become marks, nodes and (nested) lists of them.
 * @template {Node} Parent
 * @param {Parent} parent
 * @param {...Child} children
 * @returns {Parent}
 */
export function append(parent, ...children) {
  for (const child of children.flat(Infinity)) {
    if (child === null || child === undefined || child === false) continue;
    parent.appendChild(
      child instanceof Node ? child : document.createTextNode(visible(String(child))),
    );
  }
  return parent;
}

/**
 * Replace everything in `parent`.
 * @param {Element} parent
 * @param {...Child} children
 */
export function fill(parent, ...children) {
  keyedNodes.delete(parent);
  parent.replaceChildren();
  append(parent, ...children);
}

/**
 * A path, of which the end is shown where there is no room for all of it. The title is the whole path.
 * @param {string} shown
 * @param {string} [whole] the absolute path
 * @param {string} [look]
 */
export function pathLabel(shown, whole = shown, look = "") {
  return h("span", { class: `path-label ${look}`, title: whole }, h("bdi", null, shown));
}

/** @typedef {keyof typeof ICONS} IconName */
const ICONS = {
  plus: "M12 5v14M5 12h14",
  back: "M15 5l-7 7 7 7",
  close: "M6 6l12 12M18 6L6 18",
  send: "M12 19V5M5.5 11.5L12 5l6.5 6.5",
  stop: "M7 7h10v10H7z",
  more: "M5 12h.01M12 12h.01M19 12h.01",
  sliders: "M4 7h9M19 7h1M4 17h1M11 17h9M16 4.500v5M8 14.500v5",
  folder: "M3.500 7.500a2 2 0 012-2h4l2 2.500h7a2 2 0 012 2v7.500a2 2 0 01-2 2h-13a2 2 0 01-2-2z",
  up: "M12 19V6M6 11l6-6 6 6",
  down: "M12 5v13M6 13l6 6 6-6",
  check: "M5 12.500l4.500 4.500L19 7.500",
  cross: "M7 7l10 10M17 7L7 17",
  tool: "M5 17l6-5-6-5M13 18h7",
  edit: "M4 20h4L19 9l-4-4L4 16zM13 7l4 4",
  thought: "M12 4a6 6 0 00-3.500 10.900V17h7v-2.100A6 6 0 0012 4zM9.500 20h5",
  list: "M9 6h11M9 12h11M9 18h11M4.500 6h.01M4.500 12h.01M4.500 18h.01",
  shield: "M12 3.500l7 2.500v5.500c0 4.300-3 7.500-7 9-4-1.500-7-4.700-7-9V6z",
  wrap: "M4 6h16M4 12h12.500a3 3 0 010 6H13M15.500 15.500L13 18l2.500 2.500M4 18h4",
  numbers: "M10 6h10M10 12h10M10 18h10M3.800 4.600L5.500 4v5M3.800 14h2.400L3.800 18.500h2.400",
  copy: "M9 9h10v11H9zM15 9V4H5v11h4",
  download: "M12 4v11M7.500 11l4.500 4.500 4.500-4.500M5 20h14",
  clip: "M19.500 11l-8 8a4.800 4.800 0 01-6.800-6.800l8.500-8.500a3.200 3.200 0 014.500 4.500l-8.300 8.300a1.600 1.600 0 01-2.300-2.300l7.400-7.400",
  question:
    "M12 4a8 8 0 100 16 8 8 0 000-16zM9.600 9.800a2.400 2.400 0 114.100 1.700c-.9.9-1.700 1.300-1.700 2.300M12 16.500h.01",
  file: "M7 3h7l4 4v14H7zM14 3v4h4",
  refresh: "M19 12a7 7 0 11-2.100-5M19 4v4h-4",
  changes: "M12 5v8M8 9h8M8 18h8M5 3h14v18H5z",
  microphone:
    "M12 4a2.500 2.500 0 00-2.500 2.500v5a2.500 2.500 0 005 0v-5A2.500 2.500 0 0012 4zM6 11.500a6 6 0 0012 0M12 17.500V20",
  speaker: "M4 10v4h3l4.500 4V6L7 10zM15 9.500a4 4 0 010 5M17.500 7a7.500 7.500 0 010 10",
  fold: "M9 6l6 6-6 6",
  pin: "M9 4h6M10 4v6l-3 4h10l-3-4V4M12 14v6",
  clock: "M12 4a8 8 0 100 16 8 8 0 000-16zM12 8v4.500l3 2",
  filter: "M4 6h16M7 12h10M10 18h4",
  search: "M11 5a6 6 0 100 12 6 6 0 000-12zM20 20l-4.500-4.500",
};

/**
 * A line icon on a 24x24 grid. It is decorative: the control around it carries the name.
 * @param {IconName} name
 */
export function icon(name) {
  const svg = document.createElementNS(SVG_NAMESPACE, "svg");
  svg.setAttribute("viewBox", "0 0 24 24");
  svg.setAttribute("class", "icon");
  svg.setAttribute("aria-hidden", "true");
  const path = document.createElementNS(SVG_NAMESPACE, "path");
  path.setAttribute("d", ICONS[name]);
  svg.append(path);
  return svg;
}

/**
 * A button; `props` as in `h`, with `class` added to the class of every button.
 * @param {Child} content
 * @param {Props} props
 */
export function button(content, { class: extra = "", ...props }) {
  return h("button", { type: "button", ...props, class: `button ${extra}`.trim() }, content);
}

/**
 * A button that looks like a link.
 * @param {Child} content
 * @param {() => void} click
 * @param {Props} [props]
 */
export function linkButton(content, click, props = {}) {
  return h("button", { type: "button", class: "link", on: { click }, ...props }, content);
}

/**
 * A button with an icon and an accessible name.
 * @param {IconName} name
 * @param {string} label
 * @param {Props} [props]
 */
export function iconButton(name, label, props = {}) {
  const extra = `icon-button ${props.class ?? ""}`.trim();
  return h(
    "button",
    { type: "button", "aria-label": label, title: label, ...props, class: extra },
    icon(name),
  );
}

/**
 * A paragraph for an error message, hidden until there is one.
 * @param {Props} [props]
 */
export function problemLine(props = {}) {
  return h("p", { class: "problem", role: "alert", hidden: true, ...props });
}

const IME_KEY_CODE = 229; // UI Events, "keyCode": the input method handles this key

/**
 * Whether a key belongs to an input method. Safari ends the composition before it reports the Enter that ended it, so
 * `isComposing` is false then.
 * @param {KeyboardEvent} event
 */
export function endsComposition(event) {
  return event.isComposing || event.keyCode === IME_KEY_CODE;
}

/** @typedef {{ node: Element, version: unknown }} KeyedNode */
/** @type {WeakMap<Element, Map<string, KeyedNode>>} */
const keyedNodes = new WeakMap();

/**
 * Make `parent` hold one node per item, in order. The node of an item that stays is kept until the item's version changes.
 * @template Item
 * @param {Element} parent
 * @param {readonly Item[]} items
 * @param {(item: Item) => string} key identifies an item
 * @param {(item: Item) => unknown} version tells whether the node still shows the item
 * @param {(item: Item) => Element} draw creates the node of an item
 * @param {(node: Element, item: Item) => boolean} [update] makes a node show the changed item; false if it cannot
 */
export function keyed(parent, items, key, version, draw, update = () => false) {
  const kept = keyedNodes.get(parent) ?? new Map();
  if (kept.size === 0) parent.replaceChildren();
  const next = new Map();
  const staying = new Set(items.map(key));
  // Leaving nodes go first, so that no other node has to move.
  for (const [id, entry] of kept) if (!staying.has(id)) entry.node.remove();
  let place = parent.firstChild;
  for (const item of items) {
    const id = key(item);
    const entry = { node: kept.get(id)?.node, version: version(item) };
    const isChanged = kept.get(id)?.version !== entry.version;
    if (!entry.node || (isChanged && !update(entry.node, item))) {
      const node = draw(item);
      if (entry.node) {
        if (place === entry.node) place = node;
        replaceKeepingFocus(entry.node, node);
      }
      entry.node = node;
    }
    next.set(id, entry);
    if (place !== null && entry.node === place) place = place.nextSibling;
    else parent.insertBefore(entry.node, place);
  }
  keyedNodes.set(parent, next);
}

/**
 * The node that `keyed` made for a key.
 * @param {Element} parent
 * @param {string} key
 */
export function keyedNode(parent, key) {
  return keyedNodes.get(parent)?.get(key)?.node ?? null;
}

/**
 * Put `after` in the place of `before`. If the focus is inside of it, the control of the same name gets it.
 * @param {Element} before
 * @param {Element} after
 */
export function replaceKeepingFocus(before, after) {
  const focused = document.activeElement;
  const name = focused && before.contains(focused) ? focusName(focused) : null;
  before.replaceWith(after);
  if (name === null) return;
  const controls = [
    after,
    ...after.querySelectorAll("button, a, input, textarea, select, summary"),
  ];
  const same = controls.find((control) => focusName(control) === name);
  if (same instanceof HTMLElement) same.focus({ preventScroll: true });
}

/** @param {Element} element */
function focusName(element) {
  return (
    element.getAttribute("data-focus") ?? element.getAttribute("aria-label") ?? element.tagName
  );
}

/**
 * Let screen readers announce `text`.
 * @param {string} text
 */
export function announce(text) {
  const announcer = document.getElementById("announcer");
  if (!announcer) return;
  announcer.textContent = "";
  setTimeout(() => {
    announcer.textContent = visible(text);
  }, 50);
}

/** Whether the device has a mouse or the like, and so probably a keyboard. */
export function hasFinePointer() {
  return matchMedia("(pointer: fine)").matches;
}

/**
 * A click listener that follows a link inside the page; with a modifier key the browser follows it.
 * @param {(path: string) => void} go
 * @param {string} path
 * @returns {(event: MouseEvent) => void}
 */
export function followLink(go, path) {
  return (event) => {
    if (event.metaKey || event.ctrlKey || event.shiftKey || event.button > 0) return;
    event.preventDefault();
    go(path);
  };
}
