// What a value from the hub is.

/** @import { Json } from "./types.js" */

const MAX_LINE = 200; // characters of a value that is no text, where a line is expected

/** Whether a value is an object with keys. @param {Json} value */
export function isObject(value) {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** A text as it is, the beginning of any other value as JSON in one line. @param {Json} value @returns {string} */
export function lineText(value) {
  if (typeof value === "string") return value;
  return value === null || value === undefined ? "" : JSON.stringify(value).slice(0, MAX_LINE);
}

/** A text as it is, any other value as JSON. @param {Json} value @returns {string} */
export function asText(value) {
  if (typeof value === "string") return value;
  return value === null || value === undefined ? "" : JSON.stringify(value, null, 2);
}

/** A value as JSON, whatever it is, for a person who wants to see it. @param {Json} value */
export function rawText(value) {
  try {
    return JSON.stringify(value, null, 2) ?? String(value);
  } catch {
    return String(value); // nested more deeply than this browser can write
  }
}
