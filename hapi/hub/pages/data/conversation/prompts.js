// What a conversation shows of a person's messages. Pure.

import { asText } from "../json.js";
import { readablePrompt } from "./markup.js";
import { isQueued } from "./transcript.js";

/** @import { Json, Message, OutgoingMessage, UserBlock } from "../types.js" */

/** A message that the hub has. @param {Message} message @param {Json} content @returns {UserBlock} */
export function promptBlock(message, content) {
  const state = promptState(message);
  /** @type {Json[]} */
  const files = Array.isArray(content.attachments) ? content.attachments : [];
  const source = asText(typeof content === "string" ? content : content.text);
  return {
    key: `user:${message.localId ?? message.id}`,
    kind: "user",
    version: `${message.id} ${state}`,
    at: message.invokedAt ?? message.createdAt,
    source,
    text: readablePrompt(source),
    files: files.map((file) => asText(file?.filename ?? file)),
    attachments: files.filter(
      (file) => typeof file?.path === "string" && typeof file.filename === "string",
    ),
    state,
    localId: message.localId ?? "",
    messageId: message.id,
    scheduledAt: message.scheduledAt,
  };
}

/** A message that the hub has not confirmed yet. @param {OutgoingMessage} message @returns {UserBlock} */
export function outgoingBlock(message) {
  return {
    key: `user:${message.localId}`,
    kind: "user",
    version: `${message.state} ${message.error} ${message.code}`,
    at: message.createdAt,
    text: message.text,
    files: message.attachments.map((file) => file.filename),
    attachments: message.attachments,
    state: message.state,
    localId: message.localId,
    scheduledAt: message.scheduledAt,
    error: message.error,
    code: message.code,
  };
}

/** @param {Message} message @returns {"sent" | "queued" | "scheduled" | "indeterminate"} */
function promptState(message) {
  if (!isQueued(message)) return "sent";
  if (message.deliveryState === "indeterminate") return "indeterminate";
  return (message.scheduledAt ?? 0) > Date.now() ? "scheduled" : "queued";
}
