// A block of code: its language, its lines in colours, buttons that wrap its lines, number them and copy it.

import { copyText } from "../browser/clipboard.js";
import { fill, h, iconButton, icon } from "../dom.js";
import { t } from "../language.js";
import { deviceStorage } from "../storage.js";
import { languageNamed } from "./languages.js";

/** @import { Tokens } from "./highlight.js" */

const PART_LINES = 100; // of a long block of code
const MAX_LINES = 5000; // longer code has neither colours nor numbers
const LONG_LINE = 50; // characters; only longer lines can be wrapped
const COPIED_TIME = 1500; // ms
const DIAGRAM = "mermaid"; // the language that is drawn

/** @typedef {{ code: string, language: string, path: string, tokens: Tokens | null }} Source `code`: without the marks of what is drawn; `path`: of the file that a diff is about */
/** @type {WeakMap<Node, Source>} of blocks that are in the document */
const drawn = new WeakMap();

/** @typedef {"wraps" | "numbered"} Mode a class of the block, and the name under which the choice is kept */

/**
 * Code in a frame. It is plain at first; `colourCode` adds the colours when the text is complete.
 * @param {string} code
 * @param {string} language as the fence names it; may be ""
 * @param {string} [path] of the file that a diff is about
 */
export function codeBlock(code, language, path = "") {
  const content = h("code");
  const lines = code.split("\n");
  const canBeNumbered = lines.length > 1 && lines.length <= MAX_LINES;
  const isWide = lines.some((line) => line.length > LONG_LINE);
  const isNumbered = canBeNumbered && isChosen("numbered");
  const modes = [isWide && isChosen("wraps") && "wraps", isNumbered && "numbered"];
  const frame = h(
    "div",
    { class: ["code", ...modes].filter(Boolean).join(" ") },
    h(
      "div",
      { class: "code-bar" },
      h("span", { class: "language" }, language),
      isWide && modeButton("wrap", t("Wrap long lines"), "wraps"),
      canBeNumbered && modeButton("numbers", t("Show line numbers"), "numbered"),
      copyButton(),
    ),
    h("pre", { tabindex: "0" }, content),
  );
  drawn.set(frame, { code, language, path, tokens: null });
  fillCode(content, code, null, isNumbered);
  return frame;
}

/** A block that grows shows the code of another one from now on. @param {Node} frame @param {Node} wanted */
export function takeOver(frame, wanted) {
  const source = drawn.get(wanted);
  if (source) drawn.set(frame, source);
}

/**
 * Colour the blocks of code in `root` whose languages are known, and draw the diagrams.
 * @param {Element} root
 */
export function colourCode(root) {
  for (const frame of root.querySelectorAll(".code")) {
    const state = drawn.get(frame);
    // The frame may have been made while the language was being written.
    if (state) state.language = frame.querySelector(".language")?.textContent ?? "";
    if (state?.language === DIAGRAM) drawDiagram(frame, state.code);
    else if (state && languageNamed(state.language) === "diff") drawDiff(frame, state);
    else if (state && !state.tokens && languageNamed(state.language)) colour(frame, state);
  }
}

/** @param {Element} frame @param {string} source */
async function drawDiagram(frame, source) {
  const { showDiagram } = await import("./diagram.js");
  showDiagram(frame, source);
}

/** @param {Element} frame @param {Source} source */
async function drawDiff(frame, { code, path }) {
  const { diffCard } = await import("./diff.js");
  frame.className = "code diff-code"; // its lines have numbers of their own and are broken
  frame.querySelector("code")?.replaceChildren(diffCard(code, path));
}

/** The code of a block as it was written: what is shown has marks for invisible characters. @param {Element} frame */
export function codeOf(frame) {
  return drawn.get(frame)?.code ?? "";
}

/** @param {Element} frame @param {Source} state */
async function colour(frame, state) {
  const { code } = state;
  if (!code.trim()) return;
  const { highlight, knownTokens } = await import("./highlight.js");
  state.tokens = knownTokens(code, state.language) ?? (await highlight(code, state.language));
  if (state.tokens && drawn.get(frame) === state) await redraw(frame);
}

/** @param {Element} frame */
async function redraw(frame) {
  const content = frame.querySelector("code");
  const source = drawn.get(frame);
  if (!content || !source) return;
  const { highlightedLines } = await import("./highlight.js");
  const isNumbered = frame.classList.contains("numbered");
  fillCode(content, source.code, source.tokens, isNumbered, highlightedLines);
}

/**
 * Code in parts of some lines, each a box of its own: when one line is added, the browser lays out its part only. Lines
 * that have colours or numbers are elements.
 * @param {Element} content
 * @param {string} code
 * @param {Tokens | null} tokens
 * @param {boolean} isNumbered
 * @param {(code: string, tokens: Tokens | null) => (string | HTMLElement)[][]} [split]
 */
function fillCode(content, code, tokens, isNumbered, split = plainLines) {
  const lines = code.split("\n");
  if (lines.length > MAX_LINES || (!tokens && !isNumbered)) {
    fill(content, plainParts(code, lines));
    return;
  }
  const drawnLines = split(code, tokens).map((parts, index) =>
    h("span", { class: "line" }, parts, index < lines.length - 1 ? "\n" : ""),
  );
  content.replaceChildren(
    ...Array.from({ length: Math.ceil(drawnLines.length / PART_LINES) }, (_, part) =>
      h(
        "span",
        { class: "code-part" },
        drawnLines.slice(part * PART_LINES, (part + 1) * PART_LINES),
      ),
    ),
  );
}

/** @param {string} code */
function plainLines(code) {
  return code.split("\n").map((line) => [line]);
}

/** @param {string} code @param {string[]} lines */
function plainParts(code, lines) {
  if (lines.length <= PART_LINES) return [code];
  return Array.from({ length: Math.ceil(lines.length / PART_LINES) }, (_, part) => {
    const isLast = (part + 1) * PART_LINES >= lines.length;
    const text = lines.slice(part * PART_LINES, (part + 1) * PART_LINES).join("\n");
    return h("span", { class: "code-part" }, isLast ? text : `${text}\n`);
  });
}

/**
 * @param {import("../dom.js").IconName} name
 * @param {string} label
 * @param {Mode} mode
 */
function modeButton(name, label, mode) {
  const control = iconButton(name, label, {
    class: "code-mode",
    "aria-pressed": String(isChosen(mode)),
    on: { click: () => toggle(control, mode) },
  });
  return control;
}

/** @param {HTMLElement} control @param {Mode} mode */
function toggle(control, mode) {
  const frame = control.closest(".code");
  if (!frame) return;
  const isOn = frame.classList.toggle(mode);
  control.setAttribute("aria-pressed", String(isOn));
  choose(mode, isOn);
  if (mode === "numbered") redraw(frame);
}

function copyButton() {
  const control = iconButton("copy", t("Copy code"), { class: "copy" });
  control.addEventListener("click", () => {
    const frame = control.closest(".code");
    copyCode(frame ? codeOf(frame) : "", control);
  });
  return control;
}

/** @param {string} text @param {HTMLButtonElement} control */
async function copyCode(text, control) {
  if (!(await copyText(text))) return; // the browser does not allow it; the text can still be selected
  control.replaceChildren(icon("check"));
  setTimeout(() => control.replaceChildren(icon("copy")), COPIED_TIME);
}

/** Whether a person chose this for code the last time. @param {Mode} mode */
function isChosen(mode) {
  try {
    return deviceStorage.getItem(`hapi.code.${mode}`) === "yes";
  } catch {
    return false; // the browser keeps nothing
  }
}

/** @param {Mode} mode @param {boolean} isOn */
function choose(mode, isOn) {
  try {
    deviceStorage.setItem(`hapi.code.${mode}`, isOn ? "yes" : "no");
  } catch {
    // The browser keeps nothing: it counts for this block alone.
  }
}
