// What stands in the main pane while a view is being loaded.

import { h } from "../../lib/dom.js";

export function loadingView() {
  return { node: h("main", { class: "main" }, h("p", { class: "empty-note", role: "status" }, "Loading…")) };
}
