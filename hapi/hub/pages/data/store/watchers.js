// Those who want to be called after a change.

import { attempt } from "../../lib/errors.js";

export class Watchers {
  /** @param {string} problem what is logged of a watcher that fails; the others are called nevertheless */
  constructor(problem) {
    this._problem = problem;
    /** @type {Set<() => void>} */
    this._watchers = new Set();
  }

  /** Call `watcher` from now on; returns a function that ends this. @param {() => void} watcher */
  add(watcher) {
    this._watchers.add(watcher);
    return () => this._watchers.delete(watcher);
  }

  notify() {
    for (const watcher of this._watchers) attempt(this._problem, watcher);
  }
}
