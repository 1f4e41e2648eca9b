// What the views of a session's work share: the head with the session's title and the way back, and the tabs.

import { sessionAddress, sessionPartAddress } from "../../data/addresses.js";
import { shownPath, titleOf } from "../../data/sessions/sessions.js";
import { WorkRequests } from "../../data/work/work-requests.js";
import { button, fill, followLink, h, iconButton, pathLabel } from "../../lib/dom.js";
import { errorMessage } from "../../lib/errors.js";
import { t } from "../../lib/language.js";
import { stylesheet } from "../../lib/stylesheet.js";

/**
 * @import { Child } from "../../lib/dom.js"
 * @import { Session, ViewContext } from "../../data/types.js"
 */

await stylesheet(new URL("../../style/chat.css", import.meta.url).href);
await stylesheet(new URL("../../style/work.css", import.meta.url).href);

/** @typedef {"changes" | "files" | "history" | "terminal"} Tab */
const TABS = /** @type {const} */ ([
  ["changes", t("Changes")],
  ["files", t("Files")],
  ["history", t("History")],
  ["terminal", t("Terminal")],
]);

/**
 * The frame of one view of a session's work.
 * @param {ViewContext} context
 * @param {Tab} tab
 */
export function workFrame({ store, api, go, id }, tab) {
  const back = sessionAddress(id);
  const title = h("h1", null, h("span", { class: "title" }));
  const path = h("p", { class: "muted" });
  const body = h("div", { class: "work-body", tabindex: "-1" });
  const foot = h("div", { class: "work-foot", hidden: true });
  const node = h(
    "main",
    { class: "main work" },
    h(
      "header",
      { class: "main-head" },
      iconButton("back", t("Back to the conversation"), { on: { click: () => go(back) } }),
      h("div", { class: "head-main" }, title, path),
    ),
    h(
      "nav",
      { class: "work-tabs", "aria-label": t("Parts of the session") },
      tabLink(t("Chat"), back, false),
      TABS.map(([name, label]) => tabLink(label, sessionPartAddress(id, name), name === tab)),
    ),
    body,
    foot,
  );

  /** @param {string} label @param {string} address @param {boolean} isCurrent */
  function tabLink(label, address, isCurrent) {
    return h(
      "a",
      {
        class: "work-tab",
        href: address,
        "aria-current": isCurrent ? "page" : null,
        on: { click: followLink(go, address) },
      },
      label,
    );
  }

  /** @returns {Session | undefined} */
  const session = () => store.sessions.get(id);
  const requests = new WorkRequests(api, id, () => Boolean(session()?.active));

  function drawHead() {
    const shown = session();
    const name = shown ? titleOf(shown) : t("Session");
    const place = shownPath(shown, store.machines);
    const label = title.firstElementChild;
    if (label && label.textContent !== name) fill(label, name);
    if (path.textContent !== place) fill(path, place && pathLabel(place, shown?.metadata?.path));
  }

  /** Read the session itself, which an address that was opened directly does not have yet. */
  async function start() {
    node.querySelector('.work-tab[aria-current="page"]')?.scrollIntoView({ inline: "nearest" });
    if (session()?.detailed) return;
    await store.readSession(id).catch(() => {}); // what is asked of the session next says why it fails
    store.changed();
  }

  return {
    node,
    body,
    foot,
    requests,
    session,
    drawHead,
    start,
    title: () => pageTitle(session()),
  };
}

/** @param {Session | undefined} session */
function pageTitle(session) {
  return session ? titleOf(session) : "";
}

/** @param {string} text */
export function waitingNote(text) {
  return h("p", { class: "empty-note", role: "status" }, h("span", { class: "spinner" }), text);
}

/**
 * What is shown instead of something that could not be read.
 * @param {unknown} error
 * @param {() => void} retry
 * @param {Child} [more]
 */
export function failureNote(error, retry, more) {
  return h(
    "div",
    { class: "work-note" },
    h("p", { role: "alert" }, errorMessage(error)),
    more,
    button(t("Try again"), { on: { click: retry } }),
  );
}
