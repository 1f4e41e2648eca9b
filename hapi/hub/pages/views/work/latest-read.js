// What a view of a session's work shows is read first; a read that ends after a later one has begun is not shown.

import { fill } from "../../lib/dom.js";
import { failureNote } from "./frame.js";

/** @import { Child } from "../../lib/dom.js" */

export class LatestRead {
  /** @param {HTMLElement} body in which what was read is shown @param {() => void} retry what the button below a failure does */
  constructor(body, retry) {
    this._body = body;
    this._retry = retry;
    this._number = 0;
    this._hasEnded = false;
  }

  /** Show nothing any more: the view has been left. */
  end() {
    this._hasEnded = true;
  }

  get hasEnded() {
    return this._hasEnded;
  }

  /** A test of whether what is on screen now still is when it is called. @returns {() => boolean} */
  mark() {
    const number = this._number;
    return () => number === this._number && !this._hasEnded;
  }

  /**
   * Show what `read` gives below `head`, or why it failed, unless something else is to be shown by then.
   * @template Result
   * @param {() => Promise<Result>} read
   * @param {(result: Result) => Child} draw
   * @param {Child} [head]
   */
  async show(read, draw, head = null) {
    this._number += 1;
    const isCurrent = this.mark();
    try {
      const result = await read();
      if (isCurrent()) fill(this._body, head, draw(result));
    } catch (error) {
      if (isCurrent()) fill(this._body, head, failureNote(error, this._retry));
    }
  }
}
