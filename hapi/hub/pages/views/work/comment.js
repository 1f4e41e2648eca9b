// A comment on lines of a diff: the form in which it is written, and how it is shown below them.

import { button, h } from "../../lib/dom.js";
import { t } from "../../lib/language.js";
import { placeOf } from "../../data/work/review.js";

/** @import { Comment } from "../../data/work/review.js" */

/**
 * @param {object} options
 * @param {string} options.place what the comment is about, e.g. `a.js:4-6`
 * @param {string} options.text that is written already
 * @param {boolean} options.isNew whether lines can still be added
 * @param {(text: string) => void} options.changed
 * @param {(text: string) => void} options.save
 * @param {() => void} options.close
 */
export function commentForm({ place, text, isNew, changed, save, close }) {
  const field = h("textarea", {
    rows: 3,
    "aria-label": t("Comment"),
    placeholder: t("What should be different here?"),
    on: { input: () => changed(field.value) },
  });
  field.value = text;
  const node = h(
    "form",
    {
      class: "diff-form",
      on: {
        submit: (/** @type {Event} */ event) => {
          event.preventDefault();
          save(field.value);
        },
        keydown: (/** @type {KeyboardEvent} */ event) => {
          if (event.key === "Escape") close();
          if (event.key === "Enter" && (event.metaKey || event.ctrlKey)) save(field.value);
        },
      },
    },
    h("p", { class: "diff-place" }, place),
    field,
    isNew && h("p", { class: "hint" }, t("Press another line number to comment on more lines.")),
    h(
      "div",
      { class: "buttons" },
      button(t("Cancel"), { on: { click: close } }),
      button(t("Keep comment"), { type: "submit", class: "primary" }),
    ),
  );
  return { node, field };
}

/** @param {Comment} comment @param {{ edit: () => void, remove: () => void }} actions */
export function keptComment(comment, { edit, remove }) {
  return h(
    "div",
    { class: "diff-comment" },
    h("p", { class: "diff-place" }, placeOf(comment)),
    h("p", { class: "diff-said" }, comment.text),
    h(
      "div",
      { class: "buttons" },
      button(t("Edit"), { on: { click: edit } }),
      button(t("Remove"), { class: "danger", on: { click: remove } }),
    ),
  );
}
