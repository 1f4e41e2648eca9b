// The form for an agent's questions: choices, text, numbers, a page to visit, or a login.

import { button, h, icon } from "../../../lib/dom.js";
import { t } from "../../../lib/language.js";
import { enteredAnswer, keepAnswer } from "../../../data/composer/answer-drafts.js";

/** @import { Answers, BlockContext, Choice, Decision, Json, PermissionRequest } from "../../../data/types.js" */

/** @typedef {{ node: HTMLElement, value: () => string[], isMissing: () => boolean, focus: () => void }} Field */

const LONG_TEXT = 120; // characters from which a text gets a field of several lines
/** @type {Record<string, string>} */
const INPUT_TYPES = { email: "email", uri: "url", date: "date" };

/**
 * The questions of a request, without what is no question.
 * @param {PermissionRequest | undefined} request
 * @returns {Json[] | null} null if the request asks no questions
 */
export function questionsOf(request) {
  const questions = request?.arguments?.questions;
  if (!Array.isArray(questions)) return null;
  return questions.filter((/** @type {Json} */ question) => typeof question?.question === "string");
}

/**
 * The form in which a person answers the questions of a request.
 * @param {string} requestId
 * @param {PermissionRequest} request
 * @param {Json[]} questions
 * @param {BlockContext} context
 */
export function questionForm(requestId, request, questions, context) {
  const decision = context.decisions.get(requestId);
  const disabled =
    Boolean(decision && !decision.error) || !context.active || Boolean(context.refusal);
  const isOurs = questions.some((question) => typeof question.kind === "string");
  /** @param {Choice} choice @param {Answers} [answers] */
  const decide = (choice, answers) => context.decide(requestId, request, choice, answers);
  const { login } = request.arguments;
  if (login && typeof login === "object")
    return loginCard(login, questions[0], { disabled, decision, decide });

  const fields = questions.map((question, index) => fieldOf(question, requestId, index));
  const confirmed = questions.length === 1 && questions[0].kind === "confirm" && questions[0];
  const form = h(
    "form",
    { class: "permission questions", "aria-label": t("Questions of the agent") },
    fields.map((field) => field.node),
    h(
      "div",
      { class: "permission-buttons" },
      button(confirmed ? labelsOf(confirmed)[0] || t("Continue") : t("Answer"), {
        type: "submit",
        class: "primary",
        disabled,
        "data-focus": `${requestId}/answer`,
      }),
      button(t("Decline"), {
        class: "danger",
        disabled,
        on: { click: () => decide(isOurs ? "decline" : "deny") },
      }),
    ),
    problemOf(decision),
  );
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    const missing =
      fields.find((field) => field.isMissing()) ??
      (fields.every((field) => field.value().length === 0) ? fields[0] : undefined);
    if (missing) missing.focus();
    else
      decide(
        "allow",
        answersOf(
          questions,
          fields.map((field) => field.value()),
        ),
      );
  });
  return form;
}

/** @param {Decision | undefined} decision */
function problemOf(decision) {
  return decision?.error && h("p", { class: "problem", role: "alert" }, decision.error);
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

/** @param {Json} question @returns {string[]} */
function labelsOf({ options }) {
  return (Array.isArray(options) ? options : []).map((option) =>
    String(option?.label ?? option ?? ""),
  );
}

/** @param {Json} question @param {string} requestId @param {number} index @returns {Field} */
function fieldOf(question, requestId, index) {
  if (question.kind === "confirm") return confirmation(question);
  const name = `${requestId}-${index}`;
  const initial =
    enteredAnswer(requestId, String(index)) ??
    (Array.isArray(question.default) ? question.default.map(String) : []);
  const field =
    labelsOf(question).length > 0
      ? choiceField(question, name, initial)
      : textField(question, name, initial);
  field.node.addEventListener("input", () => keepAnswer(requestId, String(index), field.value()));
  return field;
}

/** The head of a field. @param {Json} question */
function legend({ question, header }) {
  return h("legend", null, header && h("span", { class: "tag" }, header), question);
}

/** @param {Json} question @param {string} name @param {string[]} initial @returns {Field} */
function choiceField(question, name, initial) {
  const { options, multiSelect = false, required = true } = question;
  const labels = labelsOf(question);
  const type = multiSelect ? "checkbox" : "radio";
  const boxes = labels.map((value) =>
    h("input", { type, name, value, checked: initial.includes(value) }),
  );
  const other =
    question.other !== false &&
    h("input", {
      class: "other",
      placeholder: t("Other answer"),
      "aria-label": t("Other answer to: {question}", { question: question.question }),
      value: initial.find((value) => !labels.includes(value)) ?? "",
    });
  const value = () => {
    const chosen = boxes.filter((box) => box.checked).map((box) => box.value);
    const typed = other ? other.value.trim() : "";
    return typed ? [...chosen, typed] : chosen;
  };
  return {
    node: h(
      "fieldset",
      { class: "field" },
      legend(question),
      boxes.map((box, index) =>
        h(
          "label",
          { class: "check" },
          box,
          h(
            "span",
            null,
            box.value,
            options[index]?.description &&
              options[index].description !== box.value &&
              h("span", { class: "hint" }, ` ${options[index].description}`),
          ),
        ),
      ),
      other,
    ),
    value,
    isMissing: () => required && value().length === 0,
    focus: () => (boxes[0] ?? other).focus(),
  };
}

/** @param {Json} question @param {string} name @param {string[]} initial @returns {Field} */
function textField(question, name, initial) {
  const { kind, format, required = true, minLength, maxLength } = question;
  const shared = { name, "aria-label": question.question, value: initial[0] ?? "" };
  const isNumber = kind === "number" || kind === "integer";
  const isLong = !isNumber && !format && !question.pattern && (maxLength ?? Infinity) > LONG_TEXT;
  const input = isLong
    ? h("textarea", { ...shared, rows: "2", minlength: minLength, maxlength: maxLength })
    : h("input", {
        ...shared,
        type: isNumber ? "number" : (INPUT_TYPES[format] ?? "text"),
        step: kind === "number" ? "any" : null,
        min: question.minimum,
        max: question.maximum,
        minlength: isNumber ? null : minLength,
        maxlength: isNumber ? null : maxLength,
        // A pattern of JSON Schema may match anywhere in the text.
        pattern: question.pattern ? `.*(?:${question.pattern}).*` : null,
      });
  const value = () => (input.value.trim() ? [input.value.trim()] : []);
  return {
    node: h("fieldset", { class: "field" }, legend(question), input),
    value,
    isMissing: () => required && value().length === 0,
    focus: () => input.focus(),
  };
}

/** A question that has one answer: that a page was visited, or that the agent may go on. @param {Json} question @returns {Field} */
function confirmation(question) {
  const url = webAddress(question.url);
  const text = url ? question.question.replace(question.url, "").trimEnd() : question.question;
  return {
    node: h(
      "div",
      { class: "field" },
      h("p", { class: "question-text" }, text),
      url &&
        h(
          "p",
          null,
          h(
            "a",
            { href: url.href, target: "_blank", rel: "noopener noreferrer", class: "visit" },
            t("Open {host}", { host: url.host }),
          ),
          h("span", { class: "hint visit-address" }, url.href),
        ),
    ),
    value: () => labelsOf(question).slice(0, 1),
    isMissing: () => false,
    focus: () => {},
  };
}

/** @param {unknown} text @returns {URL | null} an http or https address */
function webAddress(text) {
  if (typeof text !== "string" || !URL.canParse(text)) return null;
  const url = new URL(text);
  return url.protocol === "https:" || url.protocol === "http:" ? url : null;
}

/**
 * The agent needs a login: how to log in, and a button for each way to go on.
 * @param {Json} login `{methods: [{name, description?, command?}]}`
 * @param {Json} question whose options are the ways to go on
 * @param {{ disabled: boolean, decision: Decision | undefined, decide: (choice: Choice, answers?: Answers) => void }} state
 */
function loginCard(login, question, { disabled, decision, decide }) {
  /** @type {Json[]} */
  const methods = Array.isArray(login.methods) ? login.methods : [];
  return h(
    "div",
    {
      class: "permission questions agent-login",
      role: "group",
      "aria-label": t("Login of the agent"),
    },
    h("p", { class: "permission-ask" }, icon("shield"), h("span", null, String(login.title ?? ""))),
    methods.map((method) =>
      h(
        "div",
        { class: "login-method" },
        h("strong", null, String(method?.name ?? "")),
        method?.description && h("p", { class: "hint" }, String(method.description)),
        method?.command && h("pre", { class: "tool-text command" }, String(method.command)),
      ),
    ),
    h(
      "div",
      { class: "permission-buttons" },
      labelsOf(question ?? {}).map((label, index) =>
        button(label, {
          class: index === 0 ? "primary" : "",
          disabled,
          on: { click: () => decide("allow", answersOf([question], [[label]])) },
        }),
      ),
    ),
    problemOf(decision),
  );
}
