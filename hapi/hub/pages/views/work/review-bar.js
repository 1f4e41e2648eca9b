// The bar below the changes: how many comments are kept, and the way to send them as one prompt.

import { sessionAddress } from "../../data/addresses.js";
import { placeOf, promptOf } from "../../data/work/review.js";
import { openDialog, toast } from "../../lib/dialog.js";
import { button, fill, h, problemLine } from "../../lib/dom.js";
import { plural, t } from "../../lib/language.js";
import { SessionActions } from "../chat/actions.js";
import { keepPlace } from "../chat/reading-place.js";

/**
 * @import { Review } from "../../data/work/review.js"
 * @import { ViewContext } from "../../data/types.js"
 */

/** @param {{ context: ViewContext, review: Review, frame: { foot: HTMLElement } }} options */
export function reviewBar({ context, review, frame }) {
  function draw() {
    const count = review.comments.length;
    frame.foot.hidden = count === 0;
    fill(
      frame.foot,
      h("span", { class: "spring" }, plural(count, "{count} comment", "{count} comments")),
      button(t("Review and send"), {
        class: "primary",
        on: { click: () => reviewDialog(context, review) },
      }),
    );
  }
  return { draw };
}

/** @param {ViewContext} context @param {Review} review */
function reviewDialog(context, review) {
  const { store, api, outbox, id, go, showStatus } = context;
  openDialog(
    t("Send your comments"),
    (close) => {
      const introduction = h("textarea", {
        id: "review-introduction",
        rows: 2,
        placeholder: t("Please address these comments on your changes."),
      });
      const problem = problemLine();
      const list = h("ul", { class: "review-list" });
      const drawList = () =>
        fill(
          list,
          review.comments.map((comment) =>
            h(
              "li",
              null,
              h("p", { class: "diff-place" }, placeOf(comment)),
              h("p", { class: "diff-said" }, comment.text),
              button(t("Remove"), {
                class: "danger",
                on: {
                  click: () => {
                    review.remove(comment.id);
                    drawList();
                    if (review.comments.length === 0) close();
                  },
                },
              }),
            ),
          ),
        );
      drawList();
      const send = () => {
        const actions = new SessionActions({
          store,
          api,
          outbox,
          id,
          go,
          showStatus,
          notify: toast,
        });
        if (!actions.acceptsMessages) {
          problem.textContent = t("This session takes no messages any more.");
          problem.hidden = false;
          return;
        }
        actions.send(promptOf(review.comments, introduction.value));
        review.clear();
        close();
        keepPlace(null); // the end, where the comments are
        go(sessionAddress(id));
      };
      return [
        h(
          "div",
          { class: "field" },
          h("label", { for: introduction.id }, t("Introduction")),
          introduction,
        ),
        list,
        problem,
        h(
          "div",
          { class: "buttons" },
          button(t("Discard all"), {
            class: "danger",
            on: {
              click: () => {
                review.clear();
                close();
              },
            },
          }),
          button(t("Send to the agent"), { class: "primary", on: { click: send } }),
        ),
      ];
    },
    { wide: true },
  );
}
