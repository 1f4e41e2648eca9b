// A block of code in Mermaid's language becomes a drawing when it comes near the screen. The code stays a tap away.

import { codeOf } from "./code-block.js";
import { button, h } from "../dom.js";
import { drawDiagram, knownDiagram, MAX_SOURCE } from "./diagram-renderer.js";
import { LOCALE, t } from "../language.js";
import { stylesheet } from "../stylesheet.js";

/** @import { Problem, Result } from "./diagram-renderer.js" */

const NEAR = "800px"; // of the screen
const DARK = "(prefers-color-scheme: dark)";
const MAX_ALTERNATIVE = 200; // characters

/**
 * Show the diagram of `frame`, a block of code, as soon as it is near the screen.
 * @param {Element} frame
 * @param {string} source
 */
export function showDiagram(frame, source) {
  if (frame.querySelector(".drawing, .diagram-problem") || !source.trim()) return;
  stylesheet(new URL("../../style/diagram.css", import.meta.url).href);
  followScheme();
  const known = knownDiagram(source, matchMedia(DARK).matches);
  if (known) show(frame, source, known);
  else whenNear(frame, () => draw(frame, source));
}

let followsScheme = false;

/** Draw anew what is shown when the page becomes light or dark. */
function followScheme() {
  if (followsScheme) return;
  followsScheme = true;
  matchMedia(DARK).addEventListener("change", () => {
    for (const frame of document.querySelectorAll(".code.has-drawing")) draw(frame, codeOf(frame));
  });
}

/** @param {Element} frame @param {string} source */
async function draw(frame, source) {
  const isDark = matchMedia(DARK).matches;
  const result = knownDiagram(source, isDark) ?? (await drawDiagram(source, isDark));
  if (codeOf(frame) === source) show(frame, source, result);
}

/** @param {Element} frame @param {string} source @param {Result} result */
function show(frame, source, result) {
  const before = frame.querySelector(".drawing, .diagram-problem");
  const shown = "drawing" in result ? picture(source, result.drawing) : problemNote(result.problem);
  if (before) before.replaceWith(shown);
  else frame.querySelector(".code-bar")?.after(shown);
  const hasDrawing = "drawing" in result;
  frame.classList.toggle("has-drawing", hasDrawing);
  if (!hasDrawing) frame.querySelector(".diagram-source")?.remove();
  else if (!frame.querySelector(".diagram-source")) addSourceButton(frame);
}

/** @param {Element} frame */
function addSourceButton(frame) {
  const control = button(t("Source"), {
    class: "diagram-source",
    "aria-pressed": "false",
    on: {
      click: () => {
        const isShown = frame.classList.toggle("shows-source");
        control.setAttribute("aria-pressed", String(isShown));
      },
    },
  });
  frame.querySelector(".code-bar .copy")?.before(control);
}

/** @param {string} source @param {import("./diagram-renderer.js").Drawing} drawing */
function picture(source, { address, width, height, title }) {
  const image = h("img", { src: address, alt: alternative(source, title), width, height });
  const node = h("div", { class: "drawing", tabindex: "0" }, image);
  image.addEventListener("click", () => node.classList.toggle("is-full-size"));
  return node;
}

/** What the picture shows, for who does not see it. @param {string} source @param {string} title */
function alternative(source, title) {
  if (title.trim()) return title.trim().slice(0, MAX_ALTERNATIVE);
  const lines = source.split("\n").map((line) => line.trim());
  const kind = lines.find((line) => line && !/^(%%|---|\w+:)/.test(line)) ?? "";
  return t("Diagram: {kind}", { kind: kind.split(/\s/, 1)[0].slice(0, MAX_ALTERNATIVE) });
}

/** @param {Problem} problem */
function problemNote(problem) {
  return h("p", { class: "diagram-problem", role: "note" }, sentence(problem));
}

/** @param {Problem} problem */
function sentence(problem) {
  if (problem === "long")
    return t("The diagram is not drawn because it has more than {count} characters.", {
      count: MAX_SOURCE.toLocaleString(LOCALE),
    });
  if (problem === "slow") return t("The diagram is not drawn because it takes too long.");
  if (problem === "large") return t("The diagram is not drawn because it is too large.");
  if (problem === "unavailable")
    return t("The diagram is not drawn because the program that draws it could not be loaded.");
  const line = /line (\d{1,5})\b/.exec(problem.mistake)?.[1];
  return line
    ? t("The diagram is not drawn because Mermaid does not understand its line {line}.", { line })
    : t("The diagram is not drawn because Mermaid does not understand it.");
}

/** @param {Element} node @param {() => void} act called once `node` is near the screen */
function whenNear(node, act) {
  const observer = new IntersectionObserver(
    (entries) => {
      if (!entries.some((entry) => entry.isIntersecting)) return;
      observer.disconnect();
      act();
    },
    { rootMargin: NEAR },
  );
  observer.observe(node);
}
