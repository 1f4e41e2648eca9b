// The rows of the list: sessions, heads of projects, sections, machines.

import { followLink, h, icon, iconButton } from "../../lib/dom.js";
import { machineAddress, sessionAddress } from "../../data/addresses.js";
import { reportOnce } from "../../lib/errors.js";
import { isoTime, relativeTime } from "../../lib/format.js";
import { plural, t } from "../../lib/language.js";
import { isUnread, lastPart, projectPath } from "../../data/sessions/session-list.js";
import {
  damageText,
  machineName,
  pendingCount,
  progressOf,
  STATE_LABELS,
  stateOf,
  titleOf,
} from "../../data/sessions/sessions.js";

/**
 * @import { Item } from "../../data/sessions/session-list.js"
 * @import { Store } from "../../data/store/store.js"
 * @import { Go, Machine } from "../../data/types.js"
 */

/** @typedef {Extract<Item, { kind: "session" }>} SessionItem */
/** @typedef {Extract<Item, { kind: "project" }>} ProjectItem */
/** @typedef {Extract<Item, { kind: "earlier" }>} EarlierItem */

/**
 * What the rows call. `selected` is null while nothing is being selected.
 * @typedef {object} RowContext
 * @property {Store} store
 * @property {Go} go
 * @property {() => ReadonlySet<string> | null} selected ids of sessions
 * @property {(id: string, isRange: boolean) => void} toggle selects a session or no longer
 * @property {(key: string, isOpen: boolean) => void} fold
 * @property {(item: Item, node: HTMLElement) => void} openMenu
 * @property {(machineId: string, directory: string) => void} newSession
 */

/** Heights in rem; style/list.css has the same. @type {Record<Item["kind"], number>} */
export const ROW_HEIGHTS = { title: 2.4, project: 3, session: 3.8, earlier: 2.6 };

/** What the row of an item shows; rows are drawn again when it changes. @param {Item} item @param {RowContext} context */
export function rowVersion(item, context) {
  try {
    return JSON.stringify(rowFacts(item, context));
  } catch {
    return "unreadable";
  }
}

/** @param {Item} item @param {RowContext} context */
function rowFacts(item, context) {
  if (item.kind === "session") return sessionFacts(item, context);
  if (item.kind === "title") return item.text;
  const { project } = item;
  const count = item.kind === "earlier" ? item.count : project.sessions.length;
  const isOnline = context.store.machines.get(project.machineId)?.active === true;
  return { ...project, sessions: null, others: null, count, isOpen: item.isOpen, isOnline };
}

/** @param {Item} item @param {RowContext} context @returns {HTMLElement} */
export function rowOf(item, context) {
  switch (item.kind) {
    case "title":
      return h("li", { class: "list-title" }, h("h2", { class: "group-title" }, item.text));
    case "project":
      return projectRow(item, context);
    case "earlier":
      return earlierRow(item, context);
    default:
      return guardedRow(item, context);
  }
}

/** @param {SessionItem} item @param {RowContext} context */
function sessionFacts({ session, inProject }, { store, selected }) {
  const { metadata } = session;
  const path = projectPath(session, store.machines);
  return {
    title: titleOf(session),
    flavor: metadata?.flavor || "claude",
    agent: store.catalog.label(metadata?.flavor),
    place: inProject
      ? (metadata?.worktree?.branch ?? metadata?.worktree?.name ?? "")
      : lastPart(path),
    state: stateOf(session),
    pending: pendingCount(session),
    unread: isUnread(session, store),
    when: relativeTime(session.updatedAt),
    progress: session.active ? progressOf(session) : null,
    open: store.openId === session.id,
    damaged: damageText(session),
    pinned: Boolean(session.globalPinned || session.pinned),
    scheduled: Number(session.futureScheduledMessageCount) || 0,
    selected: selected()?.has(session.id) ?? null,
  };
}

/** The row of a session, also of one that cannot be shown as what it is. @param {SessionItem} item @param {RowContext} context */
function guardedRow(item, context) {
  const { session } = item;
  try {
    return sessionRow(item, context);
  } catch (error) {
    reportOnce("The row of a session cannot be drawn", error);
    const address = sessionAddress(session.id);
    const props = { class: "row", href: address, on: { click: followLink(context.go, address) } };
    const text = t("Session {id} cannot be shown.", { id: session.id });
    return h("li", null, h("a", props, h("span", { class: "row-main muted" }, text)));
  }
}

/** @param {SessionItem} item @param {RowContext} context */
function sessionRow(item, context) {
  const { session } = item;
  const facts = sessionFacts(item, context);
  const { title, agent, flavor, place, state, unread, when, open, damaged, selected } = facts;
  const address = sessionAddress(session.id);
  const follow = followLink(context.go, address);
  const isChoosing = selected !== null;
  const link = h(
    "a",
    {
      class: `row ${unread ? "unread" : ""} ${selected ? "selected" : ""}`,
      href: address,
      draggable: "false",
      "aria-current": open ? "page" : null,
      "data-session": session.id,
      "data-focus": session.id,
      "data-key": item.key,
      role: isChoosing ? "checkbox" : null,
      "aria-checked": isChoosing ? String(selected) : null,
      on: {
        click: (/** @type {MouseEvent} */ event) => {
          if (!isChoosing) return follow(event);
          event.preventDefault();
          return context.toggle(session.id, event.shiftKey);
        },
      },
    },
    isChoosing ? checkSign(selected) : agentSign(flavor, agent, state),
    h(
      "span",
      { class: "row-main" },
      h("span", { class: "row-title" }, title),
      h(
        "span",
        { class: "row-more" },
        h("span", { class: "agent" }, agent),
        damaged && h("span", { class: "tag caution", title: damaged }, t("damaged")),
        place && h("span", { class: "path" }, h("bdi", null, place)),
      ),
    ),
    h(
      "span",
      { class: "row-side" },
      h("time", { datetime: isoTime(session.updatedAt) }, when),
      h("span", { class: "row-marks" }, rowMarks(facts)),
    ),
  );
  const more = iconButton("more", t("Actions for {title}", { title }), {
    class: "row-menu",
    tabindex: "-1",
    "aria-haspopup": "menu",
    on: { click: () => context.openMenu(item, link) },
  });
  return h("li", { class: "list-session" }, link, more);
}

/** The sign of an agent with the state of its session. @param {string} flavor @param {string} label @param {keyof typeof STATE_LABELS} state */
function agentSign(flavor, label, state) {
  return h(
    "span",
    { class: "agent-sign", "data-agent": flavor },
    h("span", { "aria-hidden": "true" }, initials(label)),
    h("span", { class: `dot ${state}`, role: "img", "aria-label": STATE_LABELS[state] }),
  );
}

/** Two letters that stand for an agent. @param {string} label */
export function initials(label) {
  const [first, second] = label.match(/[A-Z]?[a-z]+|[A-Z]+|\d+/g) ?? [];
  if (!first) return "?";
  const letters = second ? first.charAt(0) + second.charAt(0) : first.charAt(0);
  return letters.toUpperCase() + (second ? "" : first.charAt(1));
}

/** @param {boolean} isChecked */
function checkSign(isChecked) {
  return h("span", { class: `check-sign ${isChecked ? "checked" : ""}` }, icon("check"));
}

/** What a row tells below the time: a pin, requests, news or progress. @param {ReturnType<typeof sessionFacts>} facts */
function rowMarks({ pending, unread, progress, pinned, scheduled }) {
  return [
    pinned && h("span", { class: "pin-sign", role: "img", "aria-label": t("pinned") }, icon("pin")),
    scheduled > 0 &&
      h(
        "span",
        {
          class: "pin-sign",
          role: "img",
          "aria-label": plural(
            scheduled,
            "{count} scheduled message",
            "{count} scheduled messages",
          ),
        },
        icon("clock"),
      ),
    pending > 0
      ? h(
          "span",
          {
            class: "badge",
            role: "img",
            "aria-label": plural(pending, "{count} pending request", "{count} pending requests"),
          },
          pending,
        )
      : unread
        ? h("span", { class: "unread-dot", role: "img", "aria-label": t("unread") })
        : progress && progressMark(progress),
  ];
}

/** @param {{ completed: number, total: number }} progress */
function progressMark({ completed, total }) {
  const label = t("{completed} of {total} steps done", { completed, total });
  return h(
    "span",
    { class: "progress", role: "img", "aria-label": label },
    `${completed}/${total}`,
  );
}

/** @param {ProjectItem} item @param {RowContext} context */
function projectRow(item, context) {
  const { project, isOpen } = item;
  const { name, path, machine, unread, running, total, machineId, directory } = project;
  const counts =
    running > 0 ? t("{place} of {count}", { place: running, count: total }) : String(total);
  const counted =
    running > 0
      ? plural(
          total,
          "{active} of {count} session running",
          "{active} of {count} sessions running",
          { active: running },
        )
      : plural(total, "{count} session", "{count} sessions");
  const head = h(
    "button",
    {
      type: "button",
      class: `project-head ${running > 0 ? "has-active" : ""}`,
      "aria-expanded": String(isOpen),
      "data-key": item.key,
      "data-focus": item.key,
      title: path,
      on: { click: () => context.fold(project.key, !isOpen) },
    },
    icon("fold"),
    h(
      "span",
      { class: "project-name" },
      h("span", { class: "project-title" }, name),
      h("span", { class: "project-path" }, h("bdi", null, machine ? `${machine}: ${path}` : path)),
    ),
    unread > 0 &&
      !isOpen &&
      h("span", { class: "unread-dot", role: "img", "aria-label": t("unread") }),
    h("span", { class: "project-count", "aria-hidden": "true" }, counts),
    h("span", { class: "for-readers" }, counted),
  );
  const isOnline = context.store.machines.get(machineId)?.active === true;
  const start = iconButton("plus", t("New session in {name}", { name }), {
    class: "project-new",
    tabindex: "-1",
    hidden: !isOnline || !directory || !context.store.access.allows("spawn"),
    on: { click: () => context.newSession(machineId, directory) },
  });
  return h("li", { class: "list-project" }, h("h2", null, head), start);
}

/** @param {EarlierItem} item @param {RowContext} context */
function earlierRow(item, context) {
  const { key, count, isOpen } = item;
  const text = isOpen
    ? t("Hide earlier sessions")
    : plural(count, "{count} earlier session", "{count} earlier sessions");
  return h(
    "li",
    { class: "list-earlier" },
    h(
      "button",
      {
        type: "button",
        class: "earlier",
        "aria-expanded": String(isOpen),
        "data-key": key,
        "data-focus": key,
        on: { click: () => context.fold(key, !isOpen) },
      },
      icon("fold"),
      text,
    ),
  );
}

/** @param {Machine} machine @param {number} running sessions on it @param {boolean} isOpen whether it is on screen @param {Go} go */
export function machineRow(machine, running, isOpen, go) {
  const { active } = machine;
  const address = machineAddress(machine.id);
  const state = active ? t("online") : t("offline");
  return h(
    "a",
    {
      class: "row machine",
      href: address,
      "aria-current": isOpen ? "page" : null,
      on: { click: followLink(go, address) },
    },
    h("span", { class: `dot ${active ? "active" : "ended"}`, role: "img", "aria-label": state }),
    h("span", { class: "row-main" }, h("span", { class: "row-title" }, machineName(machine))),
    h(
      "span",
      { class: "row-side" },
      h(
        "span",
        { class: "muted" },
        active && running > 0 ? plural(running, "{count} session", "{count} sessions") : state,
      ),
    ),
  );
}
