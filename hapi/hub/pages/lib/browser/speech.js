// The browser's own speech functions (Web Speech API): dictation and reading aloud, where it has them.

import { LOCALE, t } from "../language.js";

/** @typedef {any} Recognition SpeechRecognition of the Web Speech API, which TypeScript does not know */

const MAX_UTTERANCE = 240; // characters; some browsers fall silent within longer ones
/** @type {Record<string, string>} */
const PROBLEMS = {
  "not-allowed": t(
    "The browser may not use the microphone. Allow it in the settings of the browser.",
  ),
  "service-not-allowed": t("The browser does not offer dictation on this page."),
  "audio-capture": t("No microphone was found."),
  network: t("The browser cannot reach its service for dictation."),
};

/** @returns {(new () => Recognition) | null} */
function recognitionClass() {
  const own = /** @type {any} */ (globalThis);
  return own.SpeechRecognition ?? own.webkitSpeechRecognition ?? null;
}

export function canListen() {
  return recognitionClass() !== null;
}

export function canSpeak() {
  return "speechSynthesis" in globalThis;
}

/**
 * Listen until `stop` is called or the browser ends it.
 * @param {object} callbacks
 * @param {(text: string) => void} callbacks.onText all that was heard so far
 * @param {(problem: string | null) => void} callbacks.onEnd with a sentence if it ended because of a problem
 * @returns {{ stop: () => void }}
 */
export function listen({ onText, onEnd }) {
  const Recogniser = recognitionClass();
  if (!Recogniser) throw new Error(t("This browser has no dictation."));
  const recognition = new Recogniser();
  /** @type {string | null} */
  let problem = null;
  recognition.continuous = true;
  recognition.interimResults = true;
  recognition.lang = LOCALE;
  recognition.onresult = (/** @type {any} */ { results }) =>
    onText([...results].map((result) => result[0].transcript).join(""));
  recognition.onerror = (/** @type {any} */ { error }) => {
    if (error !== "aborted" && error !== "no-speech")
      problem = PROBLEMS[error] ?? t("The dictation has ended because of an error.");
  };
  recognition.onend = () => onEnd(problem);
  recognition.start();
  return { stop: () => recognition.stop() };
}

/** Read a Markdown text aloud; resolves at its end. @param {string} markdown @returns {Promise<void>} */
export function speak(markdown) {
  const { speechSynthesis: voice } = globalThis;
  voice.cancel();
  const parts = utterances(spokenText(markdown));
  if (parts.length === 0) return Promise.resolve();
  return new Promise((resolve) => {
    parts.forEach((text, at) => {
      const utterance = new SpeechSynthesisUtterance(text);
      utterance.onerror = () => resolve();
      if (at === parts.length - 1) utterance.onend = () => resolve();
      voice.speak(utterance);
    });
  });
}

export function stopSpeaking() {
  globalThis.speechSynthesis.cancel();
}

/** What of a Markdown text is read: no code, no addresses, no marks. @param {string} markdown */
export function spokenText(markdown) {
  /** @type {string[]} */
  const spoken = [];
  let isCode = false;
  for (const line of markdown.split("\n")) {
    if (/^\s{0,3}(```|~~~)/.test(line)) {
      if (!isCode) spoken.push(t("Code."));
      isCode = !isCode;
    } else if (!isCode && !/^[\s|:-]*$/.test(line)) spoken.push(spokenLine(line));
  }
  return spoken.join("\n").trim();
}

/** @param {string} line */
function spokenLine(line) {
  return line
    .slice(0, 4000)
    .replace(/^\s{0,3}(#{1,6}|>|[-*+]|\d{1,9}[.)])\s+/, "")
    .replace(/!?\[([^\]]{0,300})\]\([^)\s]{0,2000}\)/g, "$1")
    .replace(/https?:\/\/\S+/g, "a link")
    .replace(/[*_`~|]+/g, " ")
    .replace(/\s+/g, " ")
    .replace(/ ([.,:;!?])/g, "$1")
    .trim();
}

/** A text in parts that end at sentences where that is possible. @param {string} text */
export function utterances(text) {
  /** @type {string[]} */
  const parts = [];
  let rest = text.trim();
  while (rest.length > MAX_UTTERANCE) {
    const head = rest.slice(0, MAX_UTTERANCE);
    const end = Math.max(head.lastIndexOf(". "), head.lastIndexOf("\n"), head.lastIndexOf("? "));
    const at = end > 0 ? end + 1 : head.lastIndexOf(" ") > 0 ? head.lastIndexOf(" ") : head.length;
    parts.push(rest.slice(0, at).trim());
    rest = rest.slice(at).trim();
  }
  return rest ? [...parts, rest] : parts;
}
