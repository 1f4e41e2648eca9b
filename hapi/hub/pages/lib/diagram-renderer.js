// Drawings of Mermaid diagrams. They are made in a sandboxed frame that is loaded with the first one, and thrown away
// when a diagram takes too long and when there has been none for a while.

import { h } from "./dom.js";

const TIME_LIMIT = 5000; // ms for one diagram
const LOAD_LIMIT = 30_000; // ms until Mermaid has come
const IDLE_LIMIT = 30_000; // ms
export const MAX_SOURCE = 20_000; // characters
const MAX_DRAWING = 2_000_000; // characters of SVG
const MAX_SIDE = 20_000; // px
const MAX_KEPT = 60; // drawings

/** @typedef {{ address: string, width: number, height: number, title: string }} Drawing sizes in px; `address` is a blob: URL */
/** @typedef {"long" | "slow" | "unavailable" | "large" | { mistake: string }} Problem why there is no drawing; a mistake is in Mermaid's words */
/** @typedef {{ drawing: Drawing } | { problem: Problem }} Result */
/** @typedef {{ source: string, isDark: boolean, resolve: (result: Result) => void }} Task */

class DiagramRenderer {
  constructor() {
    /** @type {Task[]} */
    this._waiting = [];
    /** @type {Task | null} */
    this._current = null;
    /** @type {HTMLIFrameElement | null} */
    this._frame = null;
    /** @type {MessagePort | null} */
    this._port = null;
    /** @type {ReturnType<typeof setTimeout> | undefined} */
    this._timer = undefined;
    this._lastId = 0;
    /** @type {Map<string, Result>} the ones used last come last */
    this._kept = new Map();
  }

  /** @param {string} source @param {boolean} isDark */
  known(source, isDark) {
    const key = keyOf(source, isDark);
    const result = this._kept.get(key);
    if (result) {
      this._kept.delete(key);
      this._kept.set(key, result);
    }
    return result ?? null;
  }

  /** @param {string} source @param {boolean} isDark @returns {Promise<Result>} */
  draw(source, isDark) {
    if (source.length > MAX_SOURCE) return Promise.resolve({ problem: "long" });
    return new Promise((resolve) => {
      this._waiting.push({ source, isDark, resolve });
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
    const { source, isDark } = this._current;
    const known = this.known(source, isDark);
    if (known) {
      this._finish(known);
      return;
    }
    this._lastId += 1;
    this._limit(LOAD_LIMIT, "unavailable");
    if (this._port) this._port.postMessage({ id: this._lastId, source, isDark });
    else if (!this._frame) this._start();
  }

  /** @param {number} time ms @param {Problem} problem when the time is over */
  _limit(time, problem) {
    clearTimeout(this._timer);
    this._timer = setTimeout(() => {
      this._end();
      this._finish({ problem });
    }, time);
  }

  _start() {
    const address = new URL("../diagram.html", import.meta.url).href;
    const frame = h("iframe", {
      class: "diagram-frame",
      sandbox: "allow-scripts",
      title: "Diagrams",
      "aria-hidden": "true",
      tabindex: "-1",
      src: address,
    });
    this._frame = frame;
    frame.addEventListener("load", () => {
      if (frame !== this._frame || !frame.contentWindow) return;
      const { port1, port2 } = new MessageChannel();
      port1.onmessage = ({ data }) => this._receive(port1, data);
      this._port = port1;
      frame.contentWindow.postMessage(null, "*", [port2]); // its origin has no name
      if (!this._current) return;
      const { source, isDark } = this._current;
      port1.postMessage({ id: this._lastId, source, isDark });
    });
    document.body.append(frame);
  }

  /** @param {MessagePort} port @param {any} data what the frame says; it is not trusted */
  _receive(port, data) {
    if (port !== this._port || data?.id !== this._lastId || !this._current) return;
    if (data.started === true) this._limit(TIME_LIMIT, "slow");
    else if (data.drawing) this._finish(resultOf(data.drawing));
    else this._finish({ problem: { mistake: String(data.problem) } });
  }

  _end() {
    this._port?.close();
    this._frame?.remove();
    this._port = null;
    this._frame = null;
  }

  /** @param {Result} result */
  _finish(result) {
    clearTimeout(this._timer);
    const task = this._current;
    this._current = null;
    if (task) {
      const isLasting = "drawing" in result || result.problem !== "unavailable";
      if (isLasting) this._keep(keyOf(task.source, task.isDark), result);
      task.resolve(result);
    }
    this._next();
  }

  /** @param {string} key @param {Result} result */
  _keep(key, result) {
    this._kept.set(key, result);
    for (const [oldest, kept] of this._kept) {
      if (this._kept.size <= MAX_KEPT) break;
      this._kept.delete(oldest);
      if ("drawing" in kept) URL.revokeObjectURL(kept.drawing.address);
    }
  }
}

/** @param {string} source @param {boolean} isDark */
function keyOf(source, isDark) {
  return `${isDark ? "dark" : "light"} ${source}`;
}

/**
 * A drawing as the frame gives it. It is shown as a picture only: nothing in it acts or loads.
 * @param {any} drawing
 * @returns {Result}
 */
function resultOf({ svg, width, height, title }) {
  const isSize = [width, height].every((side) => Number.isFinite(side) && side > 0);
  if (typeof svg !== "string" || !isSize) return { problem: { mistake: "" } };
  if (svg.length > MAX_DRAWING || Math.max(width, height) > MAX_SIDE) return { problem: "large" };
  const address = URL.createObjectURL(new Blob([svg], { type: "image/svg+xml" }));
  return {
    drawing: {
      address,
      width: Math.ceil(width),
      height: Math.ceil(height),
      title: String(title ?? ""),
    },
  };
}

const renderer = new DiagramRenderer();

/**
 * Draw a diagram, after those that have been asked for before.
 * @param {string} source
 * @param {boolean} isDark
 */
export function drawDiagram(source, isDark) {
  return renderer.draw(source, isDark);
}

/** What is known of a diagram that has been drawn before. @param {string} source @param {boolean} isDark */
export function knownDiagram(source, isDark) {
  return renderer.known(source, isDark);
}
