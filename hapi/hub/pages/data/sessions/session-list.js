// What the list of sessions shows: which rows, in which order, under which heads. Pure.

import { t } from "../../lib/language.js";
import {
  isWorthListing,
  machineName,
  pendingCount,
  shownPath,
  stateOf,
  titleOf,
} from "./sessions.js";

/**
 * @import { AgentCatalog } from "./agents.js"
 * @import { SeenSessions } from "./seen.js"
 * @import { Machine, Session } from "../types.js"
 */

const DAY = 86_400_000; // ms
const MIN_HIDDEN = 4; // ended sessions below active ones; fewer are not worth a fold

/** @typedef {"waiting" | "working" | "active" | "ended"} StateFilter */

/**
 * What a person looks for. An empty text, "", 0 and false let everything pass.
 * @typedef {object} Filters
 * @property {string} text words that all have to occur
 * @property {string} agent
 * @property {string} machine its id
 * @property {StateFilter | ""} state
 * @property {number} days how many days ago the last change may be
 * @property {boolean} unread
 */

/** @type {Readonly<Filters>} */
export const NO_FILTERS = { text: "", agent: "", machine: "", state: "", days: 0, unread: false };

/** How many of the filters besides the text are set. @param {Filters} filters */
export function filterCount({ agent, machine, state, days, unread }) {
  return [agent, machine, state, days, unread].filter(Boolean).length;
}

/**
 * A directory on a machine, in which sessions run.
 * @typedef {object} Project
 * @property {string} key
 * @property {string} name the last part of its path
 * @property {string} path with ~ for the home directory
 * @property {string} directory the whole path, "" if none is known
 * @property {string} machineId
 * @property {string} machine the machine's name, where sessions of several machines are listed
 * @property {Session[]} sessions those below its head
 * @property {Session[]} others those that are listed above the projects
 * @property {number} active how many of them run
 * @property {number} total how many it has, with the others
 * @property {number} running how many of these run
 * @property {number} unread how many of them have news
 */

/**
 * One line of the list. `key` is unique in the list.
 * @typedef {{ kind: "title", key: string, text: string }
 *   | { kind: "project", key: string, project: Project, isOpen: boolean }
 *   | { kind: "session", key: string, session: Session, inProject: boolean }
 *   | { kind: "earlier", key: string, project: Project, count: number, isOpen: boolean }} Item
 */

/**
 * What the list is made from.
 * @typedef {object} Facts
 * @property {Map<string, Session>} sessions
 * @property {Map<string, Machine>} machines
 * @property {AgentCatalog} catalog
 * @property {SeenSessions} seen
 * @property {string | null} openId the session on screen
 * @property {Filters} filters
 * @property {(key: string) => boolean | undefined} foldOf what a person chose for a head: true is open
 * @property {number} now ms
 */

/** Whether a session has news that were not on screen. @param {Session} session @param {Pick<Facts, "seen" | "openId">} facts */
export function isUnread(session, { seen, openId }) {
  if (session.id === openId) return false;
  if (seen.isMarked(session.id)) return true;
  const hasNothing = !session.active && session.hasConversationContent === false;
  return !hasNothing && seen.isUnread(session.id, session.updatedAt);
}

/** Which project a session belongs to; a worktree belongs to the project that it was made from. @param {Session} session */
export function projectKey({ metadata }) {
  const { machineId, path, worktree } = metadata ?? {}; // all of them are in the summaries of the list
  return `${machineId ?? ""}:${worktree?.basePath ?? path ?? ""}`;
}

/** @param {Session} session @param {Map<string, Machine>} machines */
export function projectPath(session, machines) {
  return shownPath(
    session,
    machines,
    session.metadata?.worktree?.basePath ?? session.metadata?.path,
  );
}

/** @param {string} path */
export function lastPart(path) {
  return path.split(/[\\/]/).filter(Boolean).at(-1) ?? path;
}

/** @param {Session} session @param {Facts} facts */
function searchText(session, { catalog, machines }) {
  const { path, flavor, machineId, host } = session.metadata ?? {};
  const machine = machineName(machines.get(machineId ?? "")) || host;
  return [titleOf(session), path, catalog.label(flavor), machine].join(" ").toLowerCase();
}

/** @param {Session} session @returns {StateFilter} */
function filterState(session) {
  if (pendingCount(session) > 0) return "waiting";
  const state = stateOf(session);
  if (state === "ended") return "ended";
  return state === "thinking" ? "working" : "active";
}

/**
 * A test of one session against the filters.
 * @param {Facts} facts
 * @returns {(session: Session) => boolean}
 */
function matcher(facts) {
  const { text, agent, machine, state, days, unread } = facts.filters;
  const words = text.toLowerCase().split(/\s+/).filter(Boolean);
  const since = days ? facts.now - days * DAY : 0;
  return (session) => {
    if (agent && (session.metadata?.flavor ?? "claude") !== agent) return false;
    if (machine && session.metadata?.machineId !== machine) return false;
    if (session.updatedAt < since) return false;
    if (state && filterState(session) !== state) return false;
    if (unread && !isUnread(session, facts)) return false;
    if (words.length === 0) return true;
    const known = searchText(session, facts);
    // Every id holds most digits: it is found by its beginning alone.
    return words.every(
      (word) => known.includes(word) || (word.length > 3 && session.id.startsWith(word)),
    );
  };
}

/** Pinned sessions first, then the active, among them the unread, then the latest. @param {Facts} facts */
function byNeed(facts) {
  /** @param {Session} one @param {Session} other */
  return (one, other) =>
    Number(other.pinned === true) - Number(one.pinned === true) ||
    Number(other.active) - Number(one.active) ||
    (other.active ? Number(isUnread(other, facts)) - Number(isUnread(one, facts)) : 0) ||
    other.updatedAt - one.updatedAt;
}

/**
 * How many sessions each project has, and how many of them run.
 * @param {Session[]} sessions
 */
function countsOf(sessions) {
  /** @type {Map<string, { total: number, running: number }>} */
  const counts = new Map();
  for (const session of sessions) {
    const key = projectKey(session);
    const { total, running } = counts.get(key) ?? { total: 0, running: 0 };
    counts.set(key, { total: total + 1, running: running + Number(session.active) });
  }
  return counts;
}

/**
 * The projects of `sessions`: those with active sessions first, then the latest.
 * @param {Session[]} sessions
 * @param {Session[]} others of the same projects, listed above them
 * @param {Facts} facts
 * @returns {Project[]}
 */
function projectsOf(sessions, others, facts) {
  const counts = countsOf([...sessions, ...others]);
  /** @type {Map<string, Project & { latest: number }>} */
  const projects = new Map();
  const machineIds = new Set();
  for (const session of sessions) {
    const key = projectKey(session);
    let project = projects.get(key);
    if (!project) {
      const { machineId = "", host, path, worktree } = session.metadata ?? {};
      const directory = worktree?.basePath ?? path ?? "";
      const shown = projectPath(session, facts.machines);
      project = {
        key,
        name: shown === "~" ? "~" : lastPart(directory) || t("No directory"),
        path: shown,
        directory,
        machineId,
        machine: machineName(facts.machines.get(machineId)) || host || "",
        sessions: [],
        others: [],
        active: 0,
        total: 0,
        running: 0,
        unread: 0,
        ...counts.get(key),
        latest: 0,
      };
      projects.set(key, project);
      machineIds.add(machineId);
    }
    project.sessions.push(session);
    if (session.active) project.active += 1;
    if (isUnread(session, facts)) project.unread += 1;
    project.latest = Math.max(project.latest, session.updatedAt);
  }
  for (const session of others) projects.get(projectKey(session))?.others.push(session);
  const found = [...projects.values()];
  if (machineIds.size < 2) for (const project of found) project.machine = "";
  return found.sort(
    (one, other) =>
      Number(other.active > 0) - Number(one.active > 0) ||
      other.latest - one.latest ||
      one.key.localeCompare(other.key),
  );
}

/**
 * The lines of the list: what waits for the person, what is pinned, and the projects.
 * @param {Facts} facts
 * @returns {Item[]}
 */
export function listItems(facts) {
  const isFiltered = facts.filters.text.trim() !== "" || filterCount(facts.filters) > 0;
  const matches = matcher(facts);
  /** @type {Session[]} */
  const waiting = [];
  /** @type {Session[]} */
  const pinned = [];
  /** @type {Session[]} */
  const others = [];
  for (const session of facts.sessions.values()) {
    if (!isWorthListing(session) || !matches(session)) continue;
    if (pendingCount(session) > 0) waiting.push(session);
    else if (session.globalPinned) pinned.push(session);
    else others.push(session);
  }
  const order = byNeed(facts);
  /** @type {Item[]} */
  const items = [];
  /** @param {string} text @param {Session[]} sessions */
  const section = (text, sessions) => {
    if (sessions.length === 0) return;
    items.push({ kind: "title", key: `title:${text}`, text });
    for (const session of sessions.sort(order)) items.push(sessionItem(session, false));
  };
  section(t("Needs attention"), waiting);
  section(t("Pinned"), pinned);
  for (const project of projectsOf(others, [...waiting, ...pinned], facts)) {
    const isOpen = isFiltered || (facts.foldOf(project.key) ?? isOpenByItself(project, facts));
    items.push({ kind: "project", key: `project:${project.key}`, project, isOpen });
    if (isOpen) items.push(...projectItems(project, order, isFiltered, facts));
  }
  return items;
}

/** Whether a project is open as long as nobody has chosen: there is something to see in it. @param {Project} project @param {Facts} facts */
function isOpenByItself(project, facts) {
  return (
    project.active > 0 ||
    project.unread > 0 ||
    project.sessions.some((session) => session.id === facts.openId || session.pinned)
  );
}

/**
 * @param {Project} project
 * @param {(one: Session, other: Session) => number} order
 * @param {boolean} isFiltered
 * @param {Facts} facts
 * @returns {Item[]}
 */
function projectItems(project, order, isFiltered, facts) {
  const sessions = project.sessions.sort(order);
  /** @param {Session} session */
  const isShown = (session) =>
    session.active ||
    session.pinned === true ||
    session.id === facts.openId ||
    isUnread(session, facts);
  const earlier = sessions.filter((session) => !isShown(session));
  const hasFold = !isFiltered && earlier.length >= MIN_HIDDEN && earlier.length < sessions.length;
  if (!hasFold) return sessions.map((session) => sessionItem(session, true));
  const key = `earlier:${project.key}`;
  const isOpen = facts.foldOf(key) ?? false;
  /** @type {Item[]} */
  const items = sessions.filter(isShown).map((session) => sessionItem(session, true));
  items.push({ kind: "earlier", key, project, count: earlier.length, isOpen });
  if (isOpen) items.push(...earlier.map((session) => sessionItem(session, true)));
  return items;
}

/** @param {Session} session @param {boolean} inProject @returns {Item} */
function sessionItem(session, inProject) {
  return { kind: "session", key: session.id, session, inProject };
}
