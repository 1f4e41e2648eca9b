// How full the model's context is, in the head of a session; a press shows all that is known of the usage.

import { button, fill, h } from "../../lib/dom.js";
import { descriptionList } from "../../lib/description-list.js";
import { openDialog } from "../../lib/dialog.js";
import { t } from "../../lib/language.js";
import { describeUsage } from "../../data/sessions/usage.js";

/** @import { Json } from "../../data/types.js" */

const SVG_NAMESPACE = "http://www.w3.org/2000/svg";
const NEARLY_FULL = 0.9; // share of the context from which on it is marked

export function usageMeter() {
  const ring = drawRing();
  const text = h("span", null);
  const node = button([ring.node, text], { class: "usage-meter", hidden: true });
  /** @type {ReturnType<typeof describeUsage>} */
  let shown = null;
  node.addEventListener("click", () => {
    if (shown) openUsage(shown);
  });

  /** @param {Json} usage */
  function draw(usage) {
    const next = describeUsage(usage);
    if (JSON.stringify(next) === JSON.stringify(shown)) return;
    shown = next;
    node.hidden = next === null;
    if (next === null) return;
    const { label, share } = next;
    ring.node.toggleAttribute("hidden", share === null);
    ring.set(share ?? 0);
    fill(text, share === null ? label : percent(share));
    node.classList.toggle("caution", (share ?? 0) >= NEARLY_FULL);
    const name =
      share === null ? t("Usage: {label}", { label }) : t("Context: {label} tokens", { label });
    node.setAttribute("aria-label", name);
    node.title = name;
  }

  return { node, draw };
}

/** @param {number} share */
function percent(share) {
  return share > 0 && share < 0.01 ? "<1%" : `${Math.round(share * 100)}%`;
}

/** @param {NonNullable<ReturnType<typeof describeUsage>>} usage */
function openUsage({ details, share }) {
  openDialog(t("Usage"), () => [
    share !== null &&
      h("meter", {
        class: "context-meter",
        min: "0",
        max: "1",
        high: String(NEARLY_FULL),
        value: String(share),
        "aria-label": t("Context in use"),
      }),
    descriptionList(details),
    h("p", { class: "hint" }, t("As the agent reports it at the end of each turn.")),
  ]);
}

function drawRing() {
  const node = document.createElementNS(SVG_NAMESPACE, "svg");
  node.setAttribute("viewBox", "0 0 20 20");
  node.setAttribute("class", "ring");
  node.setAttribute("aria-hidden", "true");
  const [track, arc] = ["track", "arc"].map((name) => {
    const circle = document.createElementNS(SVG_NAMESPACE, "circle");
    for (const [key, value] of Object.entries({
      cx: "10",
      cy: "10",
      r: "8",
      class: name,
      pathLength: "100",
    }))
      circle.setAttribute(key, value);
    return circle;
  });
  node.append(track, arc);
  return {
    node,
    /** @param {number} share */
    set: (share) => arc.setAttribute("stroke-dasharray", `${Math.min(100, share * 100)} 100`),
  };
}
