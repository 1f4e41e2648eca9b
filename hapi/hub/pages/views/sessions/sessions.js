// The side pane: new session, sessions in the order in which they need a person, machines.

import { fill, h, icon, iconButton, keyed } from "../../lib/dom.js";
import { agentLabel } from "../../lib/flavors.js";
import { isWorthListing, machineName, pendingCount, progressOf, titleOf } from "../../data/store.js";
import { ago, plural, tilde } from "../../lib/words.js";

const MANY = 7; // sessions from which a search field helps

export function sessionsView({ store, go, newSession, menu }) {
  const search = h("input", { type: "search", placeholder: "Search sessions", "aria-label": "Search sessions", on: { input: () => draw() } });
  const searchRow = h("div", { class: "search", hidden: true }, icon("search"), search);
  const groups = h("div", { class: "groups" });
  const machines = h("div", { class: "machine-rows" });
  const node = h("aside", { class: "side", "aria-label": "Sessions and machines" },
    h("header", { class: "side-head" },
      h("a", { class: "brand", href: "/", on: { click: follow(go, "/") } }, h("img", { src: "/icon.svg", alt: "", width: "28", height: "28" }), "HAPI"),
      h("span", { class: "spring" }),
      iconButton("more", "Menu", { on: { click: menu } }),
      h("button", { type: "button", class: "button primary", on: { click: () => newSession() } }, icon("plus"), "New session")),
    searchRow,
    h("nav", { class: "side-scroll", "aria-label": "Sessions" }, groups, h("h2", { class: "group-title" }, "Machines"), machines),
  );

  function draw() {
    const worth = [...store.sessions.values()].filter(isWorthListing);
    searchRow.hidden = worth.length < MANY && !search.value;
    const wanted = search.value.trim().toLowerCase();
    const found = worth.filter((session) => !wanted || words(session).includes(wanted)).sort(byNeed(store));
    const parts = [
      ["Needs you", found.filter((session) => pendingCount(session) > 0)],
      ["Active", found.filter((session) => session.active && pendingCount(session) === 0)],
      ["Earlier", found.filter((session) => !session.active)],
    ].filter(([, sessions]) => sessions.length > 0);
    if (parts.length === 0) {
      groups.keyedNodes = undefined;
      fill(groups, h("p", { class: "empty-note" }, !store.loaded ? "Loading…" : wanted ? "No session matches." : "No sessions yet."));
    } else {
      if (!groups.keyedNodes) fill(groups);
      keyed(groups, parts, ([title]) => title, () => 1, ([title]) => h("section", { "aria-label": title }, h("h2", { class: "group-title" }, title), h("ul", { class: "rows" })));
      for (const [title, sessions] of parts) keyed(groups.keyedNodes.get(title).node.lastChild, sessions, (session) => session.id, (session) => version(session, store), (session) => row(session, store, go));
    }
    drawMachines(machines, store, go);
  }
  return { node, draw };
}

/** The newest first; within what is alive, unread before read. */
function byNeed(store) {
  return (one, other) =>
    (other.globalPinned ?? false) - (one.globalPinned ?? false) ||
    (other.active ? isUnread(store, other) - isUnread(store, one) : 0) ||
    other.updatedAt - one.updatedAt;
}

function isUnread(store, session) {
  return session.id !== store.openId && store.seen.isUnread(session.id, session.updatedAt);
}

function words(session) {
  const { path, flavor } = session.metadata ?? {};
  return `${titleOf(session)} ${path} ${agentLabel(flavor)}`.toLowerCase();
}

function facts(session, store) {
  const machine = store.machines.get(session.metadata?.machineId);
  return {
    title: titleOf(session),
    agent: agentLabel(session.metadata?.flavor),
    path: tilde(session.metadata?.path, machine?.metadata?.homeDir ?? session.metadata?.homeDir),
    state: !session.active ? "ended" : session.thinking ? "thinking" : "active",
    pending: pendingCount(session),
    unread: isUnread(store, session),
    when: ago(session.updatedAt),
    progress: progressOf(session),
    open: store.openId === session.id,
  };
}

const version = (session, store) => JSON.stringify(facts(session, store));

const STATES = { ended: "ended", thinking: "working", active: "ready" };

function row(session, store, go) {
  const { title, agent, path, state, pending, unread, when, progress, open } = facts(session, store);
  const to = `/sessions/${session.id}`;
  return h("li", null,
    h("a", { class: `row ${unread ? "unread" : ""}`, href: to, "aria-current": open ? "page" : null, "data-session": session.id, on: { click: follow(go, to) } },
      h("span", { class: `dot ${state}`, role: "img", "aria-label": STATES[state] }),
      h("span", { class: "row-main" },
        h("span", { class: "row-title" }, title),
        h("span", { class: "row-more" }, h("span", { class: "agent" }, agent), h("span", { class: "path" }, h("bdi", null, path)))),
      h("span", { class: "row-side" },
        h("time", { datetime: new Date(session.updatedAt).toISOString() }, when),
        pending > 0 ? h("span", { class: "badge", "aria-label": plural(pending, "open question") }, pending)
          : unread ? h("span", { class: "unread-dot", role: "img", "aria-label": "unread" })
          : progress && session.active ? h("span", { class: "progress", "aria-label": `${progress.completed} of ${progress.total} steps done` }, `${progress.completed}/${progress.total}`)
          : null)));
}

function drawMachines(parent, store, go) {
  const machines = [...store.machines.values()].sort((one, other) => other.active - one.active || machineName(one).localeCompare(machineName(other)));
  if (machines.length === 0) {
    parent.keyedNodes = undefined;
    fill(parent, store.loaded && h("p", { class: "empty-note" }, "No machine is online. Start one with ", h("code", null, "hapi runner start"), "."));
    return;
  }
  if (!parent.keyedNodes) fill(parent);
  const running = (machine) => [...store.sessions.values()].filter((session) => session.active && session.metadata?.machineId === machine.id).length;
  const shown = (machine) => [machineName(machine), machine.active, running(machine), location.pathname === `/machines/${machine.id}`];
  keyed(parent, machines, (machine) => machine.id, (machine) => JSON.stringify(shown(machine)), (machine) => {
    const to = `/machines/${machine.id}`;
    const [name, active, count, open] = shown(machine);
    return h("a", { class: "row machine", href: to, "aria-current": open ? "page" : null, on: { click: follow(go, to) } },
      h("span", { class: `dot ${active ? "active" : "ended"}`, role: "img", "aria-label": active ? "online" : "offline" }),
      h("span", { class: "row-main" }, h("span", { class: "row-title" }, name)),
      h("span", { class: "row-side" }, h("span", { class: "muted" }, !active ? "offline" : count ? plural(count, "session") : "online")));
  });
}

/** Follow a link inside the page; with a modifier key the browser does it. */
export function follow(go, to) {
  return (event) => {
    if (event.metaKey || event.ctrlKey || event.shiftKey || event.button > 0) return;
    event.preventDefault();
    go(to);
  };
}
