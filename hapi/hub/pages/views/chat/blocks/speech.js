// Dictation into the composer, and answers that are read aloud.

import { iconButton } from "../../../lib/dom.js";
import { t } from "../../../lib/language.js";
import { canListen, canSpeak, listen, speak, stopSpeaking } from "../../../lib/browser/speech.js";

/** @import { Block } from "../../../data/types.js" */

/** The button that is reading. @type {HTMLButtonElement | null} */
let reading = null;

/** A button that reads a text aloud, and stops that; null where the browser cannot. @param {() => string} text */
export function readAloudButton(text) {
  if (!canSpeak()) return null;
  const control = iconButton("speaker", t("Read aloud"), {
    class: "copy-button",
    on: { click: () => (reading === control ? stop() : read()) },
  });

  function stop() {
    stopSpeaking();
    mark(control, false);
  }

  async function read() {
    if (reading) mark(reading, false);
    mark(control, true);
    await speak(text());
    mark(control, false);
  }

  return control;
}

/**
 * Reads the answer of each turn that ends while the page is open, if the person wants that.
 * @param {() => boolean} isWanted
 */
export function answerReader(isWanted) {
  /** @type {string | null} the turn that ended last; null until the conversation has been read */
  let known = null;
  return {
    /** @param {readonly Block[]} blocks @param {boolean} ready whether the conversation has been read */
    update(blocks, ready) {
      if (!ready) return;
      const turn = blocks.findLast((block) => block.kind === "turn");
      const key = turn?.key ?? "";
      const hasEnded = known !== null && key !== known;
      known = key;
      if (hasEnded && turn?.kind === "turn" && turn.answer && canSpeak() && isWanted())
        speak(turn.answer.text);
    },
    stop() {
      if (canSpeak()) stopSpeaking();
    },
  };
}

/** @param {HTMLButtonElement} control @param {boolean} isReading */
function mark(control, isReading) {
  if (isReading) reading = control;
  else if (reading === control) reading = null;
  const label = isReading ? t("Stop reading") : t("Read aloud");
  control.setAttribute("aria-label", label);
  control.title = label;
  control.classList.toggle("is-on", isReading);
}

/**
 * A button that writes what is said; null where the browser cannot.
 * @param {object} options
 * @param {() => string} options.text of the box
 * @param {(text: string) => void} options.write
 * @param {(text: string, options?: { tone?: "plain" | "bad" }) => void} options.notify
 */
export function dictation({ text, write, notify }) {
  if (!canListen()) return null;
  /** @type {{ stop: () => void } | null} */
  let heard = null;
  const node = iconButton("microphone", t("Dictate"), {
    "aria-pressed": "false",
    on: { click: () => (heard ? heard.stop() : begin()) },
  });

  function begin() {
    const before = text();
    const gap = before && !/\s$/.test(before) ? " " : "";
    heard = listen({
      onText: (said) => {
        if (heard) write(before + gap + said);
      },
      onEnd: (problem) => {
        heard = null;
        show();
        if (problem) notify(problem, { tone: "bad" });
      },
    });
    show();
  }

  function show() {
    node.setAttribute("aria-pressed", String(heard !== null));
    node.classList.toggle("is-on", heard !== null);
  }

  return {
    node,
    /** The message is sent: what is said from now on is not written. */
    stop() {
      const ending = heard;
      heard = null;
      ending?.stop();
      show();
    },
  };
}
