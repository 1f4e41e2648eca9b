// Drawings of Mermaid diagrams. They are made in a sandboxed frame that is loaded with the first one, and thrown away
// when a diagram takes too long and when there has been none for a while.

import { h } from "../dom.js";
import { LruCache } from "./lru-cache.js";
import { TaskQueue } from "./task-queue.js";

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
/** @typedef {{ source: string, isDark: boolean }} Task */

class DiagramRenderer {
  constructor() {
    /** @type {HTMLIFrameElement | null} */
    this._frame = null;
    /** @type {MessagePort | null} */
    this._port = null;
    /** @type {TaskQueue<Task, Result>} */
    this._tasks = new TaskQueue({
      begin: (task, id) => this._begin(task, id),
      end: () => this._end(),
      late,
      done: (task, result) => this._keep(task, result),
      limits: { load: LOAD_LIMIT, task: TIME_LIMIT, idle: IDLE_LIMIT },
    });
    /** @type {LruCache<Result>} */
    this._kept = new LruCache(MAX_KEPT, undefined, (result) => {
      if ("drawing" in result) URL.revokeObjectURL(result.drawing.address);
    });
  }

  /** @param {string} source @param {boolean} isDark */
  known(source, isDark) {
    return this._kept.get(keyOf(source, isDark));
  }

  /** @param {string} source @param {boolean} isDark @returns {Promise<Result>} */
  async draw(source, isDark) {
    return source.length > MAX_SOURCE
      ? { problem: "long" }
      : await this._tasks.add({ source, isDark });
  }

  /** @param {Task} task @param {Result} result */
  _keep({ source, isDark }, result) {
    const isLasting = "drawing" in result || result.problem !== "unavailable";
    if (isLasting) this._kept.set(keyOf(source, isDark), result);
  }

  /** @param {Task} task @param {number} id */
  _begin({ source, isDark }, id) {
    const known = this.known(source, isDark);
    if (known) this._tasks.finish(known);
    else if (this._port) this._port.postMessage({ id, source, isDark });
    else if (!this._frame) this._start();
  }

  _start() {
    const address = new URL("../../diagram.html", import.meta.url).href;
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
      const { current } = this._tasks;
      if (current) port1.postMessage({ id: current.id, ...current.task });
    });
    document.body.append(frame);
  }

  /** @param {MessagePort} port @param {any} data what the frame says; it is not trusted */
  _receive(port, data) {
    if (port !== this._port || !data || data.id !== this._tasks.current?.id) return;
    if (data.started === true) this._tasks.started();
    else if (data.drawing) this._tasks.finish(resultOf(data.drawing));
    else this._tasks.finish({ problem: { mistake: String(data.problem) } });
  }

  _end() {
    this._port?.close();
    this._frame?.remove();
    this._port = null;
    this._frame = null;
  }
}

/** @param {boolean} hasStarted @returns {Result} */
function late(hasStarted) {
  return { problem: hasStarted ? "slow" : "unavailable" };
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
