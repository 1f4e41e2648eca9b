// Parts of the page that are loaded when they are first needed.

import { h } from "../../lib/dom.js";
import { toast } from "../../lib/dialog.js";
import { t } from "../../lib/language.js";

/** @import { View } from "../../data/types.js" */

/** What the main pane shows while a view is being loaded. @returns {View} */
export function loadingView() {
  const text = h("p", { class: "empty-note", role: "status" }, t("Loading…"));
  return { node: h("main", { class: "main" }, text) };
}

/**
 * A part of the page; null, with a way to reload, when the hub can't be reached or serves a newer build by now.
 * @template Module
 * @param {() => Promise<Module>} load
 */
export async function loaded(load) {
  try {
    return await load();
  } catch {
    toast(t("This part of the page could not be loaded."), {
      tone: "bad",
      action: [t("Reload"), () => location.reload()],
    });
    return null;
  }
}
