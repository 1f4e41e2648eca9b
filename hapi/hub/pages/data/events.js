// The hub's event stream (SSE), read with fetch so that the JWT travels in a header and never in a URL.

const SILENCE = 75_000; // ms; the hub's heartbeat comes every 30 s
const DELAYS = [500, 1000, 2000, 4000, 8000, 15000]; // ms between attempts, each shortened by up to a third at random

/** Cuts a stream of text into SSE frames {data, id}; keeps an unfinished frame for the next piece. */
export class Frames {
  constructor() {
    this._rest = "";
  }

  feed(text) {
    const pieces = (this._rest + text.replaceAll("\r", "")).split("\n\n");
    this._rest = pieces.pop();
    return pieces.map(frameOf).filter((frame) => frame.data !== "");
  }
}

function frameOf(piece) {
  const frame = { data: "", id: null };
  for (const line of piece.split("\n")) {
    const [, field, value] = /^([^:]*):? ?(.*)$/s.exec(line);
    if (field === "data") frame.data += (frame.data && "\n") + value;
    if (field === "id") frame.id = value;
  }
  return frame;
}

export class EventStream {
  /**
   * `onEvent(event)` gets each event; `onOpen(resumed)` comes first on every connection, `resumed` false when events may
   * have been missed; `onStatus({phase, since, attempt})` with phase "connecting", "live" or "lost".
   */
  constructor(api, { onEvent, onOpen, onStatus }) {
    Object.assign(this, { _api: api, _onEvent: onEvent, _onOpen: onOpen, _onStatus: onStatus });
    this.status = { phase: "connecting", since: Date.now(), attempt: 0 };
    this.subscriptionId = null;
    this._lastId = null;
    this._running = false;
    this._wake = () => {};
    this._abort = null;
  }

  start() {
    if (this._running) return;
    this._running = true;
    this._run();
  }

  stop() {
    this._running = false;
    this._abort?.abort();
    this._wake();
  }

  /** Don't wait for the next attempt. */
  retryNow() {
    this._wake();
  }

  async _run() {
    while (this._running) {
      const refused = await this._listen().catch((error) => error.status === 401);
      if (!this._running) return;
      const attempt = this.status.attempt + 1;
      this._say(refused ? "refused" : "lost", attempt);
      const delay = DELAYS[Math.min(attempt - 1, DELAYS.length - 1)] * (1 - Math.random() / 3);
      await new Promise((resolve) => {
        this._wake = resolve;
        setTimeout(resolve, delay);
      });
    }
  }

  async _listen() {
    const abort = (this._abort = new AbortController());
    let watchdog = setTimeout(() => abort.abort(), 20_000);
    try {
      const answer = await this._api.fetch("GET", `/api/events?all=true&visibility=${document.visibilityState === "visible" ? "visible" : "hidden"}`, {
        signal: abort.signal,
        headers: { Accept: "text/event-stream", ...(this._lastId && { "Last-Event-ID": this._lastId }) },
      });
      const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
      const frames = new Frames();
      for (;;) {
        clearTimeout(watchdog);
        watchdog = setTimeout(() => abort.abort(), SILENCE);
        const { done, value } = await reader.read();
        if (done) return;
        for (const frame of frames.feed(value)) this._take(frame);
      }
    } finally {
      clearTimeout(watchdog);
      abort.abort();
    }
  }

  _take({ data, id }) {
    let event;
    try {
      event = JSON.parse(data);
    } catch {
      return;
    }
    if (event.type === "connection-changed") {
      this.subscriptionId = event.data?.subscriptionId ?? null;
      this._say("live", 0);
      this._onOpen(event.data?.resume === "ok" && this._lastId !== null);
    } else if (event.type !== "heartbeat") {
      this._onEvent(event);
    }
    if (id) this._lastId = id;
  }

  _say(phase, attempt) {
    const since = phase === this.status.phase ? this.status.since : Date.now();
    this.status = { phase, since, attempt };
    this._onStatus(this.status);
  }
}
