// A shared conversation, to be read only.

import { blocksOf } from "../../data/conversation/blocks.js";
import { withDays } from "../../data/conversation/day-marks.js";
import { button, fill, h, keyed } from "../../lib/dom.js";
import { errorMessage } from "../../lib/errors.js";
import { dateAndTime, visible } from "../../lib/format.js";
import { t } from "../../lib/language.js";
import { drawBlock } from "../chat/blocks/block.js";

/**
 * @import { BlockContext } from "../../data/types.js"
 * @import { SharedConversation } from "../../data/records/shared.js"
 */

const NEAR_END = "600px"; // so far from the end of the page, more is read

/** @param {SharedConversation} conversation */
export function sharedView(conversation) {
  const title = h("h1", null, t("Shared conversation"));
  const facts = h("p", { class: "muted" });
  const blocks = h("div", { class: "blocks" });
  const problem = h("p", { class: "problem", role: "alert", hidden: true });
  const more = button(t("Show more"), { hidden: true, on: { click: () => readMore() } });
  const node = h(
    "main",
    { class: "shared chat" },
    h("header", { class: "shared-head" }, title, facts),
    blocks,
    problem,
    more,
  );
  const context = readerContext();
  let isReading = false;

  async function readMore() {
    if (isReading || !conversation.hasMore) return;
    isReading = true;
    more.disabled = true;
    problem.hidden = true;
    try {
      await conversation.readMore();
      draw();
    } catch (error) {
      fill(problem, errorMessage(error));
      problem.hidden = false;
    } finally {
      isReading = false;
      more.disabled = false;
      more.hidden = !conversation.hasMore || conversation.about === null;
    }
  }

  function draw() {
    const { about, messages } = conversation;
    if (!about) return;
    fill(title, about.title);
    document.title = visible(`${about.title} · HAPI`);
    facts.textContent = t("Shared {made}, can be read until {end}.", {
      made: dateAndTime(about.sharedAt),
      end: dateAndTime(about.expiresAt),
    });
    keyed(
      blocks,
      withDays(blocksOf(messages, [], null)),
      (block) => block.key,
      (block) => block.version,
      (block) => drawBlock(block, context),
    );
    blocks.classList.toggle("is-empty", messages.length === 0);
    blocks.dataset.empty = t("There is nothing to show.");
  }

  return {
    node,
    async start() {
      await readMore();
      const watching = new IntersectionObserver(
        (entries) => {
          if (entries.some((entry) => entry.isIntersecting)) readMore();
        },
        { rootMargin: NEAR_END },
      );
      watching.observe(more);
    },
  };
}

/** What the blocks of a conversation need, for a reader who can do nothing. @returns {BlockContext} */
function readerContext() {
  const nothing = () => {};
  const noNode = () => document.createTextNode("");
  return {
    active: false,
    refusal: t("This conversation is shown to be read."),
    expanded: new Map(),
    decisions: new Map(),
    cancel: nothing,
    retry: nothing,
    discard: nothing,
    retryQueued: nothing,
    edit: nothing,
    move: nothing,
    sendNow: nothing,
    decide: nothing,
    attachedPicture: () => null,
    image: noNode,
    save: noNode,
  };
}
