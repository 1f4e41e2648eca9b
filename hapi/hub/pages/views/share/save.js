// Saving what was exported as a file.

import { h } from "../../lib/dom.js";

const SAVE_TIMEOUT = 60_000; // ms; browsers read the content after the click
const MAX_NAME_LENGTH = 80; // characters

/** @param {Blob} blob @param {string} name */
export function saveBlob(blob, name) {
  const address = URL.createObjectURL(blob);
  h("a", { href: address, download: fileName(name) }).click();
  setTimeout(() => URL.revokeObjectURL(address), SAVE_TIMEOUT);
}

/** A name that every system takes. @param {string} name */
export function fileName(name) {
  const ending = /\.[a-z]+$/.exec(name)?.[0] ?? "";
  const stem = name
    .slice(0, name.length - ending.length)
    .replace(/[^\p{L}\p{N}_-]+/gu, " ")
    .trim()
    .slice(0, MAX_NAME_LENGTH);
  return `${stem || "conversation"}${ending}`;
}
