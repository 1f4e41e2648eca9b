// The diff of one file: unified or side by side, drawn a part at a time, with comments below its lines.

import { sideBySide } from "../../data/work/hunks.js";
import { placeOf } from "../../data/work/review.js";
import { append, button, fill, h } from "../../lib/dom.js";
import { colourRows, lineCells, lineText, SIGNS } from "../../lib/code/diff.js";
import { t } from "../../lib/language.js";
import { commentForm, keptComment } from "./comment.js";

/**
 * @import { Row } from "../../lib/code/diff-lines.js"
 * @import { FileDiff, Pair } from "../../data/work/hunks.js"
 * @import { Comment, Review } from "../../data/work/review.js"
 */

const ROWS_AT_ONCE = 1000; // rows drawn at first and with each "Show more"

/** @typedef {{ row: Row, node: HTMLElement }} Drawn */
/** @typedef {{ side: "old" | "new", first: number, last: number }} Range */

export class DiffView {
  /**
   * @param {object} options
   * @param {FileDiff} options.diff
   * @param {string} options.path
   * @param {boolean} options.split side by side
   * @param {Review | null} options.review where comments go; null: nobody can comment here
   */
  constructor({ diff, path, split, review }) {
    this._diff = diff;
    this._path = path;
    this._split = split;
    this._review = review;
    /** @type {Map<string, Drawn>} by side and number, e.g. "new 12" */
    this._drawn = new Map();
    /** @type {HTMLElement | null} */
    this._form = null;
    /** @type {Range | null} what the open form is about */
    this._range = null;
    /** @type {Comment | null} that the open form changes */
    this._edited = null;
    this._table = h("div", {
      class: split ? "diff split" : "diff",
      role: "group",
      "aria-label": t("Differences of {path}", { path }),
      on: { click: (/** @type {MouseEvent} */ event) => this._onClick(event) },
    });
    this._more = button(t("Show more"), {
      class: "diff-more",
      on: { click: () => this._drawMore() },
    });
    this.node = h("div", { class: "diff-box" }, this._table, this._more);
    /** @type {Map<Row, HTMLElement[]>} the texts of the rows that are drawn */
    this._texts = new Map();
    /** @type {Map<Row, (string | HTMLElement)[]>} */
    this._coloured = new Map();
    this._waiting = this._lines();
    this._drawMore();
    this._reopen();
    this._colour();
  }

  /** Colour the lines, as soon as their tokens are found. */
  _colour() {
    const rows = this._diff.hunks.flatMap((hunk) => hunk.rows);
    return colourRows(rows, this._path, (row, parts) => {
      this._coloured.set(row, parts);
      for (const node of this._texts.get(row) ?? []) fill(node, lineText(row, parts));
    });
  }

  /** @param {Row} row */
  _text(row) {
    const node = h("span", null, lineText(row, this._coloured.get(row)));
    this._texts.set(row, [...(this._texts.get(row) ?? []), node]);
    return node;
  }

  /** Everything to draw, in order: the head of a hunk, then its rows or pairs of rows. */
  *_lines() {
    for (const [index, hunk] of this._diff.hunks.entries()) {
      if (index > 0 || hunk.head) yield h("div", { class: "diff-hunk" }, hunk.head || "⋯");
      if (this._split) for (const pair of sideBySide(hunk.rows)) yield pair;
      else yield* hunk.rows;
    }
  }

  _drawMore() {
    const part = document.createDocumentFragment();
    let count = 0;
    while (count < ROWS_AT_ONCE) {
      const { value, done } = this._waiting.next();
      if (done) break;
      if (value instanceof HTMLElement) part.append(value);
      else if ("kind" in value) part.append(this._row(value));
      else part.append(this._pair(value));
      count += 1;
    }
    this._table.append(part);
    this._more.hidden = count < ROWS_AT_ONCE;
    this.drawComments();
  }

  /** @param {Row} row */
  _row(row) {
    const node = h(
      "div",
      { class: `diff-row ${row.kind}` },
      this._number(row, "old"),
      this._number(row, "new"),
      lineCells(row, this._text(row)),
    );
    if (row.old !== null) this._drawn.set(`old ${row.old}`, { row, node });
    if (row.new !== null) this._drawn.set(`new ${row.new}`, { row, node });
    return node;
  }

  /** @param {Pair} pair */
  _pair({ left, right }) {
    const node = h("div", { class: "diff-row pair" });
    for (const [row, side] of /** @type {[Row | null, "old" | "new"][]} */ ([
      [left, "old"],
      [right, "new"],
    ])) {
      const kind = row?.kind ?? "none";
      append(
        node,
        h(
          "div",
          { class: `diff-side ${kind}` },
          row ? [this._number(row, side), lineCells(row, this._text(row))] : null,
        ),
      );
      const line = row?.[side];
      if (row && line !== null && line !== undefined)
        this._drawn.set(`${side} ${line}`, { row, node });
    }
    return node;
  }

  /** The number of a line, which is also the button for a comment on it. @param {Row} row @param {"old" | "new"} side */
  _number(row, side) {
    const line = row[side];
    if (line === null) return h("span", { class: "diff-number" });
    const isOwn = side === "new" || row.kind === "minus"; // the number that a comment on the row is about
    if (!this._review || !isOwn) return h("span", { class: "diff-number" }, line);
    return h(
      "button",
      {
        type: "button",
        class: "diff-number",
        "data-side": side,
        "data-line": line,
        "aria-label":
          side === "old"
            ? t("Comment on line {line} before the change", { line })
            : t("Comment on line {line}", { line }),
      },
      line,
    );
  }

  /** @param {MouseEvent} event */
  _onClick(event) {
    const target = event.target instanceof Element ? event.target.closest("[data-line]") : null;
    if (!(target instanceof HTMLElement)) return;
    const side = target.dataset.side === "old" ? "old" : "new";
    const line = Number(target.dataset.line);
    const range = this._range;
    if (range && range.side === side && !this._edited) {
      range.first = Math.min(range.first, line);
      range.last = Math.max(range.last, line);
    } else {
      this._closeForm();
      this._range = { side, first: line, last: line };
    }
    this._openForm();
  }

  /** Open the form again with what was being written when the view was left or the page was reloaded. */
  _reopen() {
    const draft = this._review?.draft;
    if (draft?.path !== this._path) return;
    const { side, first, last, text, edited } = draft;
    if (!this._drawn.has(`${side} ${last}`)) return;
    this._range = { side, first, last };
    this._edited = this._review?.comments.find(({ id }) => id === edited) ?? null;
    this._openForm(text);
  }

  /** Show the form for a comment below the last line that it is about. @param {string | null} [kept] what was being written before */
  _openForm(kept = null) {
    const range = this._range;
    if (!range) return;
    const before = this._form?.querySelector("textarea")?.value;
    const typed = kept ?? before ?? this._edited?.text ?? "";
    this._form?.remove();
    const { node, field } = commentForm({
      place: placeOf({ path: this._path, ...range }),
      text: typed,
      isNew: !this._edited,
      changed: (text) => this._keepDraft(text),
      save: (text) => this._save(text),
      close: () => this._closeForm(),
    });
    this._form = node;
    const below = this._drawn.get(`${range.side} ${range.last}`)?.node;
    if (below) below.after(this._form);
    else this._table.append(this._form);
    this._mark();
    if (kept !== null) return;
    field.focus();
    node.scrollIntoView({ block: "nearest" }); // with the buttons below the field
  }

  /** @param {string} text of the open form */
  _keepDraft(text) {
    if (!this._range || !this._review) return;
    const edited = this._edited?.id ?? null;
    this._review.draft = text ? { path: this._path, ...this._range, text, edited } : null;
  }

  _closeForm() {
    if (this._form && this._review) this._review.draft = null;
    this._form?.remove();
    this._form = null;
    this._range = null;
    this._edited = null;
    this._mark();
  }

  /** Show which lines the open form is about. */
  _mark() {
    for (const marked of this._table.querySelectorAll(".chosen")) marked.classList.remove("chosen");
    const range = this._range;
    if (!range) return;
    for (let line = range.first; line <= range.last; line += 1)
      this._drawn.get(`${range.side} ${line}`)?.node.classList.add("chosen");
  }

  /** @param {string} text */
  _save(text) {
    const range = this._range;
    if (!range || !this._review || !text.trim()) return;
    this._review.put({
      id: this._edited?.id ?? crypto.randomUUID(),
      path: this._path,
      ...range,
      quote: this._quote(range),
      text: text.trim(),
    });
    this._closeForm();
    this.drawComments();
  }

  /** The lines of a range with what was removed between them. @param {Range} range */
  _quote({ side, first, last }) {
    const rows = this._diff.hunks.flatMap((hunk) => hunk.rows);
    const start = rows.findIndex((row) => row[side] === first);
    const end = rows.findIndex((row) => row[side] === last);
    if (start < 0 || end < start) return [];
    return rows.slice(start, end + 1).map((row) => SIGNS[row.kind] + row.text);
  }

  /** Break long lines, or let them be pushed sideways. @param {boolean} isWrapped */
  wrap(isWrapped) {
    this._table.classList.toggle("wraps", isWrapped);
  }

  /** Show the comments that are kept, below their lines. */
  drawComments() {
    for (const shown of this._table.querySelectorAll(".diff-comment")) shown.remove();
    for (const comment of this._review?.of(this._path) ?? []) {
      const below = this._drawn.get(`${comment.side} ${comment.last}`)?.node;
      below?.after(this._comment(comment));
    }
  }

  /** @param {Comment} comment */
  _comment(comment) {
    return keptComment(comment, {
      edit: () => {
        const { side, first, last } = comment;
        this._closeForm();
        this._edited = comment;
        this._range = { side, first, last };
        this._openForm();
      },
      remove: () => {
        this._review?.remove(comment.id);
        this.drawComments();
      },
    });
  }
}
