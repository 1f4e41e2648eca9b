// Turning notifications on for this device, and installing the page as an app.

import { button, fill, h, problemLine } from "../../lib/dom.js";
import { orToast, runBusy, toast } from "../../lib/dialog.js";
import { canInstall, install, needsHomeScreen } from "../../lib/browser/installing.js";
import { t } from "../../lib/language.js";

/** @import { PushDevice, PushState } from "../../data/hub/push.js" */

/** @type {Record<PushState, string>} */
const EXPLANATIONS = {
  unsupported: t(
    "This browser cannot receive notifications here. They need a page with HTTPS, or one on this machine.",
  ),
  blocked: t("Notifications of this page are blocked in the settings of the browser."),
  off: t(
    "Be told when an agent needs you, also while this page is closed. Requests can be allowed and denied on the notification itself.",
  ),
  on: t("This device is notified."),
};

/**
 * @param {PushDevice} push
 * @param {() => Promise<void>} changed notifications were turned on or off
 */
export function ownDevice(push, changed) {
  const node = h("section", { class: "notify-own", "aria-labelledby": "notify-own-title" });

  function draw() {
    const { state } = push;
    const trouble = problemLine();
    const toggle = button(state === "on" ? t("Turn off") : t("Turn on"), {
      class: state === "on" ? "" : "primary large",
      hidden: state === "unsupported" || state === "blocked",
    });
    toggle.addEventListener("click", () =>
      runBusy(toggle, trouble, async () => {
        await (state === "on" ? push.turnOff() : push.turnOn());
        await changed();
      }),
    );
    const needsHome = state === "unsupported" && needsHomeScreen();
    fill(
      node,
      h("h2", { id: "notify-own-title" }, t("This device")),
      h(
        "p",
        { class: "hint" },
        needsHome
          ? t(
              "On iPhone and iPad, notifications need this page on the home screen: choose Share, then Add to Home Screen.",
            )
          : EXPLANATIONS[state],
      ),
      h("div", { class: "notify-buttons" }, toggle, installButton(), testButton(push.id)),
      trouble,
    );
  }

  function installButton() {
    if (!canInstall()) return null;
    return button(t("Install as an app"), {
      on: { click: async () => (await install()) && draw() },
    });
  }

  /** @param {string | null} id */
  function testButton(id) {
    if (id === null) return null;
    const test = button(t("Send a test"), {});
    test.addEventListener("click", () =>
      orToast(async () => {
        await push.test(id);
        toast(t("A notification is on its way."));
      }),
    );
    return test;
  }

  draw();
  return { node, draw };
}
