// Text that people read, in which the invisible characters stay that its language may need.

import { visible } from "./format.js";

// What turns the order of a text round, and controls (Unicode Standard Annex 9, "Directional Formatting Characters").
const TURNING = /[\p{Cc}\u202a-\u202e\u2066-\u2069](?<![\t\n\r])/gu;

/** A text with marks for what turns it round. @param {string} text */
export function visibleProse(text) {
  return visible(text, TURNING);
}

/** @param {string} text */
export function prose(text) {
  return document.createTextNode(visibleProse(text));
}
