// A terminal on the screen: xterm.js, loaded when the first terminal is opened, and made to work without inline styles.
//
// xterm.js writes style sheets into `<style>` elements and sets the `style` attribute of cells, both of which the page's
// content policy forbids. Both are diverted to what a policy allows: constructed style sheets, and the CSSOM.

import { stylesheet } from "./stylesheet.js";
import { vendoredAddress } from "./vendored.js";

const SCROLLBACK = 5000; // lines
const THEME = {
  background: "#15151b",
  foreground: "#ececf3",
  cursor: "#9d9dff",
  selectionBackground: "#50507f",
};

/** @type {Promise<any[]> | null} */
let loading = null;

async function load() {
  loading ??= Promise.all([
    import(vendoredAddress("xterm/xterm.mjs")),
    import(vendoredAddress("xterm-fit/addon-fit.mjs")),
    import(vendoredAddress("xterm-links/addon-web-links.mjs")),
    stylesheet(vendoredAddress("xterm/xterm.css")),
  ]).catch((error) => {
    loading = null; // the next terminal tries again
    throw error;
  });
  return loading;
}

/**
 * @typedef {object} Screen
 * @property {(data: string) => void} write
 * @property {(data: string) => void} replay show this and nothing else
 * @property {(text: string) => void} paste
 * @property {() => { cols: number, rows: number }} fit to the room there is
 * @property {(size: number) => void} setFontSize in pixels
 * @property {() => void} focus
 * @property {() => boolean} usesApplicationKeys whether arrow keys are sent as applications want them
 * @property {() => void} dispose
 */

/**
 * @param {HTMLElement} node
 * @param {{ fontSize: number, label: string, onData: (data: string) => void, onLink: (address: string) => void }} options
 * @returns {Promise<Screen>}
 */
export async function terminalScreen(node, { fontSize, label, onData, onLink }) {
  const [{ Terminal }, { FitAddon }, { WebLinksAddon }] = await load();
  const follow = (/** @type {Event} */ _, /** @type {string} */ address) => {
    if (isWebAddress(address)) onLink(address);
  };
  const terminal = new Terminal({
    fontSize,
    fontFamily: getComputedStyle(document.documentElement).getPropertyValue("--mono"),
    scrollback: SCROLLBACK,
    cursorBlink: false,
    theme: THEME,
    minimumContrastRatio: 4.5,
    screenReaderMode: false,
    linkHandler: { activate: follow, allowNonHttpProtocols: false },
    windowOptions: {}, // no program may move the window or read its title
  });
  const fit = new FitAddon();
  terminal.loadAddon(fit);
  terminal.loadAddon(new WebLinksAddon(follow));
  withoutStyleElements(() => terminal.open(node));
  styleCellsByObjectModel(terminal);
  terminal.textarea?.setAttribute("aria-label", label);
  let replays = 0; // that are not shown yet
  terminal.onData((/** @type {string} */ data) => {
    // What programs have asked the terminal at that time is not answered again: the shell would take it for typed.
    if (replays === 0) onData(data);
  });
  return {
    write: (data) => terminal.write(data),
    replay(data) {
      replays += 1;
      terminal.reset();
      terminal.write(data, () => (replays -= 1));
    },
    paste: (text) => terminal.paste(text),
    fit() {
      fit.fit();
      return { cols: terminal.cols, rows: terminal.rows };
    },
    setFontSize(size) {
      terminal.options.fontSize = size;
    },
    focus: () => terminal.focus(),
    usesApplicationKeys: () => terminal.modes.applicationCursorKeysMode,
    dispose: () => terminal.dispose(),
  };
}

/** @param {string} address */
export function isWebAddress(address) {
  return URL.canParse(address) && ["http:", "https:"].includes(new URL(address).protocol);
}

const create = Document.prototype.createElement;

/** The style elements that are created while `work` runs become elements that hold no style. @param {() => void} work */
function withoutStyleElements(work) {
  document.createElement = /** @type {typeof document.createElement} */ (
    (/** @type {string} */ tag) => (tag === "style" ? styleHolder() : create.call(document, tag))
  );
  try {
    work();
  } finally {
    Reflect.deleteProperty(document, "createElement");
  }
}

/** What stands for a style element: its text applies by a constructed style sheet. */
function styleHolder() {
  const element = create.call(document, "span");
  element.hidden = true;
  const sheet = new CSSStyleSheet();
  document.adoptedStyleSheets = [...document.adoptedStyleSheets, sheet];
  Object.defineProperty(element, "textContent", {
    set(value) {
      sheet.replaceSync(String(value));
    },
  });
  element.remove = function remove() {
    document.adoptedStyleSheets = document.adoptedStyleSheets.filter((other) => other !== sheet);
    Element.prototype.remove.call(this);
  };
  return element;
}

/** Have the cells that need a style of their own get it by the CSSOM. @param {any} terminal that is open */
function styleCellsByObjectModel(terminal) {
  const { _rowFactory: rowFactory } = terminal._core._renderService._renderer.value;
  Object.getPrototypeOf(rowFactory)._addStyle = addStyle;
}

/** @param {HTMLElement} element @param {string} style declarations */
function addStyle(element, style) {
  element.style.cssText += `${style};`;
}
