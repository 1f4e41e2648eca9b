// The bar above the list while sessions are being selected: how many, and what to do with them.

import { fill, h, iconButton } from "../../lib/dom.js";
import { plural, t } from "../../lib/language.js";
import { archiveAllDialog, deleteAllDialog, markAs, pinAll } from "./actions.js";

/**
 * @import { Session } from "../../data/types.js"
 * @import { ActionContext } from "./actions.js"
 */

/** @type {WeakMap<Element, string>} what a bar shows */
const shown = new WeakMap();

/** @param {HTMLElement} bar @param {ActionContext} context @param {ReadonlySet<string>} ids */
export function drawSelectionBar(bar, context, ids) {
  const { store, select } = context;
  const sessions = [...ids]
    .map((id) => store.sessions.get(id))
    .filter((session) => session !== undefined);
  const running = sessions.filter((session) => session.active);
  const ended = sessions.filter((session) => !session.active);
  const version = JSON.stringify([[...ids], running.length, ended.length]);
  if (shown.get(bar) === version && bar.childElementCount > 0) return;
  shown.set(bar, version);
  const isPinned = sessions.length > 0 && sessions.every((session) => session.globalPinned);
  const isUnread = sessions.some(context.isUnread);
  /** @param {(sessions: Session[]) => unknown} act */
  const andLeave = (act) => () => {
    act(sessions);
    select(null);
  };
  const isEmpty = sessions.length === 0;
  const { access } = store;
  fill(
    bar,
    iconButton("close", t("End the selection"), {
      on: { click: () => select(null) },
    }),
    h(
      "strong",
      { role: "status" },
      plural(sessions.length, "{count} session selected", "{count} sessions selected"),
    ),
    h("span", { class: "spring" }),
    labelledButton(
      "pin",
      isPinned ? t("Unpin") : t("Pin"),
      isPinned ? t("Unpin the selected sessions") : t("Pin the selected sessions"),
      {
        disabled: isEmpty,
        hidden: !access.allows("chat"),
        on: {
          click: andLeave((all) => pinAll(context, all, isPinned ? "none" : "global")),
        },
      },
    ),
    labelledButton(
      "check",
      isUnread ? t("Mark read") : t("Mark unread"),
      isUnread ? t("Mark read: the selected sessions") : t("Mark unread: the selected sessions"),
      {
        disabled: isEmpty,
        on: { click: andLeave((all) => markAs(context, all, !isUnread)) },
      },
    ),
    labelledButton("folder", t("Archive"), t("Archive the selected sessions that run"), {
      disabled: running.length === 0,
      hidden: !access.allows("spawn"),
      on: { click: () => archiveAllDialog(context, running, () => select(null)) },
    }),
    labelledButton("cross", t("Delete"), t("Delete the selected sessions that have ended"), {
      class: "danger",
      disabled: ended.length === 0,
      hidden: !access.allows("admin"),
      on: { click: () => deleteAllDialog(context, ended, () => select(null)) },
    }),
  );
}

/**
 * A button with its word below the icon: the icons alone have other meanings elsewhere on the screen.
 * @param {import("../../lib/dom.js").IconName} sign
 * @param {string} word
 * @param {string} label what it does, in full
 * @param {import("../../lib/dom.js").Props} props
 */
function labelledButton(sign, word, label, props) {
  const node = iconButton(sign, label, props);
  node.append(h("span", null, word));
  return node;
}
