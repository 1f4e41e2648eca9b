// What is known of a session after the hub has told of it: in an entry of the list, or in a patch of some fields. Pure.

/** @import { Json, Session } from "../types.js" */

const VERSION_KEYS = /** @type {Record<string, string>} */ ({
  metadata: "metadataVersion",
  agentState: "agentStateVersion",
  todos: "todosUpdatedAt",
  teamState: "teamStateUpdatedAt",
});

/** Whether an entry of a list can be told from the others. @param {Json} entry */
export function hasKnownId(entry) {
  return typeof entry?.id === "string";
}

/**
 * A session after the list was read: an entry of the list has less detail than what may be known already.
 * @param {Session | undefined} known
 * @param {Session} summary
 * @returns {Session}
 */
export function withSummary(known, summary) {
  if (!known) return summary;
  const next = { ...known, ...summary, damaged: summary.damaged };
  const knownVersion = known.metadataVersion ?? -1;
  const version = summary.metadataVersion ?? -1;
  const isKnown = known.metadataVersion !== undefined && knownVersion >= version;
  next.metadata = isKnown ? known.metadata : { ...known.metadata, ...summary.metadata };
  if (knownVersion > version) next.metadataVersion = known.metadataVersion;
  return next;
}

/**
 * A session after it was read with all its details; versioned fields never go back to an older version.
 * @param {Session | undefined} known
 * @param {Session} session
 * @returns {Session}
 */
export function withDetails(known, session) {
  /** @type {Session} */
  const next = { ...known, ...session, damaged: session.damaged, detailed: true };
  for (const key of ["metadata", "agentState"]) {
    if (known?.detailed && known[`${key}Version`] > session[`${key}Version`]) {
      next[key] = known[key];
      next[`${key}Version`] = known[`${key}Version`];
    }
  }
  return next;
}

/**
 * `next`, with the mark that the session has been active, if it was.
 * @param {Session | undefined} before
 * @param {Session} next
 * @returns {Session}
 */
export function withActivity(before, next) {
  return { ...next, wasActive: !next.active && Boolean(before?.active || before?.wasActive) };
}

/**
 * A session after a patch; versioned fields never go back to an older version.
 * @param {Session} session
 * @param {Json} patch
 * @returns {Session}
 */
export function patched(session, patch) {
  const next = { ...session };
  for (const [key, value] of Object.entries(patch)) {
    const versionKey = VERSION_KEYS[key];
    if (versionKey === undefined) {
      next[key] = value;
    } else if (value && "version" in value && value.version >= (session[versionKey] ?? 0)) {
      next[key] = value.value;
      next[versionKey] = value.version;
    }
  }
  return next;
}
