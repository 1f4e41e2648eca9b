// What the agent works with, in the composer: its permission mode, model and effort, each a button that changes it.

import { fill, h, icon } from "../../../lib/dom.js";
import { toast } from "../../../lib/dialog.js";
import { visible } from "../../../lib/format.js";
import { t } from "../../../lib/language.js";
import { AgentSettings } from "../../../data/store/agent-settings.js";
import { currentName } from "../../../data/sessions/session-settings.js";

/**
 * @import { Api } from "../../../data/hub/api.js"
 * @import { Store } from "../../../data/store/store.js"
 * @import { Session } from "../../../data/types.js"
 * @import { SessionSetting } from "../../../data/sessions/session-settings.js"
 */

const SHOWN = ["mode", "model", "effort"]; // as chips of their own where there is room
const IN_SUMMARY = ["model", "effort", "mode"]; // what tells most comes first: the rest may be cut off

/** @param {{ api: Api, store: Store, id: string }} options */
export function settingChips({ api, store, id }) {
  const row = h("div", { class: "chips" });
  const sheet = h("button", {
    type: "button",
    class: "chip settings-chip",
    on: { click: () => openSheet() },
  });
  const node = h("div", { class: "setting-chips", hidden: true }, row, sheet);
  const settings = new AgentSettings({ api, store, id });
  let shown = "";

  /** @param {SessionSetting} setting */
  function chip(setting) {
    const name = currentName(setting);
    return h(
      "button",
      {
        type: "button",
        class: `chip ${isUnrestricted(setting) ? "caution" : ""}`.trim(),
        "aria-label": `${setting.label}: ${name}`,
        "aria-haspopup": "dialog",
        disabled: isRefused(setting),
        on: { click: () => open(setting.id) },
      },
      h("span", null, name),
    );
  }

  /** @param {SessionSetting} setting */
  const isRefused = (setting) => settings.isRefused(setting);

  /** @param {string} settingId */
  async function open(settingId) {
    const { choiceDialog } = await import("./setting-dialogs.js");
    const found = settings.all().find((each) => each.id === settingId);
    if (found) choiceDialog(found, (value) => set(found, value));
  }

  async function openSheet() {
    const { settingsSheet } = await import("./setting-dialogs.js");
    settingsSheet(settings.all(), { isRefused, open });
  }

  /** @param {SessionSetting} setting @param {string} value */
  async function set(setting, value) {
    await settings.set(setting, value);
    toast(t("{label} changed", { label: setting.label }));
  }

  return {
    node,
    /** @param {Session | undefined} session */
    draw(session) {
      if (!session) return;
      settings.readLists(session);
      const all = session.active ? settings.all() : [];
      const version = JSON.stringify([all, all.map(isRefused)]);
      if (version === shown) return;
      shown = version;
      node.hidden = all.length === 0;
      fill(row, all.filter((each) => SHOWN.includes(each.id)).map(chip));
      const text = IN_SUMMARY.flatMap((name) => all.filter((each) => each.id === name))
        .map(currentName)
        .join(" · ");
      sheet.setAttribute("aria-label", visible(t("Agent's settings: {text}", { text })));
      sheet.setAttribute("aria-haspopup", "dialog");
      sheet.classList.toggle("caution", all.some(isUnrestricted));
      fill(sheet, icon("sliders"), h("span", null, text));
    },
  };
}

/** @param {SessionSetting} setting */
function isUnrestricted({ choices, current }) {
  return choices.find(({ id }) => id === current)?.unrestricted === true;
}
