// Parts of the page that are loaded when they are first needed. A tab may be older than the hub, which then has them no longer.

import { BUILD, buildIn, withBase } from "../../lib/base-path.js";
import { h } from "../../lib/dom.js";
import { toast } from "../../lib/dialog.js";
import { isFailedImport } from "../../lib/errors.js";
import { t } from "../../lib/language.js";
import { tabStorage } from "../../lib/storage.js";

/** @import { View } from "../../data/types.js" */

const RELOADED_KEY = "hapi.reloaded"; // the build for which this tab has been loaded anew
const NOTICE_DURATION = 60_000; // ms

/** What the main pane shows while a view is being loaded. @returns {View} */
export function loadingView() {
  const text = h("p", { class: "empty-note", role: "status" }, t("Loading…"));
  return { node: h("main", { class: "main" }, text) };
}

/**
 * A part of the page; null when the hub can't be reached or serves another build by now. In the latter case the page is loaded
 * anew if it may be, otherwise there is a way to do so.
 * @template Module
 * @param {() => Promise<Module>} load
 * @param {() => boolean} [mayReload] whether nothing would be lost
 */
export async function loaded(load, mayReload) {
  try {
    return await load();
  } catch {
    await offerReload(mayReload);
    return null;
  }
}

/** Offer to load the page anew whenever a part of it is missing that a view has asked for. @param {AbortSignal} signal */
export function watchImports(signal) {
  addEventListener(
    "unhandledrejection",
    (event) => {
      if (!isFailedImport(event.reason)) return;
      event.preventDefault();
      void offerReload();
    },
    { signal },
  );
}

/** @param {() => boolean} [mayReload] */
async function offerReload(mayReload = () => false) {
  const build = await newBuild();
  if (build !== null && build !== tabStorage.getItem(RELOADED_KEY) && mayReload()) {
    tabStorage.setItem(RELOADED_KEY, build); // once: a proxy may have hubs of two builds
    location.reload();
    return;
  }
  const text =
    build === null
      ? t("This part of the page could not be loaded.")
      : t("The hub was updated. Reload the page to go on.");
  toast(text, {
    tone: "bad",
    topic: "reload",
    duration: NOTICE_DURATION,
    action: [t("Reload"), () => location.reload()],
  });
}

/** The build that the hub serves by now; null if it is the one of this tab, or the hub does not tell. */
async function newBuild() {
  const reply = await fetch(withBase("/"), { cache: "no-store" }).catch(() => null);
  const served = buildIn((reply?.ok && (await reply.text().catch(() => ""))) || "");
  return served === BUILD ? null : served;
}
