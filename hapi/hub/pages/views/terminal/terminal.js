// Shells of the session's machine, in the session's directory.

import { t } from "../../lib/language.js";
import { Terminals } from "../../data/hub/terminals.js";
import { TerminalSocket } from "../../data/hub/terminal-socket.js";
import { readText } from "../../lib/browser/clipboard.js";
import { toast } from "../../lib/dialog.js";
import { fill, h, iconButton } from "../../lib/dom.js";
import { errorMessage } from "../../lib/errors.js";
import { deviceStorage, tabStorage } from "../../lib/storage.js";
import { stylesheet } from "../../lib/stylesheet.js";
import { workFrame } from "../work/frame.js";
import { keyRow } from "./keys.js";
import { terminalPane } from "./pane.js";

/**
 * @import { View, ViewContext } from "../../data/types.js"
 * @import { Terminal } from "../../data/hub/terminals.js"
 */

await stylesheet(new URL("../../style/terminal.css", import.meta.url).href);

const SIZE_KEY = "hapi.terminal.size";
const CELLS_KEY = "hapi.terminal.cells"; // columns and rows, as `114x40`
const [MIN_SIZE, DEFAULT_SIZE, MAX_SIZE] = [9, 13, 24]; // pixels of the font
const FIRST_SIZE = { cols: 80, rows: 24 };

/** @param {ViewContext} context @returns {View} */
export function view(context) {
  return new TerminalView(context);
}

/** @implements {View} */
class TerminalView {
  /** @param {ViewContext} context */
  constructor(context) {
    this._context = context;
    this._frame = workFrame(context, "terminal");
    this.node = this._frame.node;
    this.node.classList.add("terminal-view");
    this._fontSize = readSize();
    this._size = readCells();
    this._isConnected = false;
    this._isStarted = false;
    /** @type {string | null} */
    this._chosen = null;
    /** @type {Map<string, ReturnType<typeof terminalPane>>} */
    this._panes = new Map();
    this._socket = new TerminalSocket((refused) => context.identity.jwt(refused), {
      onJoined: () => this._onJoined(),
      onEvent: (name, payload) => this._terminals.receive(name, payload),
      onLost: () => this._onLost(),
      onRefused: (message) => this._say(message),
    });
    this._terminals = new Terminals(
      context.id,
      this._socket,
      {
        onChange: () => this._drawTerminals(),
        onOutput: (id, data, isReplay) => this._panes.get(id)?.output(data, isReplay),
      },
      tabStorage,
    );
    this._tabs = h("div", {
      class: "terminal-tabs",
      role: "tablist",
      "aria-label": t("Terminals"),
    });
    this._screens = h("div", { class: "terminal-screens" });
    this._keys = keyRow({
      send: (data) => this._type(data, true),
      usesApplicationKeys: () => this._pane?.screen()?.usesApplicationKeys() ?? false,
    });
    this._tools = h(
      "div",
      { class: "terminal-bar" },
      this._tabs,
      iconButton("plus", t("New terminal"), { on: { click: () => this._open() } }),
      tool("A−", t("Smaller text"), () => this._resizeFont(-1)),
      tool("A+", t("Larger text"), () => this._resizeFont(1)),
      iconButton("copy", t("Paste"), { on: { click: () => this._paste() } }),
    );
    this._observer = new ResizeObserver(() => this._fit());
    this._onVisible = () => {
      if (document.visibilityState === "visible") this._socket.retryNow();
    };
  }

  async start() {
    await this._frame.start();
    document.addEventListener("visibilitychange", this._onVisible);
    addEventListener("online", this._onVisible);
    this.draw();
  }

  leave() {
    document.removeEventListener("visibilitychange", this._onVisible);
    removeEventListener("online", this._onVisible);
    this._observer.disconnect();
    this._socket.stop();
    for (const pane of this._panes.values()) pane.dispose();
  }

  title() {
    return t("Terminal of {title}", { title: this._frame.title() });
  }

  focus() {
    this._pane?.screen()?.focus();
  }

  draw() {
    this._frame.drawHead();
    if (this._isStarted) return;
    const problem = this._problem();
    if (problem !== null) {
      this._say(problem);
      return;
    }
    this._isStarted = true;
    fill(this._frame.body, this._tools, this._screens, this._keys.node);
    this._observer.observe(this._screens);
    this._socket.start();
  }

  /** Why there can be no terminal; null if there can be one. */
  _problem() {
    const session = this._frame.session();
    const refusal = this._context.store.access.refusal("terminal");
    if (refusal !== null) return refusal;
    if (!session?.detailed) return t("Reading the session…");
    if (!session.active)
      return t("This session is not running. Resume it, and its terminal can be opened here.");
    if (session.metadata?.capabilities?.terminal !== true)
      return t(
        "Terminals are turned off on this session's machine. Its runner allows them with --terminal yes.",
      );
    return null;
  }

  /** @param {string} text shown instead of terminals */
  _say(text) {
    this._isConnected = false;
    fill(this._frame.body, h("p", { class: "empty-note", role: "status" }, text));
  }

  get _pane() {
    return this._panes.get(this._chosen ?? "");
  }

  get _terminal() {
    return this._terminals.find(this._chosen ?? "");
  }

  _onJoined() {
    this._isConnected = true;
    this._terminals.joined(() => this._size);
  }

  _onLost() {
    this._isConnected = false;
    this._drawTerminals();
  }

  _open() {
    if (!this._isConnected) return;
    this._chosen = this._terminals.open(this._size).id;
    this._drawTerminals();
  }

  /** @param {string} data @param {boolean} isKey of the row: what is typed has been changed already */
  _type(data, isKey = false) {
    const terminal = this._terminal;
    if (terminal) this._terminals.write(terminal, isKey ? data : this._keys.modified(data));
    if (isKey) this.focus();
  }

  async _paste() {
    try {
      this._pane?.screen()?.paste(await readText());
      this.focus();
    } catch (error) {
      toast(errorMessage(error));
    }
  }

  /** @param {number} step */
  _resizeFont(step) {
    this._fontSize = Math.min(MAX_SIZE, Math.max(MIN_SIZE, this._fontSize + step));
    deviceStorage.setItem(SIZE_KEY, String(this._fontSize));
    for (const pane of this._panes.values()) pane.screen()?.setFontSize(this._fontSize);
    this._fit();
  }

  /** Make the shown terminal as large as its place. */
  _fit() {
    const [screen, terminal] = [this._pane?.screen(), this._terminal];
    if (!screen || !terminal || !this._screens.clientHeight) return;
    this._size = screen.fit();
    tabStorage.setItem(CELLS_KEY, `${this._size.cols}x${this._size.rows}`);
    this._terminals.resize(terminal, this._size.cols, this._size.rows);
  }

  _drawTerminals() {
    const { list } = this._terminals;
    for (const [id, pane] of this._panes)
      if (!this._terminals.find(id)) {
        pane.dispose();
        pane.node.remove();
        this._panes.delete(id);
      }
    for (const terminal of list) if (!this._panes.has(terminal.id)) this._addPane(terminal);
    if (!this._terminal) this._chosen = list.at(-1)?.id ?? null;
    for (const terminal of list) {
      const pane = this._panes.get(terminal.id);
      if (!pane) continue;
      pane.draw(this._isConnected);
      const isShown = terminal.id === this._chosen;
      if (isShown && pane.node.hidden) {
        pane.node.hidden = false;
        this._fit();
        pane.screen()?.focus();
      } else if (!isShown) pane.node.hidden = true;
    }
    fill(
      this._tabs,
      list.map((terminal) => this._tab(terminal)),
    );
  }

  /** @param {Terminal} terminal */
  _addPane(terminal) {
    const pane = terminalPane(terminal, {
      fontSize: this._fontSize,
      onData: (data) => this._type(data),
      onLink: (address) => open(address, "_blank", "noopener,noreferrer"),
      attach: () => this._terminals.attach(terminal),
      onReady: () => {
        this._fit();
        if (terminal.id === this._chosen) this.focus();
      },
    });
    this._panes.set(terminal.id, pane);
    this._screens.append(pane.node);
    pane.begin();
  }

  /** @param {Terminal} terminal */
  _tab(terminal) {
    const isChosen = terminal.id === this._chosen;
    const choose = () => {
      this._chosen = terminal.id;
      this._drawTerminals();
    };
    return h(
      "span",
      { class: "terminal-tab", role: "presentation" },
      h(
        "button",
        { type: "button", role: "tab", "aria-selected": String(isChosen), on: { click: choose } },
        t("Terminal {number}", { number: terminal.number }),
      ),
      isChosen &&
        iconButton("close", t("End this terminal"), {
          on: { click: () => this._terminals.close(terminal) },
        }),
    );
  }
}

/** @param {string} text @param {string} label @param {() => void} click */
function tool(text, label, click) {
  return h(
    "button",
    { type: "button", class: "icon-button", "aria-label": label, title: label, on: { click } },
    text,
  );
}

function readSize() {
  const size = Number(deviceStorage.getItem(SIZE_KEY));
  return size >= MIN_SIZE && size <= MAX_SIZE ? size : DEFAULT_SIZE;
}

/** The size until it has been measured: a shell whose size changes erases lines when it draws its prompt again. */
function readCells() {
  const found = /^(\d{1,3})x(\d{1,3})$/.exec(tabStorage.getItem(CELLS_KEY) ?? "");
  return found && Number(found[1]) && Number(found[2])
    ? { cols: Number(found[1]), rows: Number(found[2]) }
    : FIRST_SIZE;
}
