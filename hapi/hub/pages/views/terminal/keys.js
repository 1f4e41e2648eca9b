// The keys that a phone's keyboard lacks, in a row below the terminal.

import { t } from "../../lib/language.js";
import { h } from "../../lib/dom.js";

/**
 * @typedef {object} KeyRow
 * @property {HTMLElement} node
 * @property {(data: string) => string} modified what is typed, as Ctrl and Alt of the row change it
 */

/** What each key sends; for a letter after CSI, applications may want SS3 instead. */
const CSI_KEYS = /** @type {const} */ ([
  ["←", t("Left"), "D"],
  ["↓", t("Down"), "B"],
  ["↑", t("Up"), "A"],
  ["→", t("Right"), "C"],
  ["Home", "Home", "H"],
  ["End", "End", "F"],
]);
const PLAIN_KEYS = /** @type {const} */ ([
  ["PgUp", t("Page up"), "\x1b[5~"],
  ["PgDn", t("Page down"), "\x1b[6~"],
  ["|", t("Vertical bar"), "|"],
  ["~", t("Tilde"), "~"],
  ["/", t("Slash"), "/"],
  ["-", t("Hyphen"), "-"],
]);

/**
 * @param {object} options
 * @param {(data: string) => void} options.send
 * @param {() => boolean} options.usesApplicationKeys
 * @returns {KeyRow}
 */
export function keyRow({ send, usesApplicationKeys }) {
  const held = { ctrl: false, alt: false };
  const ctrl = modifier("Ctrl", "ctrl");
  const alt = modifier("Alt", "alt");
  const node = h(
    "div",
    { class: "terminal-keys", role: "toolbar", "aria-label": t("Keys") },
    key("Esc", t("Escape"), () => "\x1b"),
    key("Tab", "Tab", () => "\t"),
    ctrl,
    alt,
    CSI_KEYS.slice(0, 4).map(csiKey),
    PLAIN_KEYS.slice(2).map(([text, label, data]) => key(text, label, () => data)),
    CSI_KEYS.slice(4).map(csiKey),
    PLAIN_KEYS.slice(0, 2).map(([text, label, data]) => key(text, label, () => data)),
  );

  /** @param {readonly [string, string, string]} key */
  function csiKey([text, label, letter]) {
    return key(text, label, () => {
      const modifiers = (held.alt ? 2 : 0) + (held.ctrl ? 4 : 0);
      if (modifiers) {
        release();
        return `\x1b[1;${modifiers + 1}${letter}`;
      }
      return `\x1b${usesApplicationKeys() ? "O" : "["}${letter}`;
    });
  }

  /** @param {string} text @param {string} label @param {() => string} data */
  function key(text, label, data) {
    return h(
      "button",
      {
        type: "button",
        class: "terminal-key",
        "aria-label": label,
        on: { pointerdown: keepFocus, click: () => send(modified(data())) },
      },
      text,
    );
  }

  /** @param {string} text @param {"ctrl" | "alt"} name */
  function modifier(text, name) {
    return h(
      "button",
      {
        type: "button",
        class: "terminal-key",
        "aria-pressed": "false",
        on: {
          pointerdown: keepFocus,
          click() {
            held[name] = !held[name];
            draw();
          },
        },
      },
      text,
    );
  }

  function release() {
    held.ctrl = held.alt = false;
    draw();
  }

  function draw() {
    ctrl.setAttribute("aria-pressed", String(held.ctrl));
    alt.setAttribute("aria-pressed", String(held.alt));
  }

  /** @param {string} data */
  function modified(data) {
    const { ctrl: isCtrl, alt: isAlt } = held;
    if (!isCtrl && !isAlt) return data;
    release();
    const controlled = isCtrl ? withControl(data) : data;
    return isAlt ? `\x1b${controlled}` : controlled;
  }

  return { node, modified };
}

/** The keyboard of a phone stays open while a key of the row is pressed. @param {Event} event */
function keepFocus(event) {
  event.preventDefault();
}

/** What Ctrl makes of one character; a longer text stays as it is. @param {string} data */
export function withControl(data) {
  if (data.length !== 1) return data;
  if (data === " ") return "\0";
  if (data === "?") return "\x7f";
  const code = data.toUpperCase().charCodeAt(0);
  return code >= 0x40 && code <= 0x5f ? String.fromCharCode(code & 0x1f) : data;
}
