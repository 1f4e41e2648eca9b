// What becomes of a message of a person, and what can be done about it until the agent has it.

import { button, h, iconButton } from "../../../lib/dom.js";
import { sentence } from "../../../lib/format.js";
import { t } from "../../../lib/language.js";
import { scheduledText } from "../../../data/composer/schedule.js";

/** @import { BlockContext, UserBlock } from "../../../data/types.js" */

/** @type {Record<UserBlock["state"], string>} */
const DELIVERY_LABELS = {
  sent: "",
  sending: t("Sending…"),
  posted: t("Sending…"),
  waiting: t("Waiting for the connection…"),
  held: t("Waiting for the session to start"),
  queued: t("Waiting for the agent"),
  scheduled: t("Scheduled"),
  indeterminate: t("Delivery not confirmed"),
  failed: t("Not sent"),
};

/** The line below a message of a person that has not been received yet. @param {UserBlock} block */
export function deliveryLabel(block) {
  if (block.state === "scheduled") return scheduledText(block.scheduledAt ?? 0);
  if (block.error && (block.state === "waiting" || block.state === "sending"))
    return block.code === "session_inactive"
      ? t("Waiting for the session to connect to the hub…")
      : t("{problem} The message is kept here and sent again.", { problem: sentence(block.error) });
  return block.error || DELIVERY_LABELS[block.state];
}

/**
 * The buttons of a message that the agent does not have yet.
 * @param {UserBlock} block
 * @param {BlockContext} context
 */
export function deliveryActions(block, context) {
  const actions = actionsOf(block, context);
  return actions.length > 0 && h("div", { class: "delivery", role: "group" }, actions);
}

/** @param {UserBlock} block @param {BlockContext} context */
function actionsOf(block, context) {
  const act = (/** @type {string} */ label, /** @type {() => void} */ click) =>
    button(label, { class: "small", on: { click } });
  const discard = () => act(t("Discard"), () => context.discard(block));
  const edit = () => act(t("Edit"), () => context.edit(block));
  const cancel = () => act(t("Cancel"), () => context.cancel(block));
  switch (block.state) {
    case "held":
    case "waiting":
      return [discard()];
    case "failed":
      return [act(t("Try again"), () => context.retry(block)), discard()];
    case "queued":
      return [...moves(block, context), edit(), cancel()];
    case "scheduled":
      return [act(t("Send now"), () => context.sendNow(block)), edit(), cancel()];
    case "indeterminate":
      return [act(t("Send again"), () => context.retryQueued(block)), cancel()];
    default:
      return [];
  }
}

/** @param {UserBlock} block @param {BlockContext} context */
function moves(block, context) {
  if (!block.canRise && !block.canFall) return [];
  const move = (/** @type {-1 | 1} */ by) => ({ click: () => context.move(block, by) });
  return [
    iconButton("up", t("Move up"), { disabled: !block.canRise, on: move(-1) }),
    iconButton("down", t("Move down"), { disabled: !block.canFall, on: move(1) }),
  ];
}
