// The head of a session: its title, its state, where it runs, and the way to its settings.

import { fill, followLink, h, iconButton } from "../../lib/dom.js";
import { abbreviateHome } from "../../lib/format.js";
import { t } from "../../lib/language.js";
import { pathParts } from "../../lib/paths.js";
import { currentMode, sessionModes } from "../../data/sessions/offer.js";
import { knownUsage } from "../../data/sessions/usage.js";
import {
  damageText,
  isStarting,
  machineName,
  pendingCount,
  STATE_LABELS,
  stateOf,
  titleOf,
} from "../../data/sessions/sessions.js";

import { usageMeter } from "./usage-meter.js";

/**
 * @import { Store } from "../../data/store/store.js"
 * @import { Block, Go, Session } from "../../data/types.js"
 */

/** @param {{ store: Store, go: Go, openSettings: () => void, openWork: () => void, openTerminal: () => void, openFind: () => void }} options */
export function chatHeader({ store, go, openSettings, openWork, openTerminal, openFind }) {
  const main = h("div", { class: "head-main" });
  const terminal = iconButton("tool", t("Terminal"), {
    class: "only-wide",
    hidden: true,
    on: { click: openTerminal },
  });
  const tools = [
    iconButton("search", t("Find in this conversation"), { on: { click: openFind } }),
    iconButton("changes", t("Changes and files"), { on: { click: openWork } }),
    iconButton("sliders", t("Session settings"), { on: { click: openSettings } }),
  ];
  const node = h(
    "header",
    { class: "main-head" },
    iconButton("back", t("Back to sessions"), {
      class: "only-phone",
      on: { click: () => go("/") },
    }),
    main,
    tools.slice(0, 2),
    terminal,
    tools.slice(2),
  );
  const meter = usageMeter();
  let shown = "";

  /** @param {Session | undefined} session @param {Block[]} [blocks] of its conversation @param {{ isGone?: boolean, isUnread?: boolean }} [state] of a session that is not known */
  function draw(session, blocks = [], { isGone = false, isUnread = false } = {}) {
    for (const tool of tools) tool.hidden = !session && isGone;
    if (!session) {
      const text = isGone ? t("Session not found") : isUnread ? t("Session not loaded yet") : "";
      if (shown !== text) fill(main, h("h1", null, text));
      shown = text;
      return;
    }
    terminal.hidden = session.metadata?.capabilities?.terminal !== true;
    meter.draw(knownUsage(session.metadata?.usage, blocks));
    const facts = headerFacts(session, store);
    const others = othersWaiting(session, store);
    const version = JSON.stringify([facts, others]);
    if (version === shown) return;
    shown = version;
    const { title, state, places, mode, unrestricted, damaged } = facts;
    fill(
      main,
      h(
        "h1",
        null,
        h("span", { class: `dot ${state}`, role: "img", "aria-label": STATE_LABELS[state] }),
        h("span", { class: "title" }, title),
      ),
      h(
        "p",
        { class: "muted" },
        h(
          "span",
          { class: "places" },
          h(
            "span",
            { class: "subline" },
            places.slice(0, -1).map((place, index) => h("bdi", null, index > 0 && " · ", place)),
          ),
          pathLine(places.at(-1) ?? ""),
        ),
        state === "resting" &&
          h(
            "span",
            { class: "tag", title: t("The agent's processes are ended. A message wakes it.") },
            t("resting"),
          ),
        mode && h("span", { class: `tag ${unrestricted ? "caution" : ""}`, title: mode }, mode),
        damaged && h("span", { class: "tag caution", title: damaged }, t("damaged")),
        others > 0 && waitingTag(others, go),
        meter.node,
      ),
    );
  }

  return { node, draw };
}

/**
 * A path on one line: as many of its last parts as there is room for, the last one in any case.
 * @param {string} path
 */
function pathLine(path) {
  return h(
    "span",
    { class: "path-line", title: path },
    h("span", { class: "for-readers" }, path),
    pathParts(path)
      .reverse() // the line is filled from its end
      .map((part) => h("span", { "aria-hidden": "true" }, h("bdi", null, part))),
  );
}

/** How many other sessions wait for a person. @param {Session} session @param {Store} store */
function othersWaiting({ id }, store) {
  return [...store.sessions.values()].filter((other) => other.id !== id && pendingCount(other) > 0)
    .length;
}

/** @param {number} count @param {Go} go */
function waitingTag(count, go) {
  return h(
    "a",
    {
      class: "tag caution waiting-tag",
      href: "/waiting",
      "aria-label": t("Other sessions that wait for you: {count}", { count }),
      on: { click: followLink(go, "/waiting") },
    },
    t("{count} waiting", { count }),
  );
}

/** @param {Session} session @param {Pick<Store, "catalog" | "machines">} store */
export function headerFacts(session, store) {
  const meta = session.metadata ?? {};
  const machine = store.machines.get(meta.machineId ?? "");
  const mode = currentMode(session);
  const offered = sessionModes(session, store.catalog).find(({ id }) => id === mode);
  return {
    title: titleOf(session),
    state: isStarting(session) ? /** @type {const} */ ("thinking") : stateOf(session),
    places: [
      store.catalog.label(meta.flavor),
      machineName(machine) || meta.host,
      abbreviateHome(meta.path, machine?.metadata?.homeDir ?? meta.homeDir),
    ].filter(Boolean),
    mode: mode && mode !== "default" ? (offered?.name ?? store.catalog.modeLabel(mode)) : null,
    unrestricted: offered?.unrestricted ?? Boolean(mode && store.catalog.isUnrestricted(mode)),
    damaged: damageText(session),
  };
}
