// The ways by which files come to a message: chosen, photographed, pasted or dropped onto the conversation.

import { h, iconButton } from "../../../lib/dom.js";
import { t } from "../../../lib/language.js";

/** @import { AttachedFiles } from "./attachments.js" */

/**
 * @typedef {object} IntakeOptions
 * @property {AttachedFiles} files
 * @property {() => string | null} refusal why no file can be attached now, null if one can
 * @property {(text: string, options?: { tone?: "plain" | "bad" }) => void} notify
 */

/** @param {IntakeOptions} options */
export function fileIntake({ files, refusal, notify }) {
  const chooser = input({ multiple: true });
  const camera = input({ accept: "image/*", capture: "environment" });
  const attach = iconButton("clip", t("Attach files"), { on: { click: () => chooser.click() } });
  const overlay = h(
    "div",
    { class: "drop-overlay", hidden: true },
    t("Drop files here to attach them"),
  );
  const watching = new AbortController();

  /** @param {Record<string, any>} props */
  function input(props) {
    const node = h("input", { type: "file", ...props });
    node.addEventListener("change", () => {
      take([...(node.files ?? [])]);
      node.value = "";
    });
    return node;
  }

  /** @param {File[]} given */
  function take(given) {
    const reason = refusal();
    if (reason !== null) notify(reason, { tone: "bad" });
    else files.add(given);
  }

  /** @param {ClipboardEvent} event */
  function onPaste(event) {
    const pasted = [...(event.clipboardData?.files ?? [])];
    // An office program offers a picture of what was copied besides the text, which is what is meant.
    const hasText = event.clipboardData?.types.includes("text/plain");
    if (pasted.length === 0 || hasText || isOtherField(event.target)) return;
    event.preventDefault();
    take(pasted);
  }

  /** @param {DragEvent} event */
  function onDrop(event) {
    overlay.hidden = true;
    if (!hasFiles(event)) return;
    event.preventDefault();
    const { dropped, directories } = filesOf(event.dataTransfer);
    for (const name of directories)
      notify(t("{name} is a directory. Attach its files instead.", { name }), { tone: "bad" });
    if (dropped.length > 0) take(dropped);
  }

  return {
    attach,
    overlay,
    takePhoto: () => camera.click(),
    /** Take what is dropped onto `zone`, and what is pasted while it is shown. @param {HTMLElement} zone */
    watch(zone) {
      const { signal } = watching;
      document.addEventListener("paste", onPaste, { signal });
      zone.addEventListener(
        "dragover",
        (event) => {
          if (!hasFiles(event)) return;
          event.preventDefault();
          overlay.hidden = false;
        },
        { signal },
      );
      zone.addEventListener(
        "dragleave",
        (event) => {
          const to = event.relatedTarget;
          if (!(to instanceof Node && zone.contains(to))) overlay.hidden = true;
        },
        { signal },
      );
      zone.addEventListener("drop", onDrop, { signal });
    },
    stop: () => watching.abort(),
  };
}

/** @param {DragEvent} event */
function hasFiles({ dataTransfer }) {
  return dataTransfer?.types.includes("Files") ?? false;
}

/** @param {DataTransfer | null} transfer @returns {{ dropped: File[], directories: string[] }} */
function filesOf(transfer) {
  /** @type {File[]} */
  const dropped = [];
  /** @type {string[]} */
  const directories = [];
  for (const item of transfer?.items ?? []) {
    const entry = item.webkitGetAsEntry?.();
    const file = item.getAsFile();
    if (entry?.isDirectory) directories.push(entry.name);
    else if (file) dropped.push(file);
  }
  return { dropped, directories };
}

/** Whether a person writes into something else than the message. @param {EventTarget | null} target */
function isOtherField(target) {
  return target instanceof Element && target.closest("dialog, input, [data-own-paste]") !== null;
}
