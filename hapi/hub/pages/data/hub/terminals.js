// The terminals of one session as the page knows them: which there are, and what has become of each.

import { t } from "../../lib/language.js";

/** @import { TerminalSocket } from "./terminal-socket.js" */

/**
 * @typedef {"opening" | "open" | "elsewhere" | "ended" | "refused"} Phase
 *   `elsewhere`: another page is attached to it; `refused`: the hub or the session did not open it
 * @typedef {object} Terminal
 * @property {string} id
 * @property {number} number as people count them
 * @property {Phase} phase
 * @property {string} text why it has ended or was refused
 * @property {number} cols
 * @property {number} rows
 * @property {string} told the size that the shell was told last
 *
 * @typedef {object} TerminalObserver
 * @property {() => void} onChange of the list, or of a terminal in it
 * @property {(id: string, data: string, isReplay: boolean) => void} onOutput
 */

export class Terminals {
  /**
   * @param {string} sessionId
   * @param {Pick<TerminalSocket, "emit" | "ask" | "isJoined">} socket
   * @param {TerminalObserver} observer
   * @param {Pick<Storage, "getItem" | "setItem">} storage of this tab: after a reload it has the same terminals again
   */
  constructor(sessionId, socket, observer, storage) {
    this._sessionId = sessionId;
    this._socket = socket;
    this._observer = observer;
    this._storage = storage;
    this._key = `hapi.terminals.${sessionId}`;
    /** @type {Terminal[]} */
    this.list = [];
    this._count = 0;
  }

  /**
   * The connection is there, for the first time or again: attach to everything that is ours.
   * @param {() => { cols: number, rows: number }} size
   */
  async joined(size) {
    const answer = await this._socket.ask("terminal:list", { sessionId: this._sessionId });
    if (!this._socket.isJoined) return;
    const listed = /** @type {{ terminalId: string, attached: boolean }[]} */ (
      Array.isArray(answer?.terminals) ? answer.terminals : []
    );
    const isFirst = this.list.length === 0;
    const kept = isFirst ? this._kept() : [];
    for (const { terminalId, attached } of listed) {
      if (!this.find(terminalId)) {
        const phase = attached && !kept.includes(terminalId) ? "elsewhere" : "opening";
        this._add(terminalId, phase, size());
      }
    }
    if (!answer) for (const id of kept) if (!this.find(id)) this._add(id, "opening", size());
    if (this.list.length === 0) this._add(newId(this._sessionId), "opening", size());
    for (const terminal of this.list)
      if (terminal.phase === "opening" || terminal.phase === "open") this._create(terminal);
    this._changed();
  }

  /** @param {string} id */
  find(id) {
    return this.list.find((terminal) => terminal.id === id);
  }

  /** A new shell. @param {{ cols: number, rows: number }} size */
  open(size) {
    const terminal = this._add(newId(this._sessionId), "opening", size);
    this._create(terminal);
    this._changed();
    return terminal;
  }

  /** Attach to one that is attached elsewhere, was refused, or has ended (then as a new shell). @param {Terminal} terminal */
  attach(terminal) {
    terminal.phase = "opening";
    terminal.text = "";
    this._create(terminal);
    this._changed();
  }

  /** End the shell, and take the terminal out of the list. @param {Terminal} terminal */
  close(terminal) {
    if (terminal.phase !== "ended")
      this._socket.emit("terminal:close", { sessionId: this._sessionId, terminalId: terminal.id });
    this.list = this.list.filter((other) => other !== terminal);
    this._changed();
  }

  /** @param {Terminal} terminal @param {string} data */
  write(terminal, data) {
    if (terminal.phase === "open")
      this._socket.emit("terminal:write", { terminalId: terminal.id, data });
  }

  /** @param {Terminal} terminal @param {number} cols @param {number} rows */
  resize(terminal, cols, rows) {
    if (terminal.cols === cols && terminal.rows === rows) return;
    terminal.cols = cols;
    terminal.rows = rows;
    this._sendSize(terminal);
  }

  /** Tell the size, once the terminal is open, if the shell has another one. @param {Terminal} terminal */
  _sendSize(terminal) {
    const { cols, rows } = terminal;
    if (terminal.phase !== "open" || terminal.told === `${cols}x${rows}`) return;
    terminal.told = `${cols}x${rows}`;
    this._socket.emit("terminal:resize", { terminalId: terminal.id, cols, rows });
  }

  /** @param {string} name @param {any} payload */
  receive(name, payload) {
    const terminal = this.find(String(payload?.terminalId));
    if (!terminal) return;
    if (name === "terminal:output") {
      // npm's hub marks a replay by leaving out the session.
      const isReplay = payload.replay === true || payload.sessionId === undefined;
      this._observer.onOutput(terminal.id, String(payload.data ?? ""), isReplay);
      return;
    }
    const change = changeOf(name, payload);
    if (!change) return;
    Object.assign(terminal, change);
    this._sendSize(terminal);
    this._changed();
  }

  /** @param {string} id @param {Phase} phase @param {{ cols: number, rows: number }} size */
  _add(id, phase, { cols, rows }) {
    this._count += 1;
    /** @type {Terminal} */
    const terminal = { id, number: this._count, phase, text: "", cols, rows, told: "" };
    this.list = [...this.list, terminal];
    return terminal;
  }

  /** @param {Terminal} terminal */
  _create(terminal) {
    const { id, cols, rows } = terminal;
    terminal.told = `${cols}x${rows}`;
    this._socket.emit("terminal:create", {
      sessionId: this._sessionId,
      terminalId: id,
      cols,
      rows,
    });
  }

  _changed() {
    const ids = this.list.filter(({ phase }) => phase !== "ended").map(({ id }) => id);
    this._storage.setItem(this._key, JSON.stringify(ids));
    this._observer.onChange();
  }

  /** @returns {string[]} */
  _kept() {
    try {
      const found = JSON.parse(this._storage.getItem(this._key) ?? "[]");
      return Array.isArray(found) ? found.filter((id) => typeof id === "string") : [];
    } catch {
      return [];
    }
  }
}

/**
 * What an event of the hub changes of a terminal.
 * @param {string} name
 * @param {any} payload
 * @returns {Partial<Terminal> | null}
 */
function changeOf(name, payload) {
  switch (name) {
    case "terminal:ready":
      return { phase: "open", text: "" };
    case "terminal:detached":
      return { phase: "elsewhere", text: "" };
    case "terminal:exit":
      return { phase: "ended", text: exitText(payload) };
    case "terminal:error":
      return { phase: "refused", text: errorText(String(payload.message ?? "")) };
  }
  return null;
}

/** @param {{ code?: number | null, signal?: string | null }} how */
function exitText({ code, signal }) {
  if (signal) return t("The shell was ended by {signal}.", { signal });
  if (typeof code === "number") return t("The shell has ended with code {code}.", { code });
  return t("The shell has ended.");
}

const UNAVAILABLE = /^Session is inactive/; // the hub's words

/** @param {string} message of the hub or the session */
function errorText(message) {
  if (UNAVAILABLE.test(message))
    return t(
      "The session cannot be reached at the moment, so that no terminal can be opened in it.",
    );
  return message;
}

/** @param {string} sessionId */
function newId(sessionId) {
  const bytes = crypto.getRandomValues(new Uint8Array(12));
  return `term-${sessionId}-${[...bytes].map((byte) => byte.toString(16).padStart(2, "0")).join("")}`;
}
