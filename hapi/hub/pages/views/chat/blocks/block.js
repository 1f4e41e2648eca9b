// Drawing the blocks of a conversation, one function for each kind.

import { fileMark, linkFiles } from "./file-links.js";
import { h, icon } from "../../../lib/dom.js";
import { GrowingMarkdown } from "../../../lib/markdown/growing-markdown.js";
import { t } from "../../../lib/language.js";
import { markdown, MORE_SHOWN } from "../../../lib/markdown/markdown.js";
import { dayLabel, isoTime, timeOfDay } from "../../../lib/format.js";
import { markControls, markedTextNode } from "../../../lib/bidi-controls.js";
import { copyButton } from "../../../lib/browser/clipboard.js";
import { codeBlock, colourCode } from "../../../lib/code/code-block.js";
import { reportOnce } from "../../../lib/errors.js";
import { rawText } from "../../../data/json.js";
import { fencedParts } from "../../../data/conversation/markup.js";
import { fileReferences } from "../../../data/work/file-references.js";
import { describeTool } from "../../../data/conversation/tools.js";
import { deliveryActions, deliveryLabel } from "./delivery.js";
import { foldable } from "./fold.js";
import { modelErrorNode } from "./model-error.js";
import { permissionPrompt } from "./permission.js";
import { planList, planTitle } from "./plan.js";
import { toolCard, updateToolOutput } from "./tool.js";
import { turnNode } from "./turn.js";

/** @import { Block, BlockContext, EventBlock, Json, PlanBlock, RequestBlock, TextBlock, ThoughtBlock, UserBlock } from "../../../data/types.js" */

const LONG_TEXT = 400; // characters of a text that can be copied on its own on a phone, too
const MAX_EXCERPT = 140; // characters
const FOLDED_PROMPT_LINES = 20;
const FOLDED_PROMPT_CHARACTERS = 2400;
const MAX_RAW = 20_000; // characters of a record that cannot be shown

/**
 * A node for `block`.
 * @param {Block} block
 * @param {BlockContext} context
 */
export function drawBlock(block, context) {
  const node = guardedNode(block, context);
  if (block.kind === "text" && !block.live) linkFiles(node, context.fileAddress);
  node.addEventListener(MORE_SHOWN, () => linkFiles(node, context.fileAddress));
  if (block.side) node.classList.add("side-work");
  node.dataset.kind = block.kind;
  return node;
}

/** @type {WeakMap<Element, GrowingMarkdown>} what grows in the node of a block */
const growing = new WeakMap();
/** @type {WeakMap<Element, string>} what a node has grown to show */
const texts = new WeakMap();

/**
 * Make the node of a block that grows show what was added, as long as it only grows; its record too, when it has come.
 * False if the node must be drawn anew.
 * @param {Element} node
 * @param {Block} block
 * @param {BlockContext} context
 */
export function updateBlock(node, block, context) {
  if (block.kind === "tool") return updateToolOutput(node, block, context);
  if ((block.kind !== "text" && block.kind !== "thought") || block.side) return false;
  const growth = growing.get(node);
  if (!growth?.grow(block.text)) return false;
  texts.set(node, block.text);
  if (!block.live) {
    growth.finish();
    if (block.kind === "text" && node instanceof HTMLElement) linkFiles(node, context.fileAddress);
  }
  markLive(node, Boolean(block.live));
  if (block.kind === "thought") updateThoughtSummary(node, block);
  return true;
}

/** The Markdown of a text, which grows if the agent is still saying it. @param {TextBlock | ThoughtBlock} block */
function blockText({ text, live }) {
  if (!live) return { content: markdown(text, fileMark), growth: null };
  const growth = new GrowingMarkdown(fileMark);
  growth.grow(text);
  return { content: growth.node, growth };
}

/** @param {Element} node @param {boolean} isLive */
function markLive(node, isLive) {
  if (isLive) node.setAttribute("aria-busy", "true");
  else node.removeAttribute("aria-busy");
}

/** @param {TextBlock} block */
function textNode(block) {
  const { content, growth } = blockText(block);
  /** @type {HTMLElement} */
  const node = h(
    "article",
    { class: "block text", "aria-label": t("Agent") },
    content,
    copyButton(t("Copy text"), () => texts.get(node) ?? block.text),
  );
  if (block.text.length > LONG_TEXT) node.classList.add("long");
  if (growth) growing.set(node, growth);
  markLive(node, Boolean(block.live));
  return node;
}

/** A node for `block`, also for one that cannot be shown as what it is. @param {Block} block @param {BlockContext} context */
function guardedNode(block, context) {
  try {
    return nodeOf(block, context);
  } catch (error) {
    reportOnce(`A block of kind ${block.kind} cannot be drawn`, error);
    return oddNode(block, block.key, context);
  }
}

/**
 * A record that cannot be shown; what it holds can be unfolded.
 * @param {Json} value
 * @param {string} key
 * @param {BlockContext} context
 */
function oddNode(value, key, context) {
  const raw = rawText(value);
  const shown = raw.length > MAX_RAW ? `${raw.slice(0, MAX_RAW)}…` : raw;
  const node = h(
    "details",
    { class: "block odd", open: context.expanded.get(key) ?? false },
    h("summary", { class: "muted" }, t("This record cannot be shown.")),
    h("pre", { class: "tool-text plain", tabindex: "0" }, shown),
  );
  node.addEventListener("toggle", () => context.expanded.set(key, node.open));
  return node;
}

/** @param {Block} block @param {BlockContext} context @returns {HTMLElement} */
function nodeOf(block, context) {
  switch (block.kind) {
    case "user":
      return userNode(block, context);
    case "text":
      return textNode(block);
    case "thought":
      return thoughtNode(block, context);
    case "tool":
      return toolCard(block, context);
    case "request":
      return requestNode(block, context);
    case "plan":
      return planNode(block);
    case "event":
      return block.details === undefined
        ? h("p", { class: `block event ${block.tone}` }, eventText(block, context))
        : modelErrorNode(block, context);
    case "turn":
      return turnNode(block);
    case "image":
      return h(
        "figure",
        { class: "block image" },
        context.image(block),
        h("figcaption", { class: "muted" }, block.fileName, " ", context.save(block)),
      );
    case "odd":
      return oddNode(block.value, block.key, context);
    case "day":
      return h("p", { class: "block day" }, h("span", null, dayLabel(block.at)));
  }
}

/** @param {EventBlock} block @param {BlockContext} context */
function eventText({ text, mode }, { modeName }) {
  return mode === undefined || !modeName
    ? text
    : t("Permission mode changed to {mode}", { mode: modeName(mode) });
}

/** @param {UserBlock} block @param {BlockContext} context */
function userNode(block, context) {
  const label = deliveryLabel(block);
  const time = h("time", { datetime: isoTime(block.at) }, timeOfDay(block.at));
  return h(
    "article",
    { class: `block user ${block.state}`, "aria-label": t("You"), "data-state": block.state },
    promptText(block, context),
    block.attachments?.map((attachment) => context.attachedPicture(attachment)),
    block.files.length > 0 && h("p", { class: "files muted" }, block.files.join(", ")),
    h(
      "div",
      { class: "under" },
      label
        ? h("span", null, label)
        : [time, block.text && copyButton(t("Copy message"), () => block.text)],
    ),
    deliveryActions(block, context),
  );
}

/** What a person wrote; a long text is folded. @param {UserBlock} block @param {BlockContext} context */
function promptText({ key, text }, context) {
  const lines = text.split("\n");
  /** @param {boolean} isCut */
  const draw = (isCut) => {
    const shown = isCut
      ? lines.slice(0, FOLDED_PROMPT_LINES).join("\n").slice(0, FOLDED_PROMPT_CHARACTERS)
      : text;
    const bubble = h("div", { class: `bubble ${isCut ? "cut" : ""}`.trim() }, promptParts(shown));
    colourCode(bubble);
    return bubble;
  };
  const isLong = lines.length > FOLDED_PROMPT_LINES + 2 || text.length > FOLDED_PROMPT_CHARACTERS;
  return isLong ? foldable(`${key}/prompt`, text, context, draw) : draw(false);
}

/** A prompt as it was typed, with its fenced blocks of code as such. @param {string} text */
function promptParts(text) {
  const parts = fencedParts(text);
  return parts.map(({ text: shown, language }, index) =>
    language === undefined
      ? markedTextNode(shown)
      : codeBlock(shown, language, pathAbove(parts[index - 1]?.text ?? "")),
  );
}

/** The path of the file that the line above a diff names, as comments on its lines do. @param {string} text */
function pathAbove(text) {
  return fileReferences(text.slice(text.lastIndexOf("\n") + 1))[0]?.path ?? "";
}

/** @param {ThoughtBlock} block @param {BlockContext} context */
function thoughtNode(block, context) {
  const { content, growth } = blockText(block);
  const node = h(
    "details",
    { class: "block thought", open: context.expanded.get(block.key) ?? false },
    h(
      "summary",
      null,
      icon("thought"),
      h("span", { class: "thought-label" }, thoughtLabel(block)),
      h("span", { class: "excerpt" }, markedTextNode(excerpt(block.text))),
    ),
    content,
  );
  if (growth) growing.set(node, growth);
  markLive(node, block.live);
  node.addEventListener("toggle", () => context.expanded.set(block.key, node.open));
  return node;
}

/** @param {ThoughtBlock} block */
function thoughtLabel({ live }) {
  return live ? t("Thinking…") : t("Thought");
}

/** @param {Element} node @param {ThoughtBlock} block */
function updateThoughtSummary(node, block) {
  const label = node.querySelector(".thought-label");
  const shown = node.querySelector(".excerpt");
  if (label) label.textContent = thoughtLabel(block);
  if (shown) shown.textContent = markControls(excerpt(block.text));
}

/** @param {string} text */
function excerpt(text) {
  return text
    .slice(0, 4 * MAX_EXCERPT)
    .replace(/[*_`#>\s]+/g, " ")
    .trim()
    .slice(0, MAX_EXCERPT);
}

/** @param {PlanBlock} block */
function planNode({ entries }) {
  return h(
    "section",
    { class: "block plan", "aria-label": t("Plan") },
    h("div", { class: "plan-head" }, icon("list"), planTitle(entries)),
    planList(entries),
  );
}

/** A request that belongs to no tool call. @param {RequestBlock} block @param {BlockContext} context */
function requestNode(block, context) {
  const { tool, arguments: input } = block.request;
  if (typeof input?.plan === "string") {
    return h(
      "section",
      { class: "block tool asks", "aria-label": t("Plan of the agent") },
      h(
        "header",
        { class: "tool-head" },
        h("span", { class: "tool-name" }, describeTool({ name: tool }).title),
      ),
      h("div", { class: "tool-plan" }, markdown(input.plan)),
      permissionPrompt(block.requestId, block.request, context),
    );
  }
  const hasQuestions = Array.isArray(input?.questions);
  return toolCard(
    {
      ...block,
      kind: "tool",
      name: tool,
      toolKind: block.request.kind,
      input: hasQuestions ? undefined : input,
    },
    context,
  );
}
