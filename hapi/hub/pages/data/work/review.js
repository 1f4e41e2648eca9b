// Comments on lines of a diff: kept for each session on this device until they are sent as one prompt.

import { t } from "../../lib/language.js";
import { isObject } from "../json.js";

/** @import { Json } from "../types.js" */

/**
 * @typedef {object} Comment
 * @property {string} id
 * @property {string} path
 * @property {"old" | "new"} side whose numbers `first` and `last` are
 * @property {number} first line
 * @property {number} last line
 * @property {string[]} quote the lines, each with its sign
 * @property {string} text
 */

/** @typedef {Omit<Comment, "id" | "quote"> & { edited: string | null }} DraftComment `edited`: the id of the comment that is being changed */

const MAX_QUOTED_LINES = 12;
const MAX_QUOTED_LENGTH = 300; // characters of one line
const keyOf = (/** @type {string} */ sessionId) => `hapi.review.${sessionId}`;

export class Review {
  /** @param {Storage} storage @param {string} sessionId */
  constructor(storage, sessionId) {
    this._storage = storage;
    this._key = keyOf(sessionId);
    this.onChange = () => {};
    this.comments = storedComments(storage.getItem(this._key));
  }

  /** Comments on one file. @param {string} path */
  of(path) {
    return this.comments.filter((comment) => comment.path === path);
  }

  /** Add a comment, or put it in the place of the one with its id. @param {Comment} comment */
  put(comment) {
    const at = this.comments.findIndex(({ id }) => id === comment.id);
    this.comments = at < 0 ? [...this.comments, comment] : this.comments.with(at, comment);
    this._save();
  }

  /** @param {string} id */
  remove(id) {
    this.comments = this.comments.filter((comment) => comment.id !== id);
    this._save();
  }

  /** The comment that is being written. @returns {DraftComment | null} */
  get draft() {
    try {
      const found = JSON.parse(this._storage.getItem(`${this._key}.draft`) ?? "null");
      return isObject(found) && isComment({ ...found, id: "", quote: [] })
        ? /** @type {DraftComment} */ (/** @type {unknown} */ (found))
        : null;
    } catch {
      return null;
    }
  }

  set draft(draft) {
    try {
      if (draft) this._storage.setItem(`${this._key}.draft`, JSON.stringify(draft));
      else this._storage.removeItem(`${this._key}.draft`);
    } catch {
      // The storage is full: what is being written lives as long as the form.
    }
  }

  clear() {
    this.comments = [];
    this._save();
  }

  _save() {
    try {
      if (this.comments.length > 0) this._storage.setItem(this._key, JSON.stringify(this.comments));
      else this._storage.removeItem(this._key);
    } catch {
      // The storage is full: the comments live as long as the page.
    }
    this.onChange();
  }
}

/** @param {string | null} stored @returns {Comment[]} */
function storedComments(stored) {
  try {
    const found = JSON.parse(stored ?? "[]");
    return Array.isArray(found) ? found.filter(isComment) : [];
  } catch {
    return [];
  }
}

/** @param {Json} value */
function isComment(value) {
  return (
    isObject(value) &&
    [value.id, value.path, value.text].every((field) => typeof field === "string") &&
    [value.first, value.last].every(Number.isInteger) &&
    Array.isArray(value.quote)
  );
}

/** "src/app.py:12-15" @param {Pick<Comment, "path" | "first" | "last" | "side">} comment */
export function placeOf({ path, first, last, side }) {
  const lines = first === last ? `${first}` : `${first}-${last}`;
  return side === "old"
    ? t("{place} (before the change)", { place: `${path}:${lines}` })
    : `${path}:${lines}`;
}

/**
 * The prompt that carries all comments.
 * @param {Comment[]} comments
 * @param {string} [introduction]
 */
export function promptOf(comments, introduction = "") {
  const head = introduction.trim() || t("Please address these comments on your changes.");
  return [head, ...comments.map(section)].join("\n\n");
}

/** @param {Comment} comment */
function section(comment) {
  const { quote, text } = comment;
  const shown = quote.slice(0, MAX_QUOTED_LINES).map((line) => line.slice(0, MAX_QUOTED_LENGTH));
  const fence = "`".repeat(Math.max(3, ...shown.map(longestFence)));
  const more = quote.length > shown.length ? ["…"] : [];
  return [placeOf(comment), `${fence}diff`, ...shown, ...more, fence, text.trim()].join("\n");
}

/** One more than the longest run of backticks in a line. @param {string} line */
function longestFence(line) {
  return Math.max(0, ...[...line.matchAll(/`+/g)].map(([run]) => run.length)) + 1;
}
