// The agent's plan: a list of steps, in the conversation and above the place to write.

import { fill, h, icon } from "../../../lib/dom.js";
import { ownValue } from "../../../lib/format.js";
import { t } from "../../../lib/language.js";
import { isDone } from "../../../data/conversation/todos.js";

/** @import { Todo } from "../../../data/types.js" */

/** @type {Record<string, string>} */
const STATUS_LABELS = {
  completed: t("done"),
  in_progress: t("in progress"),
  pending: t("to do"),
  canceled: t("canceled"),
};

/** @param {Todo[]} entries */
export function planTitle(entries) {
  const done = entries.filter((entry) => entry.status === "completed").length;
  return t("Plan · {done} of {count} done", { done, count: entries.length });
}

/** @param {Todo[]} entries */
export function planList(entries) {
  return h(
    "ol",
    { class: "plan-list" },
    entries.map(({ content, status }) =>
      h(
        "li",
        { class: status },
        h(
          "span",
          { class: "mark", role: "img", "aria-label": ownValue(STATUS_LABELS, status) ?? status },
          status === "completed" && icon("check"),
        ),
        h("span", null, content),
      ),
    ),
  );
}

/** The current plan on one line that opens; hidden when there is none. */
export function planStrip() {
  const node = h("details", { class: "plan-strip", hidden: true });
  let shown = "";

  /** @param {Todo[]} todos */
  function draw(todos) {
    const version = JSON.stringify(todos);
    if (version === shown) return;
    shown = version;
    node.hidden = isDone(todos);
    const current =
      todos.find((todo) => todo.status === "in_progress") ??
      todos.find((todo) => todo.status === "pending");
    const { open } = node;
    fill(
      node,
      h(
        "summary",
        null,
        icon("list"),
        h("strong", null, planTitle(todos)),
        h("span", { class: "excerpt" }, current?.content),
      ),
      planList(todos),
    );
    node.open = open;
  }

  return { node, draw };
}
