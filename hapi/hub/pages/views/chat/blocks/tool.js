// The card of a tool call: what it is, how it goes, what came out. Long texts are folded.

import { h, icon } from "../../../lib/dom.js";
import { t } from "../../../lib/language.js";
import { markdown } from "../../../lib/markdown/markdown.js";
import { duration, ownValue } from "../../../lib/format.js";
import { changesIn, diffFiles, isDiff, withoutFileHead } from "../../../data/conversation/diffs.js";
import {
  describeTool,
  isQuestionTool,
  outputText,
  relativePath,
  toolDuration,
} from "../../../data/conversation/tools.js";
import { diffCard } from "../../../lib/code/diff.js";
import { foldable } from "./fold.js";
import { permissionPrompt } from "./permission.js";
import { planList } from "./plan.js";
import { questionsOf } from "./questions.js";

/**
 * @import { IconName } from "../../../lib/dom.js"
 * @import { Change, FileCounts } from "../../../data/conversation/diffs.js"
 * @import { Detail } from "../../../data/conversation/tools.js"
 * @import { BlockContext, ToolBlock } from "../../../data/types.js"
 */

const FOLDED_LINES = 10;
const FOLDED_CHARACTERS = 1200;
const MAX_OPTION = 60; // characters of the name of the option that was chosen
const MIN_SHOWN_DURATION = 1000; // ms

/** @type {Record<string, IconName>} */
const ICONS = { think: "thought", read: "list", search: "search", edit: "edit", write: "edit" };
/** @type {Record<string, string>} */
const STATUS_LABELS = {
  pending: t("Waiting"),
  in_progress: t("Running"),
  completed: t("Done"),
  failed: t("Failed"),
  asks: t("Needs approval"),
};
/** @type {Record<string, string>} */
const DECISION_LABELS = { denied: t("Denied"), canceled: t("Canceled") };

/** @type {WeakMap<Element, string>} card -> the version of the records that it shows besides its growing output */
const recordedVersions = new WeakMap();

/**
 * Make the card of a running tool show its output so far. False if more than the output has changed.
 * @param {Element} card
 * @param {ToolBlock} block
 * @param {BlockContext} context
 */
export function updateToolOutput(card, block, context) {
  const { recordedVersion, request } = block;
  if (request || recordedVersion === undefined || recordedVersions.get(card) !== recordedVersion)
    return false;
  const output = outputNode(block, context);
  const shown = card.querySelector(".tool-output");
  if (shown && output) shown.replaceWith(output);
  else if (output) card.append(output);
  else shown?.remove();
  return true;
}

/** @param {ToolBlock} block @param {BlockContext} context */
export function toolCard(block, context) {
  const card = cardNode(block, context);
  if (block.recordedVersion !== undefined) recordedVersions.set(card, block.recordedVersion);
  return card;
}

/** @param {ToolBlock} block @param {BlockContext} context */
function cardNode(block, context) {
  const { requestId, request } = block;
  const status = request ? "asks" : statusOf(block);
  const { title: ownTitle, details: described } = describeTool(block, context.directory);
  const questions = questionsOf(request);
  const isQuestion = questions !== null;
  const answers = isQuestionTool(block) ? outputText(block.output).trimEnd() : "";
  // The form below shows the questions, or what was answered to them.
  const isRepeated =
    questions?.some(({ question }) => question === ownTitle) ||
    (answers !== ownTitle && answers.includes(ownTitle.replace(/…$/, "")));
  const title = isRepeated ? t("Question") : ownTitle;
  const changes = changesIn(block.changes);
  const captions = described.flatMap(({ form, text }) => (form === "diff" ? diffFiles(text) : []));
  const named = captions.map(({ path }) => relativePath(path, context.directory));
  const details = isQuestion
    ? []
    : described.filter(
        ({ form, text }) =>
          !(answers !== "" && answers.includes(text)) &&
          (changes.length === 0 || !["diff", "path"].includes(form)) &&
          !(form === "path" && named.includes(text)),
      );
  return h(
    "section",
    {
      class: `block tool ${status}`,
      "aria-label": t("Tool: {title}", { title }),
      "data-status": status,
    },
    h(
      "header",
      { class: "tool-head" },
      h("span", { class: "tool-icon" }, icon(iconOf(block, isQuestion))),
      h("span", { class: "tool-name" }, title),
      statusMark(block, status, isQuestion),
    ),
    details.length > 0 &&
      h(
        "div",
        { class: "tool-input" },
        details.map((detail) => [
          detail.form === "diff" && diffCaption(diffFiles(detail.text), title, context),
          foldedText(`${block.key}/input/${detail.form}`, detail, context),
        ]),
      ),
    changes.map((change, index) =>
      h(
        "div",
        { class: "tool-input" },
        diffCaption([change], title, context),
        foldedText(
          `${block.key}/change/${index}`,
          { text: withoutFileHead(change.text), form: "diff", path: change.path },
          context,
        ),
      ),
    ),
    block.progress &&
      status === "in_progress" &&
      h("p", { class: "muted tool-progress" }, block.progress),
    block.output !== undefined && !isQuestion && outputNode(block, context),
    block.decision?.status === "denied" &&
      block.decision.reason &&
      h(
        "p",
        { class: "muted tool-progress" },
        t("Reason: {reason}", { reason: block.decision.reason }),
      ),
    request && requestId !== undefined && permissionPrompt(requestId, request, context),
  );
}

/** How a call goes. Some agents do not tell that a call runs once it is allowed. @param {ToolBlock} block */
function statusOf({ status = "pending", decision }) {
  return status === "pending" && decision?.status === "approved" ? "in_progress" : status;
}

/** @param {ToolBlock} block @param {boolean} isQuestion @returns {IconName} */
function iconOf(block, isQuestion) {
  if (isQuestion || isQuestionTool(block)) return "question";
  return ownValue(ICONS, block.toolKind) ?? "tool";
}

/** @param {ToolBlock} block @param {string} status @param {boolean} isQuestion */
function statusMark(block, status, isQuestion) {
  const { decision } = block;
  const time = toolDuration(block);
  const refusal = ownValue(DECISION_LABELS, decision?.status);
  const isAllowedForSession = decision?.decision === "approved_for_session";
  const label =
    status === "asks"
      ? isQuestion
        ? t("Needs an answer")
        : STATUS_LABELS.asks
      : (refusal ?? ownValue(STATUS_LABELS, status) ?? status);
  return [
    decision?.option &&
      h("span", { class: "muted tool-allowed" }, String(decision.option).slice(0, MAX_OPTION)),
    isAllowedForSession && h("span", { class: "muted tool-allowed" }, t("Allowed for session")),
    h(
      "span",
      { class: `tool-status ${refusal ? "failed" : status}` },
      refusal ? icon("cross") : isQuestion ? icon("question") : statusIcon(status),
      label,
      time !== null && time >= MIN_SHOWN_DURATION && ` · ${duration(time)}`,
    ),
  ];
}

/** @param {string} status */
function statusIcon(status) {
  switch (status) {
    case "failed":
      return icon("cross");
    case "completed":
      return icon("check");
    case "asks":
      return icon("shield");
    default:
      return h("span", { class: "spinner" });
  }
}

/** @param {Change[]} changes */
function allOf(changes) {
  return changes
    .map((change) => change.text)
    .join("\n")
    .trimEnd();
}

/** @param {ToolBlock} block @param {BlockContext} context */
function outputNode(block, context) {
  const text = outputText(block.output).trimEnd();
  const changes = changesIn(block.changes);
  const isShown =
    (changes.length > 0 && text === allOf(changes)) ||
    text === block.input?.plan?.trimEnd?.() ||
    (isQuestionTool(block) && text === describeTool(block).title);
  if (!text || isShown) return null;
  const form = isDiff(text) ? "diff" : "plain";
  const isGrowing = block.recordedVersion !== undefined;
  return h(
    "div",
    { class: block.failed ? "tool-output failed" : "tool-output", "aria-label": t("Result") },
    form === "diff" && diffCaption(diffFiles(text), "", context),
    foldedText(`${block.key}/output`, { text, form, isGrowing }, context),
  );
}

/**
 * A text that shows its first lines when it is long, and all of it at the press of a button.
 * @param {string} key
 * @param {Detail} detail
 * @param {BlockContext} context
 * @returns {HTMLElement}
 */
function foldedText(key, detail, context) {
  const { text, form, isGrowing, steps, path } = detail;
  if (steps) return h("div", { class: "tool-plan" }, planList(steps));
  if (form === "markdown") return h("div", { class: "tool-plan" }, markdown(text));
  const lines = text.split("\n");
  const isLong = lines.length > FOLDED_LINES + 2 || text.length > FOLDED_CHARACTERS;
  /** @param {boolean} isCut */
  const draw = (isCut) => {
    const shown = isCut ? cutText(lines, isGrowing) : text;
    const props = { class: `tool-text ${form} ${isCut ? "cut" : ""}`, tabindex: "0" };
    return form === "diff"
      ? h("div", props, diffCard(shown, path ?? diffFiles(text)[0]?.path ?? ""))
      : h("pre", props, shown);
  };
  return isLong ? foldable(key, text, context, draw) : draw(false);
}

/** The first lines of a text, or its last ones while it grows. @param {string[]} lines @param {boolean | undefined} isGrowing */
function cutText(lines, isGrowing) {
  return isGrowing
    ? lines.slice(-FOLDED_LINES).join("\n").slice(-FOLDED_CHARACTERS)
    : lines.slice(0, FOLDED_LINES).join("\n").slice(0, FOLDED_CHARACTERS);
}

/**
 * The files of a diff with how many lines it adds and removes; a name that the title tells is left out.
 * @param {FileCounts[]} files
 * @param {string} title
 * @param {BlockContext} context
 */
function diffCaption(files, title, { directory }) {
  return files.map(({ path, added, removed }) => {
    const place = relativePath(path, directory);
    return h(
      "p",
      { class: "diff-caption" },
      place && !title.endsWith(place) && h("span", { class: "diff-path" }, place),
      h("span", { class: "plus" }, `+${added}`),
      h("span", { class: "minus" }, `−${removed}`),
    );
  });
}
