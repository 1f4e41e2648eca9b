// Colours of code. The tokens are found in a worker: whatever the code is, the page stays responsive, and a worker that
// takes too long is ended.

import { h } from "./dom.js";
import { languageNamed } from "./languages.js";
import { stylesheet } from "./stylesheet.js";

/**
 * @typedef {object} Tokens what is coloured in a text, in order and without overlaps
 * @property {string[]} kinds as highlight.js names them: keyword, string, comment, …
 * @property {Uint32Array} ranges three numbers for each token: its start and its end in the text, and its place in `kinds`
 */

const TIME_LIMIT = 1500; // ms for one text
const LOAD_LIMIT = 20_000; // ms until the grammar has come
const IDLE_LIMIT = 60_000; // ms; then the worker is ended to free its memory
const MAX_CODE = 300_000; // characters; longer texts stay plain
const MAX_TOKENS = 40_000; // of one text; one with more stays plain
const MAX_KEPT = 1_000_000; // characters of code whose tokens are kept

/** @typedef {{ code: string, language: string, resolve: (tokens: Tokens | null) => void }} Task */

class Highlighter {
  constructor() {
    /** @type {Task[]} */
    this._waiting = [];
    /** @type {Task | null} */
    this._current = null;
    /** @type {Worker | null} */
    this._worker = null;
    /** @type {ReturnType<typeof setTimeout> | undefined} */
    this._timer = undefined;
    this._lastId = 0;
    /** @type {Map<string, Tokens>} the ones used last come last */
    this._kept = new Map();
    this._keptSize = 0;
  }

  /** @param {string} code @param {string} language */
  known(code, language) {
    const key = `${language} ${code}`;
    const tokens = this._kept.get(key);
    if (tokens) {
      this._kept.delete(key);
      this._kept.set(key, tokens);
    }
    return tokens ?? null;
  }

  /** @param {string} code @param {string} language @returns {Promise<Tokens | null>} */
  tokens(code, language) {
    const known = this.known(code, language);
    if (known || code.length > MAX_CODE || typeof Worker === "undefined")
      return Promise.resolve(known);
    return new Promise((resolve) => {
      this._waiting.push({ code, language, resolve });
      this._next();
    });
  }

  _next() {
    if (this._current) return;
    clearTimeout(this._timer);
    this._current = this._waiting.shift() ?? null;
    if (!this._current) {
      this._timer = setTimeout(() => this._end(), IDLE_LIMIT);
      return;
    }
    const { code, language } = this._current;
    this._lastId += 1;
    try {
      this._worker ??= this._start();
    } catch {
      this._finish(null); // the browser has no workers with modules
      return;
    }
    this._worker.postMessage({ id: this._lastId, code, language });
    this._limit(LOAD_LIMIT);
  }

  /** @param {number} time ms */
  _limit(time) {
    clearTimeout(this._timer);
    this._timer = setTimeout(() => {
      this._end();
      this._finish(null);
    }, time);
  }

  _start() {
    const worker = new Worker(workerAddress(), { type: "module" });
    worker.addEventListener("message", ({ data }) => {
      if (data.id !== this._lastId || worker !== this._worker) return;
      if (data.started) this._limit(TIME_LIMIT);
      else this._finish(data.tokens ?? null);
    });
    worker.addEventListener("error", () => {
      if (worker !== this._worker) return;
      this._end();
      this._finish(null);
    });
    return worker;
  }

  _end() {
    this._worker?.terminate();
    this._worker = null;
  }

  /** @param {Tokens | null} tokens */
  _finish(tokens) {
    clearTimeout(this._timer);
    const task = this._current;
    this._current = null;
    const isUsable = tokens !== null && tokens.ranges.length <= 3 * MAX_TOKENS;
    if (task) {
      if (isUsable) this._keep(`${task.language} ${task.code}`, tokens);
      task.resolve(isUsable ? tokens : null);
    }
    this._next();
  }

  /** @param {string} key @param {Tokens} tokens */
  _keep(key, tokens) {
    this._kept.set(key, tokens);
    this._keptSize += key.length;
    for (const oldest of this._kept.keys()) {
      if (this._keptSize <= MAX_KEPT) break;
      this._kept.delete(oldest);
      this._keptSize -= oldest.length;
    }
  }
}

const highlighter = new Highlighter();

/** The address of the worker in the form that `require-trusted-types-for` asks for where a browser knows it. */
function workerAddress() {
  const address = new URL("./highlight-worker.js", import.meta.url).href;
  const { trustedTypes } = /** @type {any} */ (globalThis);
  if (!trustedTypes) return address;
  policy ??= trustedTypes.createPolicy("highlight-worker", { createScriptURL: () => address });
  return policy.createScriptURL("");
}

/** @type {any} it makes the address of the worker and no other one */
let policy = null;

/**
 * What is to be coloured in `code`; null if nothing can be: an unknown language, a text that is too long or takes too long.
 * @param {string} code
 * @param {string | null} language a name that `languageNamed` knows, or what `languageOfPath` gives
 * @returns {Promise<Tokens | null>}
 */
export async function highlight(code, language) {
  const known = language === null ? null : languageNamed(language);
  if (!known || !code.trim()) return null;
  const tokens = await highlighter.tokens(code, known);
  if (tokens) addColours();
  return tokens;
}

/**
 * The tokens of `code` if they have been found before, so that it can be drawn in colours at once.
 * @param {string} code
 * @param {string | null} language
 * @returns {Tokens | null}
 */
export function knownTokens(code, language) {
  const known = language === null ? null : languageNamed(language);
  return known ? highlighter.known(code, known) : null;
}

function addColours() {
  stylesheet(new URL("../style/code.css", import.meta.url).href);
}

/**
 * The lines of `code`, each as what an element of it contains: texts, and a span for each token (class `hl-KIND`).
 * @param {string} code
 * @param {Tokens | null} tokens
 * @returns {(string | HTMLElement)[][]} without the line breaks
 */
export function highlightedLines(code, tokens) {
  const lines = code.split("\n");
  if (!tokens) return lines.map((line) => [line]);
  const { kinds, ranges } = tokens;
  let next = 0; // the first token that does not end before the line
  let start = 0; // of the line
  return lines.map((line) => {
    const end = start + line.length;
    /** @type {(string | HTMLElement)[]} */
    const parts = [];
    let at = start;
    while (next < ranges.length && ranges[next] < end) {
      const from = Math.max(ranges[next], start);
      const to = Math.min(ranges[next + 1], end);
      if (from > at) parts.push(code.slice(at, from));
      if (to > from)
        parts.push(h("span", { class: `hl-${kinds[ranges[next + 2]]}` }, code.slice(from, to)));
      at = Math.max(at, to);
      if (ranges[next + 1] > end) break; // the token goes on in the next line
      next += 3;
    }
    if (at < end) parts.push(code.slice(at, end));
    start = end + 1;
    return parts;
  });
}
