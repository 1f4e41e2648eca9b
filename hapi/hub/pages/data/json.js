// What a value from the hub is.

/** @import { Json } from "./types.js" */

/** Whether a value is an object with keys. @param {Json} value */
export function isObject(value) {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
