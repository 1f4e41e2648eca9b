// What becomes of a message of a person, and what can be done about it until the agent has it.

import { button, h, iconButton } from "../../lib/dom.js";
import { dateAndTime, sentence } from "../../lib/format.js";

/** @import { BlockContext, UserBlock } from "../../data/types.js" */

/** @type {Record<UserBlock["state"], string>} */
const DELIVERY_LABELS = {
  sent: "",
  sending: "Sending…",
  posted: "Sending…",
  waiting: "Waiting for the connection…",
  held: "Waiting for the session to start",
  queued: "Waiting for the agent",
  scheduled: "Scheduled",
  indeterminate: "Delivery not confirmed",
  failed: "Not sent",
};

/** The line below a message of a person that has not been received yet. @param {UserBlock} block */
export function deliveryLabel(block) {
  if (block.state === "scheduled") return `Scheduled for ${dateAndTime(block.scheduledAt ?? 0)}`;
  if (block.error && (block.state === "waiting" || block.state === "sending"))
    return block.code === "session_inactive"
      ? "Waiting for the session to connect to the hub…"
      : `${sentence(block.error)} The message is kept here and sent again.`;
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
  const discard = () => act("Discard", () => context.discard(block));
  const edit = () => act("Edit", () => context.edit(block));
  const cancel = () => act("Cancel", () => context.cancel(block));
  switch (block.state) {
    case "held":
    case "waiting":
      return [discard()];
    case "failed":
      return [act("Try again", () => context.retry(block)), discard()];
    case "queued":
      return [...moves(block, context), edit(), cancel()];
    case "scheduled":
      return [act("Send now", () => context.sendNow(block)), edit(), cancel()];
    case "indeterminate":
      return [act("Send again", () => context.retryQueued(block)), cancel()];
    default:
      return [];
  }
}

/** @param {UserBlock} block @param {BlockContext} context */
function moves(block, context) {
  if (!block.canRise && !block.canFall) return [];
  const move = (/** @type {-1 | 1} */ by) => ({ click: () => context.move(block, by) });
  return [
    iconButton("up", "Move up", { disabled: !block.canRise, on: move(-1) }),
    iconButton("down", "Move down", { disabled: !block.canFall, on: move(1) }),
  ];
}
