// Ctrl+F and the button for it open the search in this conversation, whose module is loaded for the first one.

/** @import { FindBar } from "./find.js" */

export class LazyFindBar {
  /**
   * @param {ConstructorParameters<typeof FindBar>[0]} options of the bar
   * @param {(bar: HTMLElement) => void} place puts the bar into the document
   */
  constructor(options, place) {
    this._options = options;
    this._place = place;
    /** @type {FindBar | null} */
    this._bar = null;
    this._listener = (/** @type {KeyboardEvent} */ event) => this._onKey(event);
  }

  start() {
    addEventListener("keydown", this._listener);
  }

  stop() {
    removeEventListener("keydown", this._listener);
  }

  /** Whether the bar is on screen. */
  get isOpen() {
    return Boolean(this._bar?.node.isConnected);
  }

  async open() {
    const { FindBar } = await import("./find.js");
    this._bar ??= new FindBar(this._options);
    this._place(this._bar.node);
    this._bar.open();
  }

  /** @param {KeyboardEvent} event */
  _onKey(event) {
    const isFind = (event.ctrlKey || event.metaKey) && event.key.toLowerCase() === "f";
    if (!isFind || event.shiftKey || event.altKey) return;
    if (document.querySelector("dialog[open]")) return;
    if (this._bar?.node.contains(document.activeElement)) return; // a second press is the browser's own
    event.preventDefault();
    this.open();
  }
}
