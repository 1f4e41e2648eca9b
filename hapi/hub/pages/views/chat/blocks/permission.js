// A permission request of the agent: buttons to answer it, or a form when the agent asks questions.

import { button, endsComposition, h, hasFinePointer, icon, linkButton } from "../../../lib/dom.js";
import { t } from "../../../lib/language.js";
import { markdown } from "../../../lib/markdown/markdown.js";
import { relativePath } from "../../../data/conversation/tools.js";
import { enteredAnswer, keepAnswer } from "../../../data/composer/answer-drafts.js";
import {
  allowsOnce,
  choiceOf,
  extraContent,
  isEdit,
  isPlanApproval,
  isRejection,
  namedOptions,
} from "../../../data/sessions/permissions.js";
import { questionForm, questionsOf } from "./questions.js";

/** @import { BlockContext, Choice, Decision, PermissionOption, PermissionRequest } from "../../../data/types.js" */

const MAX_LABEL = 200; // characters of an option's name
const REASON = "reason"; // the field of what was entered

/**
 * The way to answer a request.
 * @param {string} requestId
 * @param {PermissionRequest} request
 * @param {BlockContext} context
 */
export function permissionPrompt(requestId, request, context) {
  if (request.terminalOnly)
    return h(
      "div",
      { class: "permission", role: "group" },
      h(
        "p",
        { class: "permission-ask" },
        icon("shield"),
        t("The agent asks in its terminal. Answer there."),
      ),
    );
  const questions = questionsOf(request);
  if (questions) return questionForm(requestId, request, questions, context);
  const decision = context.decisions.get(requestId);
  const isDisabled = isBusy(decision) || !context.active || Boolean(context.refusal);
  /** @param {Choice} choice @param {string} label @param {string} look @param {string} [reason] */
  const answer = (choice, label, look, reason) =>
    button(label.length > MAX_LABEL ? `${label.slice(0, MAX_LABEL - 1)}…` : label, {
      title: label.length > MAX_LABEL && label,
      class: `${look}${isBusy(decision) && decision?.choice === choice ? " is-busy" : ""}`,
      disabled: isDisabled,
      "data-focus": `${requestId}/${choice}`,
      on: { click: () => context.decide(requestId, request, choice, undefined, reason) },
    });
  const options = namedOptions(request);
  const { text, paths } = extraContent(request);
  const isPlan = isPlanApproval(request);
  return h(
    "div",
    {
      class: "permission",
      role: "group",
      "aria-label": t("Permission for {tool}", { tool: request.tool }),
    },
    text !== null && h("div", { class: "permission-text" }, markdown(text)),
    paths.length > 0 &&
      h(
        "pre",
        { class: "permission-paths" },
        paths.map((path) => relativePath(path, context.directory)).join("\n"),
      ),
    h(
      "p",
      { class: "permission-ask" },
      icon("shield"),
      h("span", null, questionOf(options, isPlan)),
    ),
    h(
      "div",
      { class: `permission-buttons ${options.length > 0 ? "named" : ""}` },
      options.length > 0
        ? options.map((option) => answer(choiceOf(option), option.name, lookOf(option, options)))
        : [
            answer("allow", isPlan ? t("Approve plan") : t("Allow"), "primary"),
            !isPlan && answer("session", t("Allow for session"), ""),
            isEdit(request) && answer("edits", t("Allow all edits"), ""),
            answer("deny", t("Deny"), "danger"),
          ],
      options.length > 0 && !options.some(isRejection) && answer("deny", t("Deny"), "danger"),
    ),
    reasonField(requestId, request, isDisabled, context),
    context.refusal && h("p", { class: "hint" }, context.refusal),
    decision?.error && h("p", { class: "problem", role: "alert" }, decision.error),
  );
}

/** @param {PermissionOption[]} options @param {boolean} isPlan */
function questionOf(options, isPlan) {
  if (options.length > 0) return t("How should the agent go on?");
  return isPlan ? t("Approve this plan?") : t("Allow this?");
}

/** @param {PermissionOption} option @param {PermissionOption[]} options */
function lookOf(option, options) {
  if (isRejection(option)) return "danger";
  return options.filter(allowsOnce).length === 1 && allowsOnce(option) ? "primary" : "";
}

/**
 * The way to deny with words, which the agent gets as its next prompt.
 * @param {string} requestId
 * @param {PermissionRequest} request
 * @param {boolean} disabled
 * @param {BlockContext} context
 */
function reasonField(requestId, request, disabled, context) {
  const key = `${requestId}/reason`;
  const text = h("textarea", {
    rows: "2",
    "aria-label": t("What the agent should do instead"),
    placeholder: t("What should the agent do instead?"),
    "data-focus": key,
    disabled,
    on: {
      input: () => keepAnswer(requestId, REASON, [text.value]),
      keydown: (/** @type {KeyboardEvent} */ event) => {
        if (event.key !== "Enter" || event.shiftKey || !hasFinePointer() || endsComposition(event))
          return;
        event.preventDefault();
        deny();
      },
    },
  });
  text.value = enteredAnswer(requestId, REASON)?.[0] ?? "";
  const deny = () => {
    const reason = text.value.trim();
    if (!reason) {
      text.focus();
      return;
    }
    context.decide(requestId, request, "deny", undefined, reason);
  };
  const form = h(
    "div",
    { class: "permission-reason", hidden: !(context.expanded.get(key) ?? Boolean(text.value)) },
    text,
    button(t("Deny with this reason"), {
      class: "danger",
      disabled,
      "data-focus": `${requestId}/deny-with-reason`,
      on: { click: deny },
    }),
  );
  const open = linkButton(t("Deny with a reason…"), toggle, {
    class: "link permission-reason-link",
    "aria-expanded": String(!form.hidden),
    disabled,
  });

  function toggle() {
    form.hidden = !form.hidden;
    context.expanded.set(key, !form.hidden);
    open.setAttribute("aria-expanded", String(!form.hidden));
    if (form.hidden) return;
    form.scrollIntoView({ block: "nearest" });
    text.focus({ preventScroll: true });
  }

  return [open, form];
}

/** Whether an answer is on its way. @param {Decision | undefined} decision */
function isBusy(decision) {
  return Boolean(decision && !decision.error);
}
