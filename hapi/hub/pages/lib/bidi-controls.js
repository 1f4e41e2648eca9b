// Text that people read: bidirectional controls are marked, and the invisible characters stay that its language may need.

import { visible } from "./format.js";

// What turns the order of a text round, and controls (Unicode Standard Annex 9, "Directional Formatting Characters").
const TURNING = /[\p{Cc}\u202a-\u202e\u2066-\u2069](?<![\t\n\r])/gu;

/** A text in which the controls that turn its order round are marked. @param {string} text */
export function markControls(text) {
  return visible(text, TURNING);
}

/** A text node of such a text. @param {string} text */
export function markedTextNode(text) {
  return document.createTextNode(markControls(text));
}
