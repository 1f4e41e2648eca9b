// What the main pane shows while a view is being loaded.

import { h } from "../../lib/dom.js";

/** @import { View } from "../../data/types.js" */

/** @returns {View} */
export function loadingView() {
  return {
    node: h("main", { class: "main" }, h("p", { class: "empty-note", role: "status" }, "Loading…")),
  };
}
