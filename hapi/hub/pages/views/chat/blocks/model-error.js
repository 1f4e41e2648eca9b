// An error of the model's provider: what to do about it, and the agent's own words behind a disclosure.

import { h } from "../../../lib/dom.js";
import { t } from "../../../lib/language.js";

/** @import { BlockContext, EventBlock } from "../../../data/types.js" */

/** @param {EventBlock} block @param {BlockContext} context */
export function modelErrorNode({ key, text, details }, { expanded }) {
  const own = h(
    "details",
    { open: expanded.get(key) ?? false },
    h("summary", null, t("What the agent said")),
    h("pre", { class: "tool-text plain", tabindex: "0" }, details),
  );
  own.addEventListener("toggle", () => expanded.set(key, own.open));
  return h("div", { class: "block event bad", role: "group", "aria-label": t("Error") }, text, own);
}
