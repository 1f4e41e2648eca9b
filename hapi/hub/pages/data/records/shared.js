// A conversation that was shared by a link: its messages, read page by page without any token.

import { problemOf, Unreachable } from "../../lib/errors.js";
import { withBase } from "../../lib/base-path.js";

/** @import { Message, SharedPage } from "../types.js" */

const REQUEST_TIMEOUT = 60_000; // ms

export class SharedConversation {
  /** @param {string} secret the last part of the link's address */
  constructor(secret) {
    this._path = withBase(`/api/share/${secret}`);
    /** @type {SharedPage | null} what is known of the conversation */
    this.about = null;
    /** @type {Message[]} */
    this.messages = [];
    /** @type {string | null} */
    this._cursor = null;
  }

  /** Whether there is more to read. */
  get hasMore() {
    return this.about === null || this._cursor !== null;
  }

  /** Read the next page. Throws ApiError or Unreachable. */
  async readMore() {
    const query = this._cursor === null ? "" : `?${new URLSearchParams({ cursor: this._cursor })}`;
    const response = await fetch(this._path + query, {
      credentials: "omit",
      referrerPolicy: "no-referrer",
      signal: AbortSignal.timeout(REQUEST_TIMEOUT),
    }).catch(() => {
      throw new Unreachable();
    });
    if (!response.ok) throw await problemOf(response);
    /** @type {SharedPage} */
    const page = await response.json();
    this.about = page;
    this._cursor = page.cursor;
    this.messages = [...this.messages, ...page.messages];
  }
}
