// What a person can choose above the composer while they type: commands and skills after "/", files and sessions after "@".

import { fill, h, pathLabel } from "../../../lib/dom.js";
import { t } from "../../../lib/language.js";
import { completed, tokenAt } from "../../../data/composer/completions.js";

/** @import { Completion, Token } from "../../../data/composer/completions.js" */

const MAX_SHOWN = 30;
/** @type {Record<Completion["kind"], string>} */
const KINDS = { command: "", skill: "skill", prompt: "saved", file: "file", session: "session" };

/**
 * @typedef {object} CompletionMenuOptions
 * @property {HTMLTextAreaElement} box
 * @property {(token: Token, show: (items: Completion[], note?: string) => void) => void} find
 * calls `show` with what the token may become, more than once if some of it comes later; `note`: why there is not more
 * @property {(text: string) => void} write puts a text into the box
 */

export class CompletionMenu {
  /** @param {CompletionMenuOptions} options */
  constructor({ box, find, write }) {
    this._box = box;
    this._find = find;
    this._write = write;
    this._list = h("ul", {
      class: "completions",
      role: "listbox",
      id: "completions",
      "aria-label": t("Suggestions"),
    });
    this._note = h("p", { class: "completion-note muted", hidden: true });
    this.node = h("div", { class: "completion-menu", hidden: true }, this._list, this._note);
    /** @type {Completion[]} */
    this._shown = [];
    /** @type {Token | null} */
    this._token = null;
    /** @type {string | null} the token that the person does not want to complete */
    this._dismissed = null;
    this._selected = 0;
    box.setAttribute("aria-autocomplete", "list");
    box.setAttribute("aria-controls", "completions");
    box.addEventListener("blur", () => this._close());
  }

  /** Look at what stands before the caret. */
  update() {
    const { value, selectionStart, selectionEnd } = this._box;
    const next = selectionStart === selectionEnd ? tokenAt(value, selectionStart) : null;
    this._selected = 0;
    if (!next) this._dismissed = null;
    if (!next || this._dismissed === placeOf(next)) {
      if (!this.node.hidden) this._close();
      return;
    }
    this._token = next;
    this._find(next, (items, note = "") => {
      if (this._token === next) this._show(items, note); // else the person has typed on
    });
  }

  /** Whether the key was for the menu. @param {KeyboardEvent} event */
  handles(event) {
    if (this.node.hidden || event.isComposing) return false;
    if (event.key === "Escape") {
      this._dismissed = this._token && placeOf(this._token);
      this._close();
      return true;
    }
    const count = this._shown.length;
    if (count === 0 || event.shiftKey || event.ctrlKey || event.metaKey || event.altKey)
      return false;
    const takes = event.key === "Tab" || (event.key === "Enter" && !this._isWholeCommand());
    if (takes) this._take(this._selected);
    else if (event.key === "ArrowDown") this._selected = (this._selected + 1) % count;
    else if (event.key === "ArrowUp") this._selected = (this._selected + count - 1) % count;
    else return false;
    this._draw();
    return true;
  }

  /** Whether what stands in the box is a command already, which Enter sends. */
  _isWholeCommand() {
    return this._token?.mark === "/" && this._shown[this._selected]?.insert === this._box.value;
  }

  /** @param {Completion[]} items @param {string} note */
  _show(items, note) {
    const kept = this._selected > 0 ? this._shown[this._selected] : undefined;
    this._shown = items.slice(0, MAX_SHOWN);
    const at = this._shown.findIndex(({ kind, id }) => kind === kept?.kind && id === kept.id);
    this._selected = Math.max(0, at);
    fill(this._note, note);
    this._note.hidden = !note;
    this._draw();
  }

  _close() {
    this._shown = [];
    this._token = null;
    this._note.hidden = true;
    this._draw();
  }

  /** @param {number} index */
  _take(index) {
    const chosen = this._shown[index];
    if (!chosen || !this._token) return;
    const [text, caret] = completed(this._box.value, this._token, chosen);
    this._close();
    this._box.value = text;
    this._box.setSelectionRange(caret, caret);
    this._write(text);
    this._box.focus();
  }

  _draw() {
    fill(
      this._list,
      this._shown.map((item, index) => this._option(item, index)),
    );
    this._list.hidden = this._shown.length === 0;
    this.node.hidden = this._shown.length === 0 && this._note.hidden;
    const current = this._shown.length > 0 ? this._list.children[this._selected] : null;
    if (current) {
      this._box.setAttribute("aria-activedescendant", current.id);
      current.scrollIntoView({ block: "nearest" });
    } else this._box.removeAttribute("aria-activedescendant");
  }

  /** @param {Completion} item @param {number} index */
  _option({ kind, label, description, place, isAlike }, index) {
    return h(
      "li",
      {
        role: "option",
        id: `completion-${index}`,
        class: isAlike ? `${kind} alike` : kind,
        "aria-selected": String(index === this._selected),
        on: {
          pointerdown: (/** @type {Event} */ event) => event.preventDefault(), // the box keeps the focus
          click: () => this._take(index),
        },
      },
      h("span", { class: "completion-name" }, label),
      place
        ? pathLabel(description, place, "completion-about muted")
        : h("span", { class: "completion-about muted" }, description),
      KINDS[kind] && h("span", { class: "tag" }, KINDS[kind]),
    );
  }
}

/** What tells a token from one elsewhere in the text. @param {Token} token */
function placeOf({ mark, start }) {
  return mark + start;
}
