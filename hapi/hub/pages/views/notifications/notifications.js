// Notifications: turn them on for this device, and choose what each device is told of.

import { PushDevice } from "../../data/hub/push.js";
import { fill, h, iconButton, linkButton, problemLine } from "../../lib/dom.js";
import { orToast } from "../../lib/dialog.js";
import { t } from "../../lib/language.js";
import { deviceStorage } from "../../lib/storage.js";
import { stylesheet } from "../../lib/stylesheet.js";
import { ownDevice } from "./own-device.js";
import { deviceSettings } from "./settings.js";

/** @import { NotifiedDevice, View, ViewContext } from "../../data/types.js" */

await stylesheet(new URL("../../style/notifications.css", import.meta.url).href);

/** @param {ViewContext} context @returns {View} */
export function view({ store, api, go }) {
  const push = new PushDevice(api, deviceStorage);
  const own = ownDevice(push, async () => {
    if (push.id !== null) opened.add(push.id);
    await read();
  });
  const list = h("div", { class: "notify-devices" });
  const problem = problemLine();
  /** @type {Set<string>} ids of devices whose settings are shown */
  const opened = new Set(push.id === null ? [] : [push.id]);
  /** @type {(() => void)[]} of the settings that are shown */
  let drawings = [];
  const node = h(
    "main",
    { class: "main notify" },
    viewHeader(() => go("/")),
    h("div", { class: "page" }, own.node, problem, list),
  );

  async function read() {
    try {
      const devices = await push.devices();
      problem.hidden = true;
      own.draw();
      drawDevices(devices);
    } catch (error) {
      fill(problem, error instanceof Error ? error.message : String(error));
      problem.hidden = false;
    }
  }

  /** @param {NotifiedDevice[]} devices */
  function drawDevices(devices) {
    const mine = push.id;
    drawings = [];
    const sorted = devices.toSorted((a, b) => Number(b.id === mine) - Number(a.id === mine));
    fill(
      list,
      devices.length > 0 && h("h2", null, t("Devices")),
      sorted.map((device) => deviceNode(device, device.id === mine)),
    );
  }

  /** @param {NotifiedDevice} device @param {boolean} isOwn */
  function deviceNode(device, isOwn) {
    const name = device.label || t("A device without a name");
    const settings = deviceSettings(device, push, store);
    drawings.push(settings.draw);
    const details = h(
      "details",
      { class: "notify-device", open: opened.has(device.id) },
      h(
        "summary",
        null,
        h("span", { class: "title" }, name),
        isOwn && h("span", { class: "tag" }, t("This device")),
        device.kind === "telegram" && h("span", { class: "tag" }, "Telegram"),
      ),
      settings.node,
      linkButton(
        isOwn ? t("Turn off on this device") : t("Remove this device"),
        () =>
          orToast(async () => {
            await push.remove(device.id);
            await read();
          }),
        { class: "link notify-remove" },
      ),
    );
    details.addEventListener("toggle", () => {
      if (details.open) opened.add(device.id);
      else opened.delete(device.id);
    });
    return details;
  }

  return {
    node,
    draw: () => {
      for (const draw of drawings) draw();
    },
    start: () => {
      addEventListener("hapi-installable", own.draw);
      return read();
    },
    leave: () => removeEventListener("hapi-installable", own.draw),
    title: () => t("Notifications"),
  };
}

/** @param {() => void} back */
function viewHeader(back) {
  return h(
    "header",
    { class: "main-head" },
    iconButton("back", t("Back"), { on: { click: back } }),
    h("div", { class: "head-main" }, h("h1", null, t("Notifications"))),
  );
}
