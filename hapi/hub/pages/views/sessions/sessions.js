// The side pane: sessions in the order in which they need a person, and machines.

import { withoutBase } from "../../lib/base-path.js";
import { button, fill, followLink, h, icon, iconButton, keyed, keyedNode } from "../../lib/dom.js";
import { machineAddress, sessionAddress } from "../../data/addresses.js";
import { reportOnce } from "../../lib/errors.js";
import { abbreviateHome, isoTime, plural, relativeTime } from "../../lib/format.js";
import {
  damageText,
  isWorthListing,
  machineName,
  pendingCount,
  progressOf,
  STATE_LABELS,
  stateOf,
  titleOf,
} from "../../data/sessions.js";

/**
 * @import { Store } from "../../data/store.js"
 * @import { Go, Machine, Session } from "../../data/types.js"
 */

const MIN_SEARCHABLE = 7; // sessions; with fewer a search field is of no help

/** @param {{ store: Store, go: Go, newSession: () => void, openMenu: () => void }} options */
export function sessionsView({ store, go, newSession, openMenu }) {
  const search = h("input", {
    type: "search",
    placeholder: "Search sessions",
    "aria-label": "Search sessions",
    on: { input: () => draw() },
  });
  const searchRow = h("div", { class: "search", hidden: true }, icon("search"), search);
  const groups = h("div", { class: "groups" });
  const machines = h("div", { class: "machine-rows" });
  const node = h(
    "aside",
    { class: "side", "aria-label": "Sessions and machines" },
    h(
      "header",
      { class: "side-head" },
      h(
        "a",
        { class: "brand", href: "/", on: { click: followLink(go, "/") } },
        h("img", { src: "/icon.svg", alt: "", width: "28", height: "28" }),
        "HAPI",
      ),
      h("span", { class: "spring" }),
      iconButton("search", "Search all conversations", { on: { click: () => go("/search") } }),
      iconButton("more", "Menu", { on: { click: openMenu } }),
      button([icon("plus"), "New session"], {
        class: "primary",
        hidden: !store.access.allows("spawn"),
        on: { click: newSession },
      }),
    ),
    searchRow,
    h(
      "nav",
      { class: "side-scroll", "aria-label": "Sessions" },
      groups,
      h("h2", { class: "group-title" }, "Machines"),
      machines,
    ),
  );

  function draw() {
    const listed = [...store.sessions.values()].filter(isWorthListing);
    searchRow.hidden = listed.length < MIN_SEARCHABLE && !search.value;
    const wanted = search.value.trim().toLowerCase();
    const found = listed
      .filter((session) => !wanted || searchText(session, store).includes(wanted))
      .sort(byNeed(store));
    drawGroups(groups, groupsOf(found), store, go);
    if (found.length === 0) fill(groups, h("p", { class: "empty-note" }, emptyText(wanted)));
    drawMachines(machines, store, go);
  }

  /** @param {string} wanted */
  function emptyText(wanted) {
    if (!store.loaded) return "Loading…";
    return wanted ? "No matching sessions." : "No sessions yet.";
  }

  return { node, draw };
}

/** @typedef {{ title: string, sessions: Session[] }} Group */

/** @param {Session[]} sessions @returns {Group[]} */
export function groupsOf(sessions) {
  const groups = [
    { title: "Needs attention", sessions: sessions.filter((session) => pendingCount(session) > 0) },
    {
      title: "Active",
      sessions: sessions.filter((session) => session.active && pendingCount(session) === 0),
    },
    { title: "Earlier", sessions: sessions.filter((session) => !session.active) },
  ];
  return groups.filter(({ sessions: members }) => members.length > 0);
}

/** @param {Element} parent @param {Group[]} groups @param {Store} store @param {Go} go */
function drawGroups(parent, groups, store, go) {
  keyed(
    parent,
    groups,
    (group) => group.title,
    () => "",
    ({ title }) =>
      h(
        "section",
        { "aria-label": title },
        h("h2", { class: "group-title" }, title),
        h("ul", { class: "rows" }),
      ),
  );
  for (const { title, sessions } of groups) {
    const rows = keyedNode(parent, title)?.lastElementChild;
    if (!rows) continue;
    keyed(
      rows,
      sessions,
      (session) => session.id,
      (session) => versionOf(session, store),
      (session) => guardedRow(session, store, go),
    );
  }
}

/** Pinned sessions first, then unread ones among the active, then the latest. @param {Store} store */
function byNeed(store) {
  /** @param {Session} one @param {Session} other */
  return (one, other) =>
    Number(other.globalPinned ?? false) - Number(one.globalPinned ?? false) ||
    (other.active ? Number(isUnread(store, other)) - Number(isUnread(store, one)) : 0) ||
    other.updatedAt - one.updatedAt;
}

/** @param {Store} store @param {Session} session */
function isUnread(store, session) {
  return session.id !== store.openId && store.seen.isUnread(session.id, session.updatedAt);
}

/** @param {Session} session @param {Store} store */
function searchText(session, store) {
  const { path, flavor } = session.metadata ?? {};
  return `${titleOf(session)} ${path} ${store.catalog.label(flavor)}`.toLowerCase();
}

/** What the row of a session shows. @param {Session} session @param {Store} store */
function rowFacts(session, store) {
  const { metadata } = session;
  const machine = store.machines.get(metadata?.machineId ?? "");
  return {
    title: titleOf(session),
    agent: store.catalog.label(metadata?.flavor),
    path: abbreviateHome(metadata?.path, machine?.metadata?.homeDir ?? metadata?.homeDir),
    state: stateOf(session),
    pending: pendingCount(session),
    unread: isUnread(store, session),
    when: relativeTime(session.updatedAt),
    progress: session.active ? progressOf(session) : null,
    open: store.openId === session.id,
    damaged: damageText(session),
  };
}

/** @param {Session} session @param {Store} store */
function versionOf(session, store) {
  try {
    return JSON.stringify(rowFacts(session, store));
  } catch {
    return "unreadable";
  }
}

/** The row of a session, also of one that cannot be shown as what it is. @param {Session} session @param {Store} store @param {Go} go */
function guardedRow(session, store, go) {
  try {
    return sessionRow(session, store, go);
  } catch (error) {
    reportOnce("The row of a session cannot be drawn", error);
    const address = sessionAddress(session.id);
    const props = { class: "row", href: address, on: { click: followLink(go, address) } };
    const text = `Session ${session.id} cannot be shown.`;
    return h("li", null, h("a", props, h("span", { class: "row-main muted" }, text)));
  }
}

/** @param {Session} session @param {Store} store @param {Go} go */
function sessionRow(session, store, go) {
  const facts = rowFacts(session, store);
  const { title, agent, path, state, unread, when, open, damaged } = facts;
  const address = sessionAddress(session.id);
  const link = h("a", {
    class: `row ${unread ? "unread" : ""}`,
    href: address,
    "aria-current": open ? "page" : null,
    "data-session": session.id,
    on: { click: followLink(go, address) },
  });
  link.append(
    h("span", { class: `dot ${state}`, role: "img", "aria-label": STATE_LABELS[state] }),
    h(
      "span",
      { class: "row-main" },
      h("span", { class: "row-title" }, title),
      h(
        "span",
        { class: "row-more" },
        h("span", { class: "agent" }, agent),
        damaged && h("span", { class: "tag caution", title: damaged }, "damaged"),
        h("span", { class: "path" }, h("bdi", null, path)),
      ),
    ),
    h(
      "span",
      { class: "row-side" },
      h("time", { datetime: isoTime(session.updatedAt) }, when),
      rowMark(facts),
    ),
  );
  return h("li", null, link);
}

/** What a row tells beside the time: requests, news or progress. @param {ReturnType<typeof rowFacts>} facts */
function rowMark({ pending, unread, progress }) {
  if (pending > 0)
    return h("span", { class: "badge", "aria-label": plural(pending, "pending request") }, pending);
  if (unread) return h("span", { class: "unread-dot", role: "img", "aria-label": "unread" });
  if (!progress) return null;
  const { completed, total } = progress;
  return h(
    "span",
    { class: "progress", "aria-label": `${completed} of ${total} steps done` },
    `${completed}/${total}`,
  );
}

/** @param {Element} parent @param {Store} store @param {Go} go */
function drawMachines(parent, store, go) {
  const machines = [...store.machines.values()].sort(
    (one, other) =>
      Number(other.active) - Number(one.active) ||
      machineName(one).localeCompare(machineName(other)),
  );
  if (machines.length === 0) {
    fill(
      parent,
      store.loaded &&
        h(
          "p",
          { class: "empty-note" },
          "No machine is online. To connect one, run ",
          h("code", null, "hapi runner start"),
          " on it.",
        ),
    );
    return;
  }
  keyed(
    parent,
    machines,
    (machine) => machine.id,
    (machine) => JSON.stringify(machineFacts(machine, store)),
    (machine) => machineRow(machine, store, go),
  );
}

/** @param {Machine} machine @param {Store} store */
function machineFacts(machine, store) {
  const running = [...store.sessions.values()].filter(
    (session) => session.active && session.metadata?.machineId === machine.id,
  );
  return {
    name: machineName(machine),
    active: machine.active,
    count: running.length,
    open: withoutBase(location.pathname) === machineAddress(machine.id),
  };
}

/** @param {Machine} machine @param {Store} store @param {Go} go */
function machineRow(machine, store, go) {
  const { name, active, count, open } = machineFacts(machine, store);
  const address = machineAddress(machine.id);
  const state = active ? "online" : "offline";
  return h(
    "a",
    {
      class: "row machine",
      href: address,
      "aria-current": open ? "page" : null,
      on: { click: followLink(go, address) },
    },
    h("span", { class: `dot ${active ? "active" : "ended"}`, role: "img", "aria-label": state }),
    h("span", { class: "row-main" }, h("span", { class: "row-title" }, name)),
    h(
      "span",
      { class: "row-side" },
      h("span", { class: "muted" }, active && count > 0 ? plural(count, "session") : state),
    ),
  );
}
