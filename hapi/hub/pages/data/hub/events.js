// The hub's event stream (SSE), read with fetch, so that the JWT travels in a header and never in an address.

import { ApiError, errorMessage, statusOf } from "../../lib/errors.js";

/**
 * @import { Api } from "./api.js"
 * @import { Connection, HubEvent } from "../types.js"
 */

/** @typedef {{ data: string, id: string | null }} Frame */

const CONNECT_TIMEOUT = 20_000; // ms
const SILENCE_TIMEOUT = 45_000; // ms; the hub's heartbeat comes every 30 s
const CHECK_TIMEOUT = 3000; // ms for anything to arrive on a stream that is checked
const HURRIED_ATTEMPTS = 5; // without a pause, after a check that failed
const IDLE_CONNECTIONS = 5; // that a browser may keep to one server beside that of the stream
const MIN_LIFE = 5000; // ms; a connection that lived longer is made again at once when it ends
const CONNECT_DELAYS = [500, 1000, 2000, 4000, 8000, 15_000]; // ms, each shortened by up to a third at random

/** Cuts a stream of text into SSE frames; keeps an unfinished frame for the next piece. */
export class FrameParser {
  constructor() {
    this._rest = "";
  }

  /** @param {string} text */
  feed(text) {
    const pieces = (this._rest + text.replaceAll("\r", "")).split("\n\n");
    this._rest = pieces.pop() ?? "";
    return pieces.map(parsedFrame).filter((frame) => frame.data !== "");
  }
}

/** @param {string} piece @returns {Frame} */
function parsedFrame(piece) {
  /** @type {Frame} */
  const frame = { data: "", id: null };
  for (const line of piece.split("\n")) {
    const [, field, value] = /** @type {RegExpExecArray} */ (/^([^:]*):? ?(.*)$/s.exec(line));
    if (field === "data") frame.data += (frame.data && "\n") + value;
    if (field === "id") frame.id = value;
  }
  return frame;
}

/**
 * @typedef {object} Listener
 * @property {(event: HubEvent) => void} onEvent
 * @property {(resumed: boolean) => void} onOpen comes first on every connection; `resumed` false: events may have been missed
 * @property {(connection: Connection) => void} onStatus
 * @property {() => string | null} liveSession the session whose live text is wanted
 */

export class EventStream {
  /**
   * @param {Api} api
   * @param {Listener} listener
   */
  constructor(api, listener) {
    this._api = api;
    this._listener = listener;
    /** @type {Connection} */
    this.status = { phase: "connecting", since: Date.now(), attempt: 0 };
    /** @type {string | null} */
    this.subscriptionId = null;
    this.hasLive = false; // the hub has live text
    /** @type {string | null} */
    this._lastId = null;
    this._running = false;
    this._endPause = () => {};
    /** @type {AbortController | null} */
    this._abort = null;
    this._heardAt = 0; // when the connection was last asked for or something arrived on it, ms of the epoch
    this._hurried = 0; // attempts that are made without a pause
    /** @type {ReturnType<typeof setTimeout> | undefined} */
    this._checking = undefined; // the time that a stream which is checked has
  }

  start() {
    if (this._running) return;
    this._running = true;
    this._run();
  }

  stop() {
    this._running = false;
    this._endCheck();
    this._abort?.abort();
    this._endPause();
  }

  /** Make the next attempt now. */
  retryNow() {
    this._endPause();
  }

  /**
   * Somebody looks at the page again, or the network is back: a stream may have died meanwhile without an end
   * (a suspended phone, another network). Believe it only once something arrives on it, which the hub is asked for.
   */
  check() {
    const silence = Date.now() - this._heardAt;
    this._endPause();
    if (silence > SILENCE_TIMEOUT) return this._connectAgain();
    if (this.status.phase !== "live" && silence < CHECK_TIMEOUT) return; // an attempt has just begun
    const timeout = this.status.phase === "live" ? CHECK_TIMEOUT : 0;
    clearTimeout(this._checking);
    this._checking = setTimeout(() => this._connectAgain(), timeout);
    if (this.subscriptionId !== null)
      this._api.reportVisibility(this.subscriptionId, "visible").catch((error) => {
        if (statusOf(error) === 404) this._connectAgain(); // the hub has given the stream up
      });
  }

  /** A request has found no hub, and a balancer may keep the stream to a hub to which it sends nothing new. */
  doubt() {
    if (this.status.phase === "live" && this._checking === undefined) this.check();
  }

  _endCheck() {
    clearTimeout(this._checking);
    this._checking = undefined;
  }

  /** Idle connections may be as dead as the stream: requests that are given up soon make the browser close them. */
  _connectAgain() {
    this._endCheck();
    this._hurried = HURRIED_ATTEMPTS;
    for (let number = 0; number < IDLE_CONNECTIONS; number++)
      this._api.probe(AbortSignal.timeout(CHECK_TIMEOUT)).catch(() => {});
    this._abort?.abort();
    this._endPause();
  }

  async _run() {
    while (this._running) {
      /** @type {unknown} */
      let problem = null;
      const started = Date.now();
      try {
        await this._listen();
        // The hub ends the stream of a JWT that has expired, and the page ends it shortly before.
        if (this._running && this.status.phase === "live" && Date.now() - started > MIN_LIFE)
          continue;
      } catch (error) {
        problem = error;
      }
      if (!this._running) return;
      const attempt = this.status.attempt + 1;
      const answer = problem instanceof ApiError ? problem : null;
      const reason = answer && errorMessage(answer);
      this._setPhase(statusOf(problem) === 401 ? "refused" : "lost", attempt, reason);
      if (answer === null && this._hurried > 0) {
        this._hurried -= 1;
        continue;
      }
      const delay = Math.max(
        CONNECT_DELAYS[Math.min(attempt, CONNECT_DELAYS.length) - 1] * (1 - Math.random() / 3),
        (answer?.retryAfter ?? 0) * 1000,
      );
      await /** @type {Promise<void>} */ (
        new Promise((resolve) => {
          this._endPause = resolve;
          setTimeout(resolve, delay);
        })
      );
    }
  }

  /** Read one connection until the hub ends it or its JWT must be renewed. Throws when it breaks. */
  async _listen() {
    const abort = (this._abort = new AbortController());
    const timeout = this._hurried > 0 ? CHECK_TIMEOUT : CONNECT_TIMEOUT;
    let watchdog = setTimeout(() => abort.abort(), timeout);
    let renewal;
    this._heardAt = Date.now();
    try {
      const response = await this._connect(abort.signal);
      if (!response.body) return;
      const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
      renewal = setTimeout(() => reader.cancel(), Math.max(MIN_LIFE, this._api.jwtRemaining) + 1);
      const frames = new FrameParser();
      for (;;) {
        clearTimeout(watchdog);
        watchdog = setTimeout(() => abort.abort(), SILENCE_TIMEOUT);
        const { done, value } = await reader.read();
        if (done) return;
        this._heardAt = Date.now();
        this._endCheck();
        for (const frame of frames.feed(value)) this._receive(frame);
      }
    } finally {
      clearTimeout(watchdog);
      clearTimeout(renewal);
      this._endCheck();
      abort.abort();
    }
  }

  /** @param {AbortSignal} signal */
  _connect(signal) {
    const headers = {
      Accept: "text/event-stream",
      ...(this._lastId && { "Last-Event-ID": this._lastId }),
    };
    const query = new URLSearchParams({ all: "true", visibility: document.visibilityState });
    const live = this._listener.liveSession();
    if (live !== null) query.set("live", live);
    return this._api.fetch("GET", `/api/events?${query}`, { signal, headers });
  }

  /** @param {Frame} frame */
  _receive({ data, id }) {
    const event = parsedEvent(data);
    if (event === null) return;
    if (event.type === "connection-changed") {
      this.subscriptionId = event.data?.subscriptionId ?? null;
      this.hasLive = event.data?.live === true;
      this._hurried = 0;
      this._setPhase("live", 0);
      this._listener.onOpen(event.data?.resume === "ok" && this._lastId !== null);
    } else if (event.type !== "heartbeat") {
      this._listener.onEvent(event);
    }
    if (id) this._lastId = id;
  }

  /** @param {Connection["phase"]} phase @param {number} attempt @param {string | null} [reason] */
  _setPhase(phase, attempt, reason = null) {
    const since = phase === this.status.phase ? this.status.since : Date.now();
    this.status = { phase, since, attempt, reason };
    this._listener.onStatus(this.status);
  }
}

/** @param {string} data @returns {HubEvent | null} */
function parsedEvent(data) {
  try {
    return JSON.parse(data);
  } catch {
    return null; // one broken frame does not end the stream
  }
}
