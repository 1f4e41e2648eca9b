// Claude's own records (`output`) in the words of the generic ones, so that only one kind has to be drawn.

import { seconds } from "../lib/words.js";

/** The generic records that one Claude record amounts to; [] for those that show nothing. */
export function claudeRecords(data) {
  if (data.isMeta || data.isCompactSummary) return [];
  const side = Boolean(data.isSidechain); // the work of a sub-agent
  if (data.type === "assistant") return parts(data).flatMap((part) => assistantPart(part, side, data));
  if (data.type === "user") return parts(data).flatMap((part) => userPart(part, side));
  if (data.type === "system" && data.subtype === "turn_duration") return [{ type: "note", message: `Turn took ${seconds(data.durationMs ?? 0)}` }];
  return [];
}

function parts({ message }) {
  const content = message?.content;
  return Array.isArray(content) ? content : typeof content === "string" ? [{ type: "text", text: content }] : [];
}

function assistantPart(part, side, data) {
  switch (part.type) {
    case "text":
      return part.text ? [{ type: "message", message: part.text, side }] : [];
    case "thinking":
      return part.thinking ? [{ type: "reasoning", message: part.thinking, id: data.uuid && `${data.uuid}/thinking` }] : [];
    case "tool_use":
      return [{ type: "tool-call", callId: part.id, name: part.name, input: part.input, description: part.input?.description, status: "in_progress", side }];
    default:
      return [];
  }
}

function userPart(part, side) {
  if (part.type === "tool_result") return [{ type: "tool-call-result", callId: part.tool_use_id, output: flat(part.content), is_error: part.is_error }];
  if (part.type === "text" && side) return [{ type: "note", message: `Sub-agent asked: ${part.text}` }];
  return [];
}

function flat(content) {
  if (!Array.isArray(content)) return content ?? "";
  return content.map((part) => (part.type === "text" ? part.text : `[${part.type}]`)).join("\n");
}
