// The place to write: it grows with the text and sends on Enter (with a keyboard) or with the button.

import { endsComposition, h, hasFinePointer, iconButton } from "../../lib/dom.js";
import { attachButton } from "./attachments.js";
import { commandMenu } from "./command-menu.js";

/** @import { OfferedChoice } from "../../data/types.js" */
/** @import { AttachedFiles } from "./attachments.js" */

const MAX_HEIGHT = 220; // px

/**
 * @typedef {object} ComposerOptions
 * @property {string} text
 * @property {(text: string) => void} onDraft called after each change by the person
 * @property {(text: string) => void} onSend
 * @property {() => Promise<unknown>} onStop
 * @property {AttachedFiles} files
 * @property {() => OfferedChoice[]} [commands] the agent's slash commands
 */

/** @param {ComposerOptions} options */
export function composer({ text, onDraft, onSend, onStop, files, commands = () => [] }) {
  const box = h("textarea", {
    rows: "1",
    "aria-label": "Message",
    placeholder: "Message",
    enterkeyhint: "enter",
    value: text,
  });
  const submit = iconButton("send", "Send", { type: "submit", class: "send" });
  const stop = iconButton("stop", "Stop the agent", { class: "stop", hidden: true });
  const menu = commandMenu({ commands, choose: setText });
  const attach = attachButton(files, box);
  const node = h("form", { class: "composer" }, menu.node, files.node, attach, box, stop, submit);

  function isSendable() {
    return (box.value.trim() || !files.isEmpty) && !files.isUploading && !box.disabled;
  }

  function send() {
    const written = box.value.trim() ? box.value : "";
    if (!isSendable()) return;
    setText("");
    onSend(written);
  }

  /** @param {string} value */
  function setText(value) {
    box.value = value;
    onDraft(value);
    menu.update(value);
    resize();
  }

  function resize() {
    box.style.height = "auto";
    box.style.height = `${Math.min(box.scrollHeight, MAX_HEIGHT)}px`;
    submit.disabled = !isSendable();
  }

  stop.addEventListener("click", async () => {
    stop.disabled = true;
    await onStop();
    stop.disabled = false;
  });
  node.addEventListener("submit", (event) => {
    event.preventDefault();
    send();
  });
  box.addEventListener("input", () => setText(box.value));
  box.addEventListener("keydown", (event) => {
    if (endsComposition(event)) return;
    if (menu.handles(event)) {
      event.preventDefault();
      return;
    }
    if (event.key !== "Enter") return;
    if (event.ctrlKey || event.metaKey || (hasFinePointer() && !event.shiftKey)) {
      event.preventDefault();
      send();
    }
  });
  requestAnimationFrame(resize);

  return {
    node,
    text: () => box.value,
    focus: () => box.focus(),
    /** Put a text that was not sent before what is being written. @param {string | null} unsent */
    restore(unsent) {
      if (unsent === null) return;
      setText(box.value.trim() ? `${unsent}\n${box.value}` : unsent);
      box.focus();
    },
    /** Files have been added, uploaded or removed. */
    filesChanged: resize,
    /**
     * @param {{ enabled: boolean, thinking: boolean, resumes: boolean, active: boolean, refusal: string | null }} state
     * `resumes`: a message resumes the session; `active`: files can be uploaded to it; `refusal`: why this person cannot write
     */
    update({ enabled: isOpen, thinking, resumes, active, refusal }) {
      const enabled = isOpen && refusal === null;
      attach.disabled = !active || refusal !== null;
      if (box.disabled === enabled) {
        box.disabled = !enabled;
        resize();
      }
      box.placeholder = isOpen && refusal !== null ? refusal : placeholderOf(isOpen, resumes);
      stop.hidden = !thinking || refusal !== null;
    },
  };
}

/** @param {boolean} enabled @param {boolean} resumes */
function placeholderOf(enabled, resumes) {
  if (!enabled) return "This session has ended";
  return resumes ? "Message to resume" : "Message";
}
