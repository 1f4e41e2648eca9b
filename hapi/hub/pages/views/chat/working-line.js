// The line below a conversation while the agent works, with the time of the turn.

import { h } from "../../lib/dom.js";
import { duration } from "../../lib/format.js";
import { t } from "../../lib/language.js";

const MIN_SHOWN_DURATION = 3000; // ms
const TICK = 1000; // ms

export function workingLine() {
  const text = h("span", { class: "working-text" });
  const node = h("p", { class: "working", hidden: true }, h("span", { class: "pulse" }), text);
  let label = "";
  /** @type {number | undefined} */
  let since;
  const ticking = setInterval(() => {
    if (!node.hidden) drawText();
  }, TICK);

  function drawText() {
    const elapsed = since ? Date.now() - since : 0;
    const time = elapsed > MIN_SHOWN_DURATION ? ` · ${duration(elapsed)}` : "";
    text.textContent = t("{label} is working", { label }) + time;
  }

  return {
    node,
    /** @param {boolean} visible @param {string} agentLabel @param {number | undefined} startedAt */
    draw(visible, agentLabel, startedAt) {
      node.hidden = !visible;
      label = agentLabel;
      since = startedAt;
      drawText();
    },
    stop: () => clearInterval(ticking),
  };
}
