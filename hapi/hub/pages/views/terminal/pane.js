// One terminal of the view: its screen, and what is said of it when there is nothing to type into.

import { t } from "../../lib/language.js";
import { button, fill, h } from "../../lib/dom.js";
import { errorMessage } from "../../lib/errors.js";
import { terminalScreen } from "../../lib/terminal-screen.js";

/**
 * @import { Screen } from "../../lib/terminal-screen.js"
 * @import { Terminal } from "../../data/hub/terminals.js"
 */

const WRITE_ACTIONS = {
  ended: t("New shell"),
  refused: t("Try again"),
  elsewhere: t("Show it here"),
};

/**
 * @param {Terminal} terminal
 * @param {object} options
 * @param {number} options.fontSize
 * @param {(data: string) => void} options.onData
 * @param {(address: string) => void} options.onLink
 * @param {() => void} options.attach
 * @param {() => void} options.onReady the screen is there
 */
export function terminalPane(terminal, { fontSize, onData, onLink, attach, onReady }) {
  const place = h("div", { class: "terminal-screen" });
  const note = h("div", { class: "terminal-note", role: "status", hidden: true });
  const node = h("div", { class: "terminal-pane", hidden: true }, place, note);
  /** @type {Screen | null} */
  let screen = null;
  /** @type {[string, boolean][]} what has come before the screen was there */
  let early = [];
  let shown = "";
  let isGone = false;

  async function begin() {
    try {
      const label = t("Terminal {number}", { number: terminal.number });
      const made = await terminalScreen(place, { fontSize, label, onData, onLink });
      if (isGone) {
        made.dispose();
        return;
      }
      screen = made;
      for (const [data, isReplay] of early) output(data, isReplay);
      early = [];
      onReady();
    } catch (error) {
      say(errorMessage(error), t("Try again"), begin);
    }
  }

  /** @param {string} data @param {boolean} isReplay */
  function output(data, isReplay) {
    if (!screen) early.push([data, isReplay]);
    else if (isReplay) screen.replay(data);
    else screen.write(data);
  }

  /** @param {string} text @param {string | null} label @param {() => void} action */
  function say(text, label, action) {
    note.hidden = text === "";
    fill(note, h("p", null, text), label && button(label, { on: { click: action } }));
  }

  /** @param {boolean} isConnected */
  function draw(isConnected) {
    const { phase, text } = terminal;
    const version = `${phase} ${text} ${isConnected}`;
    if (version === shown) return;
    shown = version;
    if (!isConnected) say(t("Connecting…"), null, () => {});
    else if (phase === "opening") say(t("Opening…"), null, () => {});
    else if (phase === "open") say("", null, () => {});
    else if (phase === "elsewhere")
      say(t("This terminal is open on another page."), WRITE_ACTIONS.elsewhere, attach);
    else say(text, WRITE_ACTIONS[phase], attach);
  }

  return {
    node,
    begin,
    output,
    draw,
    screen: () => screen,
    dispose() {
      isGone = true;
      screen?.dispose();
    },
  };
}
