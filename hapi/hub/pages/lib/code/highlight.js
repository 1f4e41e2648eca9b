// Colours of code. The tokens are found in a worker: whatever the code is, the page stays responsive, and a worker that
// takes too long is ended.

import { h } from "../dom.js";
import { languageNamed } from "./languages.js";
import { LruCache } from "./lru-cache.js";
import { stylesheet } from "../stylesheet.js";
import { TaskQueue } from "./task-queue.js";

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

/** @typedef {{ code: string, language: string }} Task */

class Highlighter {
  constructor() {
    /** @type {Worker | null} */
    this._worker = null;
    /** @type {TaskQueue<Task, Tokens | null>} */
    this._tasks = new TaskQueue({
      begin: (task, id) => this._begin(task, id),
      end: () => this._end(),
      late: () => /** @type {Tokens | null} */ (null),
      done: ({ code, language }, tokens) => {
        if (tokens) this._kept.set(`${language} ${code}`, tokens);
      },
      limits: { load: LOAD_LIMIT, task: TIME_LIMIT, idle: IDLE_LIMIT },
    });
    /** @type {LruCache<Tokens>} */
    this._kept = new LruCache(MAX_KEPT, (key) => key.length);
  }

  /** @param {string} code @param {string} language */
  known(code, language) {
    return this._kept.get(`${language} ${code}`);
  }

  /** @param {string} code @param {string} language @returns {Promise<Tokens | null>} */
  async tokens(code, language) {
    const known = this.known(code, language);
    if (known || code.length > MAX_CODE || typeof Worker === "undefined") return known;
    return this._tasks.add({ code, language });
  }

  /** @param {Task} task @param {number} id */
  _begin({ code, language }, id) {
    try {
      this._worker ??= this._start();
    } catch {
      this._tasks.finish(null); // the browser has no workers with modules
      return;
    }
    this._worker.postMessage({ id, code, language });
  }

  _start() {
    const worker = new Worker(workerAddress(), { type: "module" });
    worker.addEventListener("message", ({ data }) => {
      if (data.id !== this._tasks.current?.id || worker !== this._worker) return;
      if (data.started) this._tasks.started();
      else this._tasks.finish(usable(data.tokens));
    });
    worker.addEventListener("error", () => {
      if (worker !== this._worker) return;
      this._end();
      this._tasks.finish(null);
    });
    return worker;
  }

  _end() {
    this._worker?.terminate();
    this._worker = null;
  }
}

/** @param {Tokens | undefined} tokens @returns {Tokens | null} */
function usable(tokens) {
  return tokens && tokens.ranges.length <= 3 * MAX_TOKENS ? tokens : null;
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
  stylesheet(new URL("../../style/code.css", import.meta.url).href);
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
