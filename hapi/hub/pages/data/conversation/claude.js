// Claude's own records (`output`) translated into the generic records, so that only one kind has to be shown.

import { t } from "../../lib/language.js";
import { isObject } from "../json.js";

/** @import { Json } from "../types.js" */

/**
 * The generic records that one record of Claude amounts to; none if it shows nothing.
 * @param {Json} data
 * @returns {Json[]}
 */
export function claudeRecords(data) {
  if (data.isMeta || data.isCompactSummary) return [];
  const side = Boolean(data.isSidechain); // the work of a sub-agent
  if (data.type === "assistant")
    return [
      ...parts(data).flatMap((part) => assistantPart(part, side, data)),
      ...usageOf(data, side),
    ];
  if (data.type === "user") return parts(data).flatMap((part) => userPart(part, side));
  if (data.type === "system" && data.subtype === "turn_duration") {
    return [{ type: "turn-duration", ms: data.durationMs }];
  }
  return [];
}

/** @param {Json} data @returns {Json[]} */
function parts({ message }) {
  const content = message?.content;
  if (Array.isArray(content)) return content.filter(isObject);
  return typeof content === "string" ? [{ type: "text", text: content }] : [];
}

/** @param {Json} data @param {boolean} side @returns {Json[]} */
function usageOf({ message }, side) {
  if (side || !isObject(message?.usage)) return [];
  return [{ type: "message-usage", id: message.id, model: message.model, usage: message.usage }];
}

/** @param {Json} part @param {boolean} side @param {Json} data @returns {Json[]} */
function assistantPart(part, side, data) {
  switch (part.type) {
    case "text":
      return part.text ? [{ type: "message", message: part.text, side }] : [];
    case "thinking":
      return part.thinking
        ? [{ type: "reasoning", message: part.thinking, id: data.uuid && `${data.uuid}/thinking` }]
        : [];
    case "tool_use":
      return [
        {
          type: "tool-call",
          callId: part.id,
          name: part.name,
          input: part.input,
          description: part.input?.description,
          status: "in_progress",
          side,
        },
      ];
    default:
      return [];
  }
}

/** @param {Json} part @param {boolean} side @returns {Json[]} */
function userPart(part, side) {
  if (part.type === "tool_result") {
    return [
      {
        type: "tool-call-result",
        callId: part.tool_use_id,
        output: resultText(part.content),
        is_error: part.is_error,
      },
    ];
  }
  if (part.type === "text" && side)
    return [{ type: "note", message: t("Sub-agent task: {text}", { text: part.text }) }];
  return [];
}

/** @param {Json} content */
function resultText(content) {
  if (!Array.isArray(content)) return content ?? "";
  return content
    .map(partText)
    .filter((text) => text !== "")
    .join("\n");
}

/** A part of a result as text: what is no text is named by its type. @param {Json} part @returns {string} */
function partText(part) {
  if (part?.type === "text") return typeof part.text === "string" ? part.text : "";
  return typeof part?.type === "string" ? `[${part.type}]` : "";
}
