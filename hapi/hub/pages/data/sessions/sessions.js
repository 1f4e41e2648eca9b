// What can be said of a session or a machine from its data. Pure.

import { abbreviateHome, ownValue, sentence } from "../../lib/format.js";
import { t } from "../../lib/language.js";
import { isObject } from "../json.js";

/** @import { Json, Machine, PermissionRequest, Progress, Session } from "../types.js" */

const START_TIMEOUT = 20_000; // ms after which a session that never became active is not called starting

/** Metadata that are texts. */
const TEXTS = [
  ...["name", "path", "host", "flavor", "machineId", "homeDir"],
  ...["lifecycleState", "archiveReason", "agentSessionId"],
];

/**
 * A session as the views can read it: what has a type that they do not expect is left out.
 * @param {Json} session
 * @returns {Session}
 */
export function readable(session) {
  const next = { ...session };
  if (!Number.isFinite(next.updatedAt)) next.updatedAt = 0;
  if ("metadata" in next) next.metadata = readableMetadata(next.metadata);
  if (next.agentState !== undefined) next.agentState = readableState(next.agentState);
  if ("todos" in next) next.todos = Array.isArray(next.todos) ? next.todos.filter(isObject) : null;
  if (next.todoProgress !== undefined && !isObject(next.todoProgress)) next.todoProgress = null;
  return next;
}

/** @param {Json} metadata */
function readableMetadata(metadata) {
  if (!isObject(metadata)) return null;
  const next = { ...metadata };
  for (const key of TEXTS) if (typeof next[key] !== "string") delete next[key];
  const { summary } = next;
  if (!isObject(summary) || typeof summary.text !== "string") delete next.summary;
  return next;
}

/** @param {Json} state */
function readableState(state) {
  if (!isObject(state)) return null;
  const next = { ...state };
  for (const key of ["requests", "completedRequests"])
    if (next[key] !== undefined) next[key] = isObject(next[key]) ? readableRequests(next[key]) : {};
  return next;
}

/** @param {Record<string, Json>} requests */
function readableRequests(requests) {
  const found = Object.entries(requests).filter(([, request]) => isObject(request));
  return Object.fromEntries(
    found.map(([id, request]) => [
      id,
      typeof request.tool === "string" ? request : { ...request, tool: t("Unknown tool") },
    ]),
  );
}

/**
 * What a person has to decide, oldest first; null while only the number of requests is known.
 * @param {Session} session
 * @returns {[requestId: string, request: PermissionRequest][] | null}
 */
export function pendingRequests(session) {
  if (!session.agentState?.requests)
    return session.detailed || session.agentState === null ? [] : null;
  return Object.entries(session.agentState.requests).sort(
    ([, one], [, other]) => (one.createdAt ?? 0) - (other.createdAt ?? 0),
  );
}

/** @param {Session} session */
export function pendingCount(session) {
  if (!session.active) return 0;
  const requests = session.agentState === undefined ? null : pendingRequests(session);
  return requests?.length ?? session.pendingRequestsCount ?? 0;
}

/** How far the agent's plan is done. @param {Session} session @returns {Progress | null} */
export function progressOf(session) {
  if (!session.todos) return session.todoProgress ?? null;
  if (session.todos.length === 0) return null;
  return {
    completed: session.todos.filter((todo) => todo.status === "completed").length,
    total: session.todos.length,
  };
}

/** @param {Session} session */
export function titleOf(session) {
  const { name, summary, path } = session.metadata ?? {};
  const directory = path?.split(/[\\/]/).filter(Boolean).at(-1);
  const told = withoutMarks(summary?.text ?? "");
  return name || told || directory || t("Session {id}", { id: session.id.slice(0, 8) });
}

/**
 * A path on the machine of a session as people read it: from the home directory.
 * @param {Session | undefined} session
 * @param {Map<string, Machine>} machines
 * @param {string | null} [path] of the directory in which the session works, without another
 */
export function shownPath(session, machines, path = session?.metadata?.path) {
  const { machineId, homeDir } = session?.metadata ?? {};
  return abbreviateHome(path, machines.get(machineId ?? "")?.metadata?.homeDir ?? homeDir);
}

/** The directories in which a machine allows sessions, as people read them. @param {Machine} machine */
export function shownRoots({ metadata }) {
  return (metadata?.workspaceRoots ?? [])
    .map((root) => abbreviateHome(root, metadata?.homeDir))
    .join(", ");
}

/** A title without the marks of code in Markdown, which older programs took over from the prompt. @param {string} title */
function withoutMarks(title) {
  if (!title.includes("`") && !title.includes("~~~")) return title;
  return title
    .replace(/(?:`{3,}|~{3,})[\w+#.-]*|`/g, " ")
    .replace(/\s+/g, " ")
    .trim();
}

/** Whether a session has anything to show; a start that failed at once has not. @param {Session} session */
export function isWorthListing(session) {
  const { name, summary, agentSessionId, lifecycleState } = session.metadata ?? {};
  const hasContent = session.hasConversationContent !== false;
  return Boolean(
    session.active ||
    hasContent ||
    name ||
    summary ||
    agentSessionId ||
    lifecycleState === undefined,
  );
}

/** Whether the process of a session was started a moment ago and has not reported yet. @param {Session | undefined} session */
export function isStarting(session) {
  if (
    !session ||
    session.active ||
    session.wasActive ||
    session.metadata?.lifecycleState !== "running"
  )
    return false;
  const since = Math.max(session.createdAt ?? 0, session.metadata.lifecycleStateSince ?? 0);
  return Date.now() - since < START_TIMEOUT;
}

/** @param {Session | undefined} session */
export function canResume(session) {
  if (!session || session.active) return false;
  const { agentSessionId, flavor } = session.metadata ?? {};
  return Boolean(
    agentSessionId ||
    session.metadata?.[`${flavor ?? "claude"}SessionId`] ||
    session.hasConversationContent === false,
  );
}

/** @typedef {"ended" | "thinking" | "resting" | "active"} SessionState `resting`: the agent's processes are ended until the next message */

/** @param {Session} session @returns {SessionState} */
export function stateOf(session) {
  if (!session.active) return "ended";
  if (session.thinking) return "thinking";
  return session.metadata?.agentRest ? "resting" : "active";
}

/** @type {Record<SessionState, string>} */
export const STATE_LABELS = {
  ended: t("ended"),
  thinking: t("working"),
  resting: t("resting"),
  active: t("ready"),
};

/** What of a session the hub could not read, for a person; null if nothing. @param {Session} session */
export function damageText({ damaged }) {
  if (!Array.isArray(damaged) || damaged.length === 0) return null;
  return t("The hub cannot read all of this session: {damaged}.", { damaged: damaged.join(", ") });
}

/** Archive reasons that programs write, and what they mean to a person. @type {Record<string, string>} */
const END_REASONS = {
  "User terminated": t("This session was ended."),
  "Session completed": t("This session was ended."),
  "Hub restart": t("The session's process was stopped."),
  "Session crashed": t("The session's process ended because of an error."),
  "Archived from hub (CLI unreachable)": t(
    "Archived. Its process was gone or could not be reached.",
  ),
  "Ended by the runner (the session did not respond)": t(
    "Archived. Its process did not respond, so the runner of its machine ended it.",
  ),
};

/** Whether a session has ended for good, until somebody resumes it. @param {Session | undefined} session */
export function isArchived(session) {
  return Boolean(session && !session.active && session.metadata?.lifecycleState === "archived");
}

/** Why a session is not running. @param {Session} session */
export function endReason(session) {
  const { lifecycleState, archiveReason } = session.metadata ?? {};
  if (lifecycleState === "archived") {
    const known = ownValue(END_REASONS, archiveReason);
    return (
      known ??
      sentence(archiveReason ? t("Ended: {reason}", { reason: archiveReason }) : t("Archived"))
    );
  }
  return t("Not connected: the session's process has ended, or its machine is offline.");
}

/** @param {Machine | undefined} machine */
export function machineName(machine) {
  if (!machine) return "";
  return (
    machine.metadata?.displayName ||
    machine.metadata?.host ||
    t("Machine {id}", { id: machine.id.slice(0, 8) })
  );
}
