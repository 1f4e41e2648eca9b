// Copying texts, also where the page is not in a secure context: browsers offer navigator.clipboard only there.

import { t } from "../language.js";
import { h, icon, iconButton } from "../dom.js";

const COPIED_TIME = 1500; // ms for which a button says that it has copied

/**
 * Copy a text. False if the browser does not allow it.
 * @param {string} text
 */
export async function copyText(text) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    return copyBySelection(text);
  }
}

/** The text on the clipboard. Throws an Error for the person if the browser does not allow reading it. */
export async function readText() {
  try {
    return await navigator.clipboard.readText();
  } catch {
    throw new Error(t("The browser does not let the page read the clipboard. Use its own Paste."));
  }
}

/** @param {string} text */
function copyBySelection(text) {
  const focused = document.activeElement;
  const box = h("textarea", { class: "visually-hidden", readOnly: true, value: text });
  (document.querySelector("dialog[open]") ?? document.body).append(box);
  box.select();
  const isCopied = document.execCommand("copy");
  box.remove();
  if (focused instanceof HTMLElement) focused.focus({ preventScroll: true });
  return isCopied;
}

/**
 * A button that copies what `text` returns when it is pressed.
 * @param {string} label
 * @param {() => string} text
 */
export function copyButton(label, text) {
  const control = iconButton("copy", label, { class: "copy-text" });
  control.addEventListener("click", async () => {
    if (!(await copyText(text()))) return;
    control.replaceChildren(icon("check"));
    setTimeout(() => control.replaceChildren(icon("copy")), COPIED_TIME);
  });
  return control;
}
