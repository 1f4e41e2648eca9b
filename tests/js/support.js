// What the unit tests share: loading the page's modules, a small DOM, storage, an API that answers as told.

import { join } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";

export const ROOT =
  process.env.HAPI_PAGE_ROOT ?? fileURLToPath(new URL("../../hapi/hub/pages/", import.meta.url));

/** A module of the page. */
export const load = (path) => import(pathToFileURL(join(ROOT, path)).href);

/** localStorage in memory. */
export class MemoryStorage {
  constructor(items = {}) {
    this.items = new Map(Object.entries(items));
  }

  getItem(key) {
    return this.items.get(key) ?? null;
  }

  setItem(key, value) {
    this.items.set(key, String(value));
  }

  removeItem(key) {
    this.items.delete(key);
  }

  get length() {
    return this.items.size;
  }

  key(index) {
    return [...this.items.keys()][index] ?? null;
  }
}

/** A promise with its two ends in the hands of the test. */
export function deferred() {
  const ends = {};
  ends.promise = new Promise((resolve, reject) => {
    Object.assign(ends, { resolve, reject });
  });
  return ends;
}

/** Let everything that is due run. */
export const settle = () =>
  new Promise((resolve) => {
    setImmediate(resolve);
  });

let lastSeq = 0;

/** A message of the hub. */
export function message(content, more = {}) {
  lastSeq += 1;
  return { id: `m${lastSeq}`, seq: lastSeq, createdAt: lastSeq * 1000, content, ...more };
}

export const record = (data, more) =>
  message({ role: "agent", content: { type: "codex", data } }, more);

export const prompt = (text, more) =>
  message({ role: "user", content: { type: "text", text } }, more);

/** A page of messages as the hub sends it. */
export const page = (messages, more = {}) => ({
  messages,
  page: { direction: "latest", hasMore: false, epoch: "e", ...more },
});

// --- DOM: as much of it as the page's pure drawing needs ---

class FakeNode {
  parentNode = null;
  childNodes = [];

  isEqualNode(other) {
    return this.outerHTML === other.outerHTML;
  }

  replaceChild(node, old) {
    old.replaceWith(node);
    return old;
  }

  get firstChild() {
    return this.childNodes[0] ?? null;
  }

  get lastElementChild() {
    return this.childNodes.findLast((child) => child instanceof FakeElement) ?? null;
  }

  get parentElement() {
    return this.parentNode;
  }

  get nextSibling() {
    const siblings = this.parentNode?.childNodes ?? [];
    return siblings[siblings.indexOf(this) + 1] ?? null;
  }

  get textContent() {
    return this.childNodes.map((child) => child.textContent).join("");
  }

  set textContent(text) {
    this.replaceChildren(...(text === "" ? [] : [new FakeText(text)]));
  }

  insertBefore(node, before) {
    node.remove();
    const at = before ? this.childNodes.indexOf(before) : this.childNodes.length;
    this.childNodes.splice(at, 0, node);
    Object.assign(node, { parentNode: this });
    return node;
  }

  appendChild(node) {
    return this.insertBefore(node, null);
  }

  append(...nodes) {
    for (const node of nodes) {
      this.appendChild(node instanceof FakeNode ? node : new FakeText(String(node)));
    }
  }

  replaceChildren(...nodes) {
    for (const child of [...this.childNodes]) child.remove();
    this.append(...nodes);
  }

  replaceWith(...nodes) {
    for (const node of nodes)
      this.parentNode?.insertBefore(node instanceof FakeNode ? node : new FakeText(node), this);
    this.remove();
  }

  remove() {
    const siblings = this.parentNode?.childNodes;
    siblings?.splice(siblings.indexOf(this), 1);
    this.parentNode = null;
  }

  contains(node) {
    return node === this || this.childNodes.some((child) => child.contains(node));
  }
}

class FakeText extends FakeNode {
  constructor(text) {
    super();
    this.data = text;
  }

  get textContent() {
    return this.data;
  }

  get outerHTML() {
    return this.data.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;");
  }
}

class FakeElement extends FakeNode {
  attributes = new Map();
  dataset = {};
  listeners = {};
  style = {};
  value = "";
  scrollTop = 0; // px
  clientHeight = 1_000_000; // px
  classes = new Set();
  classList = {
    add: (name) => this.classes.add(name),
    toggle: (name, on) => (on ? this.classes.add(name) : this.classes.delete(name)),
  };

  constructor(tag) {
    super();
    this.tagName = tag.toUpperCase();
  }

  /** Without its children, whatever is asked for. */
  cloneNode() {
    const node = new FakeElement(this.tagName);
    node.attributes = new Map(this.attributes);
    return node;
  }

  getBoundingClientRect() {
    return { top: 0, bottom: 20, height: 20 }; // px
  }

  getAttribute(name) {
    return this.attributes.get(name) ?? null;
  }

  setAttribute(name, value) {
    this.attributes.set(name, value);
  }

  removeAttribute(name) {
    this.attributes.delete(name);
  }

  matches(selector) {
    if (selector.startsWith("[")) return this.attributes.has(selector.slice(1, -1));
    return selector.startsWith(".")
      ? Boolean(this.getAttribute("class")?.split(" ").includes(selector.slice(1)))
      : this.tagName === selector.toUpperCase();
  }

  /** @param {string} selector a class, a tag, or an attribute in brackets */
  querySelectorAll(selector) {
    return this.childNodes
      .filter((node) => node instanceof FakeElement)
      .flatMap((node) => [
        ...(node.matches(selector) ? [node] : []),
        ...node.querySelectorAll(selector),
      ]);
  }

  querySelector(selector) {
    return this.querySelectorAll(selector)[0] ?? null;
  }

  addEventListener(type, listener) {
    this.listeners[type] = listener;
  }

  /** Tell the listeners of the element and of those that it is in. */
  dispatchEvent(event) {
    for (let node = this; node; node = node.parentNode) node.listeners?.[event.type]?.(event);
  }

  focus() {}

  get innerHTML() {
    return this.childNodes.map((child) => child.outerHTML).join("");
  }

  get outerHTML() {
    const tag = this.tagName.toLowerCase();
    const attributes = [...this.attributes].map(([name, value]) => ` ${name}="${value}"`).join("");
    return ["br", "hr", "input"].includes(tag)
      ? `<${tag}${attributes}>`
      : `<${tag}${attributes}>${this.innerHTML}</${tag}>`;
  }
}

/** Give the page's modules a document, until the process ends. */
export function installDom() {
  const document = {
    createElement: (tag) => new FakeElement(tag),
    createElementNS: (_, tag) => new FakeElement(tag),
    createTextNode: (text) => new FakeText(text),
    visibilityState: "hidden",
    activeElement: null,
    documentElement: new FakeElement("html"),
  };
  Object.assign(globalThis, {
    document,
    Node: FakeNode,
    Text: FakeText,
    Element: FakeElement,
    HTMLElement: FakeElement,
    ResizeObserver: class {
      observe() {}
    },
    getComputedStyle: () => ({ fontSize: "15px" }),
    localStorage: new MemoryStorage(),
    location: { pathname: "/", search: "", origin: "http://localhost" },
  });
  return document;
}
