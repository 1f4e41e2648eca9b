// A permission request of the agent: buttons to answer it, or a form when the agent asks questions.

import { button, h, icon } from "../../lib/dom.js";

/** @import { Answers, BlockContext, Choice, Decision, Json, PermissionRequest } from "../../data/types.js" */

/**
 * The way to answer a request.
 * @param {string} requestId
 * @param {PermissionRequest} request
 * @param {BlockContext} context
 */
export function permissionPrompt(requestId, request, context) {
  if (Array.isArray(request.arguments?.questions)) return questionForm(requestId, request, context);
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

/** @param {string} requestId @param {PermissionRequest} request @param {BlockContext} context */
function questionForm(requestId, request, context) {
  const decision = context.decisions.get(requestId);
  const disabled = isBusy(decision) || !context.active;
  /** @type {Json[]} */
  const questions = request.arguments.questions.filter(
    (/** @type {Json} */ question) => typeof question?.question === "string",
  );
  const fields = questions.map((question, index) =>
    questionField(question, `${requestId}-${index}`),
  );
  const form = h(
    "form",
    { class: "permission questions", "aria-label": "Questions of the agent" },
    fields.map((field) => field.node),
    h(
      "div",
      { class: "permission-buttons" },
      button("Answer", { type: "submit", class: "primary", disabled }),
      button("Decline", {
        class: "danger",
        disabled,
        on: { click: () => context.decide(requestId, request, "deny") },
      }),
    ),
    problemOf(decision),
  );
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    const missing = fields.find((field) => field.value().length === 0);
    if (missing) missing.focus();
    else
      context.decide(
        requestId,
        request,
        "allow",
        answersOf(
          questions,
          fields.map((field) => field.value()),
        ),
      );
  });
  return form;
}

/**
 * Answers in the form that the agent wants: by id where every question has one, else by the text of the question.
 * @param {Json[]} questions
 * @param {string[][]} values
 * @returns {Answers}
 */
export function answersOf(questions, values) {
  const haveIds = questions.every((question) => typeof question.id === "string");
  return Object.fromEntries(
    questions.map((question, index) =>
      haveIds ? [question.id, { answers: values[index] }] : [question.question, values[index]],
    ),
  );
}

/** @param {Json} question @param {string} name */
function questionField({ question, header, options = [], multiSelect = false }, name) {
  const type = multiSelect ? "checkbox" : "radio";
  const other = h("input", {
    class: "other",
    placeholder: "Other answer",
    "aria-label": `Other answer to: ${question}`,
  });
  /** @type {{ box: HTMLInputElement, description?: string }[]} */
  const choices = (Array.isArray(options) ? options : []).map((/** @type {Json} */ option) => ({
    box: h("input", { type, name, value: option?.label ?? String(option) }),
    description: option?.description,
  }));
  const node = h(
    "fieldset",
    { class: "field" },
    h("legend", null, header && h("span", { class: "tag" }, header), question),
    choices.map(({ box, description }) =>
      h(
        "label",
        { class: "check" },
        box,
        h("span", null, box.value, description && h("span", { class: "hint" }, ` ${description}`)),
      ),
    ),
    other,
  );
  return {
    node,
    value() {
      const chosen = choices.filter(({ box }) => box.checked).map(({ box }) => box.value);
      return other.value.trim() ? [...chosen, other.value.trim()] : chosen;
    },
    focus: () => (choices[0]?.box ?? other).focus(),
  };
}
