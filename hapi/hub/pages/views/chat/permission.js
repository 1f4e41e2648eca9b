// A question of the agent to the person: may I? Buttons on the tool's card, or a card of its own.

import { h, icon } from "../../lib/dom.js";
import { describe, toolBlock } from "./tool.js";
import { markdown } from "../../lib/markdown.js";

/** Allow / Allow for session / Deny for the request of `block`. */
export function permissionRow(block, chat) {
  const { requestId, request } = block;
  if (Array.isArray(request.arguments?.questions)) return questionForm(block, chat);
  const deciding = chat.deciding.get(requestId);
  const button = (choice, label, look) => h("button", {
    type: "button", class: `button ${look}${deciding?.choice === choice && !deciding.error ? " is-busy" : ""}`, disabled: Boolean(deciding && !deciding.error) || !chat.active,
    "data-focus": `${requestId}/${choice}`, on: { click: () => chat.decide(block, choice) },
  }, label);
  return h("div", { class: "permission", role: "group", "aria-label": `Permission for ${request.tool}` },
    h("p", { class: "permission-ask" }, icon("shield"), h("span", null, `Allow this?`)),
    h("div", { class: "permission-buttons" }, button("allow", "Allow", "primary"), button("session", "Allow for session", ""), button("deny", "Deny", "danger")),
    deciding?.error && h("p", { class: "problem", role: "alert" }, deciding.error));
}

/** A request that no tool card shows. */
export function requestBlock(block, chat) {
  const input = block.request.arguments;
  if (typeof input?.plan === "string") {
    return h("section", { class: "block tool asks", "aria-label": "The agent's plan" }, h("header", { class: "tool-head" }, h("span", { class: "tool-name" }, describe({ name: block.request.tool }).head)),
      h("div", { class: "tool-plan" }, markdown(input.plan)), permissionRow(block, chat));
  }
  return toolBlock({ ...block, name: block.request.tool, input: Array.isArray(input?.questions) ? undefined : input }, chat);
}

/** Questions with options; the answers go back as {question: [label, …]}. */
function questionForm(block, chat) {
  const { requestId, request } = block;
  const deciding = chat.deciding.get(requestId);
  const questions = request.arguments.questions.filter((question) => typeof question?.question === "string");
  const fields = questions.map((question, index) => questionField(question, `${requestId}-${index}`, index));
  const waiting = Boolean(deciding && !deciding.error) || !chat.active;
  const form = h("form", { class: "permission questions", "aria-label": "Questions of the agent" }, fields.map((field) => field.node),
    h("div", { class: "permission-buttons" }, h("button", { type: "submit", class: "button primary", disabled: waiting }, "Answer"),
      h("button", { type: "button", class: "button danger", disabled: waiting, on: { click: () => chat.decide(block, "deny") } }, "Decline")),
    deciding?.error && h("p", { class: "problem", role: "alert" }, deciding.error));
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    const missing = fields.find((field) => field.value().length === 0);
    if (missing) return missing.focus();
    const byId = questions.every((question) => typeof question.id === "string");
    return chat.decide(block, "allow", Object.fromEntries(fields.map((field, index) =>
      (byId ? [questions[index].id, { answers: field.value() }] : [questions[index].question, field.value()]))));
  });
  return form;
}

function questionField({ question, header, options = [], multiSelect = false }, name) {
  const type = multiSelect ? "checkbox" : "radio";
  const other = h("input", { class: "other", placeholder: "Another answer", "aria-label": `Another answer to: ${question}` });
  const boxes = options.map((option) => h("input", { type, name, value: option.label ?? String(option) }));
  const node = h("fieldset", { class: "field" }, h("legend", null, header && h("span", { class: "tag" }, header), question),
    boxes.map((box, index) => h("label", { class: "check" }, box, h("span", null, box.value, options[index].description && h("span", { class: "hint" }, ` ${options[index].description}`)))), other);
  return {
    node,
    value: () => [...boxes.filter((box) => box.checked).map((box) => box.value), ...(other.value.trim() ? [other.value.trim()] : [])],
    focus: () => (boxes[0] ?? other).focus(),
  };
}
