// What a tool call shows: its block takes the records of the call and of its result. Pure.

import { t } from "../../lib/language.js";
import { lineText } from "../json.js";

/** @import { Json, Message, ToolBlock } from "../types.js" */

/** @param {Message} message @param {Json} data @returns {ToolBlock} */
export function toolBlock(message, data) {
  return {
    key: `tool:${data.callId}`,
    kind: "tool",
    version: "",
    at: message.createdAt,
    callId: data.callId,
    name: t("Tool"),
    side: data.side,
  };
}

/** @param {ToolBlock} block @param {Message} message @param {Json} data */
export function takeCall(block, message, data) {
  block.name = lineText(data.name ?? block.name);
  if (typeof data.nativeKind === "string") block.toolKind = data.nativeKind;
  block.title = lineText(data.nativeTitle ?? data.description ?? block.title ?? "");
  if (data.input !== undefined && data.input !== null) block.input = data.input;
  if (Array.isArray(data.changes)) block.changes = data.changes;
  if (data.progress) block.progress = lineText(data.progress);
  if (data.reopens) Object.assign(block, { output: undefined, failed: false, done: false });
  if (!block.done) block.status = lineText(data.status ?? block.status ?? "pending");
  if (block.status === "in_progress") block.startedAt ??= message.createdAt;
}

/** @param {ToolBlock} block @param {Message} message @param {Json} data */
export function takeResult(block, message, data) {
  const failed = Boolean(data.is_error);
  Object.assign(block, {
    output: data.output,
    failed,
    status: failed ? "failed" : "completed",
    done: true,
    startedAt: block.startedAt ?? block.at,
    endedAt: message.createdAt,
  });
}
