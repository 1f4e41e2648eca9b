// Finding a text in the open conversation, and the outline of what the person asked in it. Loaded when it is first opened.

import { button, endsComposition, fill, h, iconButton } from "../../lib/dom.js";
import { dateAndTime, isoTime } from "../../lib/format.js";
import { plural, t } from "../../lib/language.js";
import { findIn } from "../../data/conversation/find.js";

/** @import { Found } from "../../data/conversation/find.js" */
/** @import { Block } from "../../data/types.js" */

const HIGHLIGHT = "found"; // the name in the style sheet
const MAX_RANGES = 500; // highlighted places of one block
const MAX_LISTED = 200; // results in the list; more are reached by "Next"

/**
 * @typedef {object} FindOptions
 * @property {() => Block[]} blocks of the conversation, as far as they have been read
 * @property {(key: string) => Element | null} show brings a block on screen
 * @property {() => boolean} hasOlder
 * @property {() => Promise<unknown>} loadOlder
 * @property {() => void} closed
 */

export class FindBar {
  /** @param {FindOptions} options */
  constructor(options) {
    this._options = options;
    /** @type {Found[]} */
    this._found = [];
    this._current = -1;
    this._query = "";
    this._isReading = false;
    this._input = h("input", {
      type: "search",
      placeholder: t("Find"),
      "aria-label": t("Find in this conversation"),
      "aria-controls": "found-list",
      enterkeyhint: "search",
      autocomplete: "off",
      on: {
        input: () => this._search(),
        focus: () => this._showList(true),
        keydown: (/** @type {KeyboardEvent} */ event) => this._onKey(event),
      },
    });
    this._count = h("span", { class: "find-count", role: "status" });
    this._list = h("ol", { class: "find-list", id: "found-list", "aria-label": t("Found") });
    this.node = h(
      "search",
      { class: "find" },
      h(
        "div",
        { class: "find-bar" },
        this._input,
        this._count,
        iconButton("up", t("Previous"), { on: { click: () => this._step(-1) } }),
        iconButton("down", t("Next"), { on: { click: () => this._step(1) } }),
        iconButton("close", t("Close the search"), { on: { click: () => this.close() } }),
      ),
      this._list,
    );
  }

  open() {
    this._search();
    this._input.focus();
    this._input.select();
  }

  close() {
    this._isReading = false;
    clearHighlight();
    this.node.remove();
    this._options.closed();
  }

  _search() {
    this._query = this._input.value;
    this._found = findIn(this._options.blocks(), this._query);
    this._current = -1;
    clearHighlight();
    this._draw();
    this._showList(true);
  }

  /** @param {boolean} isShown */
  _showList(isShown) {
    this._list.hidden = !isShown;
  }

  /** @param {KeyboardEvent} event */
  _onKey(event) {
    if (endsComposition(event)) return;
    const steps = { ArrowDown: 1, ArrowUp: -1, Enter: event.shiftKey ? -1 : 1 };
    if (event.key === "Escape") this.close();
    else if (event.key in steps) this._step(steps[/** @type {keyof typeof steps} */ (event.key)]);
    else return;
    event.preventDefault();
  }

  /** Go to the next or the previous result; the first step goes to the newest one. @param {number} by */
  _step(by) {
    const { length } = this._found;
    if (length === 0) return;
    const next = this._current < 0 ? (by > 0 ? length - 1 : 0) : this._current + by;
    this._goTo((next + length) % length);
  }

  /** @param {number} index */
  _goTo(index) {
    this._current = index;
    this._showList(false);
    this._draw();
    const node = this._options.show(this._found[index].key);
    if (node) highlight(node, this._query.trim());
  }

  /** Read the whole conversation, and search it. */
  async _readAll() {
    const { hasOlder, loadOlder } = this._options;
    this._isReading = true;
    while (this._isReading && hasOlder()) {
      await loadOlder();
      this._search();
    }
    this._isReading = false;
    this._draw();
  }

  _draw() {
    const { length } = this._found;
    const isOutline = this._query.trim() === "";
    const counted = isOutline
      ? plural(length, "{count} prompt", "{count} prompts")
      : plural(length, "{count} place", "{count} places");
    this._count.textContent =
      this._current < 0
        ? counted
        : t("{place} of {count}", { place: this._current + 1, count: length });
    const first = Math.max(0, length - MAX_LISTED);
    fill(
      this._list,
      this._found
        .slice(first)
        .map((found, index) => this._row(found, first + index))
        .reverse(),
      length === 0 &&
        h("li", { class: "muted" }, isOutline ? t("No prompts yet.") : t("Nothing found.")),
      this._options.hasOlder() &&
        h(
          "li",
          null,
          this._isReading
            ? h("span", { class: "muted" }, t("Reading earlier messages…"))
            : button(t("Read and search all earlier messages"), {
                class: "find-all",
                on: { click: () => this._readAll() },
              }),
        ),
    );
  }

  /** @param {Found} found @param {number} index */
  _row({ at, label, excerpt: [before, hit, after] }, index) {
    return h(
      "li",
      null,
      h(
        "button",
        {
          type: "button",
          class: "found",
          "aria-current": index === this._current ? "true" : null,
          on: { click: () => this._goTo(index) },
        },
        h("span", { class: "found-text" }, before, hit && h("mark", null, hit), after),
        h(
          "span",
          { class: "muted" },
          label,
          " ",
          h("time", { datetime: isoTime(at) }, dateAndTime(at)),
        ),
      ),
    );
  }
}

/** Mark a text wherever a node shows it. @param {Element} node @param {string} text */
function highlight(node, text) {
  clearHighlight();
  if (!text || !("highlights" in CSS)) return;
  const wanted = text.toLowerCase();
  const walker = document.createTreeWalker(node, NodeFilter.SHOW_TEXT);
  const ranges = [];
  while (walker.nextNode() && ranges.length < MAX_RANGES) {
    const shown = walker.currentNode.nodeValue?.toLowerCase() ?? "";
    for (let place = shown.indexOf(wanted); place >= 0; place = shown.indexOf(wanted, place + 1)) {
      const range = new Range();
      range.setStart(walker.currentNode, place);
      range.setEnd(walker.currentNode, place + wanted.length);
      ranges.push(range);
    }
  }
  CSS.highlights.set(HIGHLIGHT, new Highlight(...ranges));
}

function clearHighlight() {
  if ("highlights" in CSS) CSS.highlights.delete(HIGHLIGHT);
}
