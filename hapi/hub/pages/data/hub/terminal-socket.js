// The connection to the hub's terminals: Socket.IO v5 over Engine.IO v4 on one WebSocket, as far as the namespace `/terminal`
// needs it. It is made again whenever it ends.

import { withBase } from "../../lib/base-path.js";

const NAMESPACE = "/terminal";
const RETRY_DELAYS = [500, 1000, 2000, 4000, 8000]; // ms
const JOIN_TIMEOUT = 15_000; // ms for the whole handshake
const ASK_TIMEOUT = 2500; // ms; hubs that do not know a question never answer it

/**
 * @typedef {object} SocketObserver
 * @property {() => void} onJoined the hub has let us in; again after each reconnect
 * @property {(name: string, payload: any) => void} onEvent
 * @property {() => void} onLost the connection has ended and is made again
 * @property {(message: string) => void} onRefused the hub does not let us in, and is not asked again
 */

export class TerminalSocket {
  /**
   * @param {(refused: string | null) => Promise<string>} jwt
   * @param {SocketObserver} observer
   * @param {(address: string) => WebSocket} [open]
   */
  constructor(jwt, observer, open = (address) => new WebSocket(address)) {
    this._jwt = jwt;
    this._observer = observer;
    this._openSocket = open;
    /** @type {WebSocket | null} */
    this._socket = null;
    this.isJoined = false;
    this._isStopped = false;
    this._failures = 0;
    this._acks = 0;
    /** @type {Map<number, (answer: any) => void>} */
    this._asked = new Map();
    this._silence = JOIN_TIMEOUT;
    /** @type {string | null} the token that was shown last */
    this._shown = null;
    /** @type {string | null} a token that the hub has refused */
    this._refused = null;
    /** @type {ReturnType<typeof setTimeout> | undefined} */
    this._deadline = undefined;
    /** @type {ReturnType<typeof setTimeout> | undefined} */
    this._retry = undefined;
  }

  async start() {
    clearTimeout(this._retry);
    let jwt;
    try {
      jwt = await this._jwt(this._refused);
    } catch {
      this._later();
      return;
    }
    if (this._isStopped || this._socket) return;
    this._shown = jwt;
    this._silence = JOIN_TIMEOUT;
    const socket = this._openSocket(socketAddress());
    this._socket = socket;
    socket.addEventListener("message", (event) => {
      if (socket === this._socket) this._receive(String(event.data));
    });
    socket.addEventListener("close", () => {
      if (socket === this._socket) this._ended();
    });
    this._watch();
  }

  /** Connect now instead of later. */
  retryNow() {
    if (!this._socket && !this._isStopped) this.start();
  }

  stop() {
    this._isStopped = true;
    clearTimeout(this._retry);
    clearTimeout(this._deadline);
    const socket = this._socket;
    this._socket = null;
    if (socket && this.isJoined) socket.send(`41${NAMESPACE},`);
    socket?.close();
    this.isJoined = false;
  }

  /** Send an event; without a connection it is dropped. @param {string} name @param {unknown} payload */
  emit(name, payload) {
    if (this.isJoined) this._socket?.send(`42${NAMESPACE},${JSON.stringify([name, payload])}`);
  }

  /**
   * Send an event and wait for the hub's answer; null if it gives none.
   * @param {string} name
   * @param {unknown} payload
   * @returns {Promise<any>}
   */
  ask(name, payload) {
    if (!this.isJoined) return Promise.resolve(null);
    const number = this._acks;
    this._acks += 1;
    return new Promise((resolve) => {
      const timeout = setTimeout(() => {
        this._asked.delete(number);
        resolve(null);
      }, ASK_TIMEOUT);
      this._asked.set(number, (answer) => {
        clearTimeout(timeout);
        resolve(answer);
      });
      this._socket?.send(`42${NAMESPACE},${number}${JSON.stringify([name, payload])}`);
    });
  }

  /** @param {string} text */
  _receive(text) {
    this._watch();
    const code = text[0];
    if (code === "0") {
      const { pingInterval = 25_000, pingTimeout = 20_000 } = parsed(text.slice(1)) ?? {};
      this._silence = pingInterval + pingTimeout;
      this._socket?.send(`40${NAMESPACE},${JSON.stringify({ token: this._shown })}`);
    } else if (code === "2") this._socket?.send("3");
    else if (code === "4") this._receivePacket(text.slice(1));
    else if (code === "1") this._socket?.close();
  }

  /** @param {string} packet */
  _receivePacket(packet) {
    const head = /^([0-4])\/terminal(?:,(\d*)|$)/.exec(packet);
    if (!head) return;
    const data = parsed(packet.slice(head[0].length));
    switch (head[1]) {
      case "0":
        this.isJoined = true;
        this._failures = 0;
        this._refused = null;
        this._observer.onJoined();
        break;
      case "1":
        this._socket?.close();
        break;
      case "2":
        if (Array.isArray(data)) this._observer.onEvent(String(data[0]), data[1]);
        break;
      case "3":
        this._asked.get(Number(head[2]))?.(Array.isArray(data) ? data[0] : null);
        this._asked.delete(Number(head[2]));
        break;
      default:
        this._onRefusal(String(data?.message ?? ""));
    }
  }

  /** @param {string} message */
  _onRefusal(message) {
    const isStale = message === "Invalid token" && this._refused !== this._shown;
    if (isStale) {
      this._refused = this._shown; // another one is asked for
      this._socket?.close();
      return;
    }
    this.stop();
    this._observer.onRefused(message);
  }

  /** The hub pings; one that is silent for too long is gone. */
  _watch() {
    clearTimeout(this._deadline);
    this._deadline = setTimeout(() => {
      const socket = this._socket;
      this._ended();
      socket?.close();
    }, this._silence);
  }

  _ended() {
    clearTimeout(this._deadline);
    this._socket = null;
    this.isJoined = false;
    for (const resolve of this._asked.values()) resolve(null);
    this._asked.clear();
    this._observer.onLost();
    this._later();
  }

  _later() {
    if (this._isStopped) return;
    const delay = RETRY_DELAYS[Math.min(this._failures, RETRY_DELAYS.length - 1)];
    this._failures += 1;
    clearTimeout(this._retry);
    this._retry = setTimeout(() => this.start(), delay);
  }
}

function socketAddress() {
  const url = new URL(withBase("/socket.io/?EIO=4&transport=websocket"), location.href);
  url.protocol = url.protocol === "https:" ? "wss:" : "ws:";
  return url.href;
}

/** @param {string} text @returns {any} null if it is no JSON */
function parsed(text) {
  try {
    return text ? JSON.parse(text) : null;
  } catch {
    return null;
  }
}
