// The share links of a conversation: made, copied, listed and revoked.

import { button, fill, h, problemLine } from "../../lib/dom.js";
import { confirmDialog, openDialog, runBusy, toast } from "../../lib/dialog.js";
import { withBase } from "../../lib/base-path.js";
import { dateAndTime, isToday, timeOfDay } from "../../lib/format.js";
import { copyText } from "../../lib/browser/clipboard.js";
import { t } from "../../lib/language.js";
import { isLoopback, loopbackHint } from "../../lib/loopback.js";

/**
 * @import { Api } from "../../data/hub/api.js"
 * @import { NewShareLink, ShareLink } from "../../data/types.js"
 */

const DAY = 24 * 60 * 60 * 1000; // ms
/** @type {[string, number][]} */
const LIFETIMES = [
  [t("1 day"), DAY],
  [t("7 days"), 7 * DAY],
  [t("30 days"), 30 * DAY],
  [t("90 days"), 90 * DAY],
];
const DEFAULT_LIFETIME = 7 * DAY;

/** @param {{ api: Api, id: string }} options `id` of the session */
export function shareDialog({ api, id }) {
  const problem = problemLine();
  const made = h("div", { class: "field", hidden: true });
  const list = h("ul", { class: "rules", "aria-label": t("Share links") });
  const choice = choices();
  const create = button(t("Make a link"), {
    class: "primary",
    on: {
      click: () =>
        runBusy(create, problem, async () => {
          showMade(made, await api.createShareLink(id, choice.wanted()));
          await readLinks();
        }),
    },
  });

  async function readLinks() {
    const links = await api.shareLinks(id);
    list.hidden = links.length === 0;
    fill(
      list,
      links.map((link) => linkRow(link, () => revoke(link))),
    );
  }

  /** @param {ShareLink} link */
  async function revoke(link) {
    await api.revokeShareLink(id, link.id);
    made.hidden = true;
    await readLinks();
  }

  openDialog(t("Share conversation"), () => [
    h(
      "p",
      { class: "hint" },
      t(
        "A link shows prompts and answers to everybody who has it, without a login. Pictures and attached files are not shown, only their names.",
      ),
    ),
    loopbackHint(),
    choice.nodes,
    problem,
    h("div", { class: "buttons" }, create),
    made,
    list,
  ]);
  runBusy(create, problem, readLinks);
}

/** What a new link shows, and until when. */
function choices() {
  const lifetime = h(
    "select",
    { id: "share-lifetime" },
    LIFETIMES.map(([label, value]) =>
      h("option", { value: String(value), selected: value === DEFAULT_LIFETIME }, label),
    ),
  );
  const later = h("input", { type: "checkbox" });
  const tools = h("input", { type: "checkbox" });
  const thoughts = h("input", { type: "checkbox" });
  return {
    nodes: [
      h(
        "div",
        { class: "field" },
        h("label", { for: "share-lifetime" }, t("Expires after")),
        lifetime,
      ),
      h("label", { class: "check" }, later, t("Also show what is said later")),
      h("label", { class: "check" }, tools, t("Also show tool calls and their outputs")),
      h("label", { class: "check" }, thoughts, t("Also show the agent’s thoughts")),
    ],
    wanted: () => ({
      expiresIn: Number(lifetime.value),
      includesLater: later.checked,
      includesTools: tools.checked,
      includesThoughts: thoughts.checked,
    }),
  };
}

/** The address of a link that has just been made. @param {HTMLElement} parent @param {NewShareLink} link */
function showMade(parent, link) {
  const address = new URL(withBase(link.path), location.href).href;
  const field = h("input", { id: "share-address", readOnly: true, value: address });
  const copy = button(t("Copy"), {
    on: {
      click: async () => {
        if (await copyText(address)) toast(t("Link copied"));
        else toast(t("The browser does not allow copying."), { tone: "bad" });
      },
    },
  });
  const label = isLoopback(location.hostname)
    ? t("Whoever has this link can read the conversation on this machine")
    : t("Whoever has this link can read the conversation");
  fill(
    parent,
    h("label", { for: "share-address" }, label),
    h("div", { class: "with-button" }, field, copy),
    h("p", { class: "hint" }, t("The link is shown this once. Copy it now.")),
  );
  parent.hidden = false;
  field.focus();
  field.select();
}

/** @param {ShareLink} link @param {() => Promise<void>} act */
function linkRow(link, act) {
  const revoke = button(t("Revoke"), {
    class: "danger",
    "aria-label": t("Revoke the link of {time}", { time: dateAndTime(link.createdAt) }),
    on: {
      click: () =>
        confirmDialog({
          title: t("Revoke this link?"),
          text: t("Nobody can read the conversation with it any more."),
          action: t("Revoke"),
          act,
        }),
    },
  });
  const what = [
    link.includesLater && t("with what is said later"),
    link.includesTools && t("with tool calls"),
    link.includesThoughts && t("with thoughts"),
  ];
  return h(
    "li",
    null,
    h(
      "div",
      null,
      h("span", null, `${createdText(link.createdAt)} ${expiryText(link.expiresAt)}`),
      h("span", { class: "hint" }, what.filter(Boolean).join(", ")),
    ),
    revoke,
  );
}

/** @param {number} time */
function createdText(time) {
  return isToday(time)
    ? t("Created today at {time}.", { time: timeOfDay(time) })
    : t("Created on {time}.", { time: dateAndTime(time) });
}

/** @param {number} time */
function expiryText(time) {
  return isToday(time)
    ? t("Expires today at {time}.", { time: timeOfDay(time) })
    : t("Expires on {time}.", { time: dateAndTime(time) });
}
