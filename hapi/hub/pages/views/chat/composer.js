// The place to write: grows with the text, keeps a draft per session, sends on Enter (with a keyboard) or on the button.

import { h, iconButton } from "../../lib/dom.js";

export function composer({ drafts, id, send, stop }) {
  const text = h("textarea", { rows: "1", "aria-label": "Message", placeholder: "Message", enterkeyhint: "enter", value: drafts.get(id) });
  const go = iconButton("send", "Send", { type: "submit", class: "send" });
  const halt = iconButton("stop", "Stop the agent", { class: "stop", hidden: true });
  const node = h("form", { class: "composer" }, text, halt, go);
  halt.addEventListener("click", async () => { halt.disabled = true; await stop(); halt.disabled = false; });

  function submit() {
    const words = text.value.trim();
    if (!words || text.disabled) return;
    text.value = "";
    drafts.set(id, "");
    changed();
    send(words);
  }

  function changed() {
    text.style.height = "auto";
    text.style.height = `${Math.min(text.scrollHeight, 220)}px`;
    go.disabled = !text.value.trim() || text.disabled;
  }

  node.addEventListener("submit", (event) => { event.preventDefault(); submit(); });
  text.addEventListener("input", () => { drafts.set(id, text.value); changed(); });
  text.addEventListener("keydown", (event) => {
    if (event.key !== "Enter" || event.isComposing) return;
    const keyboard = matchMedia("(pointer: fine)").matches;
    if (event.ctrlKey || event.metaKey || (keyboard && !event.shiftKey)) {
      event.preventDefault();
      submit();
    }
  });
  requestAnimationFrame(changed);

  return {
    node,
    focus: () => text.focus(),
    keep: () => drafts.set(id, text.value),
    /** Put a text that was not sent back, before what is being written. */
    restore(words) {
      text.value = text.value.trim() ? `${words}\n${text.value}` : words;
      drafts.set(id, text.value);
      changed();
      text.focus();
    },
    update({ enabled, thinking, resumes }) {
      if (text.disabled !== !enabled) { text.disabled = !enabled; changed(); }
      text.placeholder = resumes && enabled ? "Message, to resume this session" : enabled ? "Message" : "This session has ended";
      halt.hidden = !thinking;
    },
  };
}
