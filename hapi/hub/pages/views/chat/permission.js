// A permission request of the agent: buttons to answer it, or a form when the agent asks questions.

import { button, h, icon } from "../../lib/dom.js";
import { questionForm, questionsOf } from "./questions.js";

/** @import { BlockContext, Choice, Decision, PermissionRequest } from "../../data/types.js" */

/**
 * The way to answer a request.
 * @param {string} requestId
 * @param {PermissionRequest} request
 * @param {BlockContext} context
 */
export function permissionPrompt(requestId, request, context) {
  const questions = questionsOf(request);
  if (questions) return questionForm(requestId, request, questions, context);
  const decision = context.decisions.get(requestId);
  const isDisabled = isBusy(decision) || !context.active;
  /** @param {Choice} choice @param {string} label @param {string} look */
  const answer = (choice, label, look) =>
    button(label, {
      class: `${look}${isBusy(decision) && decision?.choice === choice ? " is-busy" : ""}`,
      disabled: isDisabled,
      "data-focus": `${requestId}/${choice}`,
      on: { click: () => context.decide(requestId, request, choice) },
    });
  return h(
    "div",
    { class: "permission", role: "group", "aria-label": `Permission for ${request.tool}` },
    h("p", { class: "permission-ask" }, icon("shield"), h("span", null, "Allow this?")),
    h(
      "div",
      { class: "permission-buttons" },
      answer("allow", "Allow", "primary"),
      answer("session", "Allow for session", ""),
      answer("deny", "Deny", "danger"),
    ),
    problemOf(decision),
  );
}

/** Whether an answer is on its way. @param {Decision | undefined} decision */
function isBusy(decision) {
  return Boolean(decision && !decision.error);
}

/** @param {Decision | undefined} decision */
function problemOf(decision) {
  return decision?.error && h("p", { class: "problem", role: "alert" }, decision.error);
}
