// Hints below the list of sessions: install the page as an app, and open it on the next device. Dismissed once, they stay away.

import { button, fill, h, iconButton, problemLine } from "../../lib/dom.js";
import { runBusy } from "../../lib/dialog.js";
import { canInstall, install, needsHomeScreen } from "../../lib/browser/installing.js";
import { t } from "../../lib/language.js";
import { loopbackHint } from "../../lib/loopback.js";
import { stylesheet } from "../../lib/stylesheet.js";

/**
 * @import { Api } from "../../data/hub/api.js"
 * @import { Identity } from "../../data/hub/identity.js"
 * @import { Store } from "../../data/store/store.js"
 */

await stylesheet(new URL("../../style/list-actions.css", import.meta.url).href);

const DISMISSED_KEY = "hapi.hints.dismissed"; // the shell looks for it before it loads this module

/** @param {{ api: Api, store: Store, identity: Identity, storage: Storage, signal: AbortSignal }} context */
export function hints({ api, store, identity, storage, signal }) {
  const node = h("section", { class: "hints", "aria-label": t("Hints") });
  const problem = problemLine();
  const pairing = button(t("Show QR code"), {});
  pairing.addEventListener("click", () =>
    runBusy(pairing, problem, async () => {
      const { pair } = await import("../settings/settings.js");
      await pair({ api, store, identity });
    }),
  );

  function draw() {
    fill(
      node,
      iconButton("close", t("Dismiss the hints"), { on: { click: dismiss } }),
      installHint(),
      h("h3", null, t("Open HAPI on another device")),
      loopbackHint() ??
        h(
          "p",
          { class: "hint" },
          t("Scan a code with its camera: the page opens there, logged in."),
        ),
      problem,
      pairing,
    );
  }

  function installHint() {
    const title = h("h3", null, t("Install HAPI as an app"));
    if (needsHomeScreen())
      return [
        title,
        h(
          "p",
          { class: "hint" },
          t("Open the Share menu of the browser and choose Add to Home Screen."),
        ),
      ];
    if (!canInstall()) return null;
    return [
      title,
      h(
        "p",
        { class: "hint" },
        t("It opens full-screen and can notify you when an agent needs you."),
      ),
      button(t("Install"), { on: { click: () => install().then(draw) } }),
    ];
  }

  function dismiss() {
    storage.setItem(DISMISSED_KEY, "yes");
    node.remove();
  }

  addEventListener("hapi-installable", draw, { signal });
  draw();
  return node;
}
