// Whether a record has the shape of those that sessions write. Pure.

import { isObject } from "../json.js";

/** @import { Json } from "../types.js" */

/** The entries of a table that are objects. @param {Json} table @returns {[string, Json][]} */
export function objectsIn(table) {
  return isObject(table) ? Object.entries(table).filter(([, value]) => isObject(value)) : [];
}

/**
 * Whether a record has the shape of those that sessions write. One of an unknown kind has, and shows nothing.
 * @param {Json} record
 */
export function isWellFormed(record) {
  if (!isObject(record)) return false;
  const { role, content } = record;
  if (role === "user") return typeof content === "string" || isPromptContent(content);
  return (
    role === "agent" &&
    isObject(content) &&
    typeof content.type === "string" &&
    (!["codex", "event", "output"].includes(content.type) || isRecordData(content.data))
  );
}

/** @param {Json} content */
function isPromptContent(content) {
  return (
    isObject(content) && (typeof content.text === "string" || Array.isArray(content.attachments))
  );
}

/** @param {Json} data */
function isRecordData(data) {
  return isObject(data) && typeof data.type === "string";
}
