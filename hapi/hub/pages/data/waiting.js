// What waits for a person, over all sessions. Pure.

import { pendingCount, pendingRequests, titleOf } from "./sessions.js";

/** @import { PermissionRequest, Session } from "./types.js" */

/**
 * @typedef {object} WaitingRequest
 * @property {string} key of this request among all of them
 * @property {Session} session
 * @property {string} title of the session
 * @property {string} requestId
 * @property {PermissionRequest} request
 */

/**
 * The open requests of all sessions, the one that has waited longest first, and the sessions of which only the number
 * of their requests is known.
 * @param {Iterable<Session>} sessions
 * @returns {{ requests: WaitingRequest[], unread: string[] }}
 */
export function waitingRequests(sessions) {
  /** @type {WaitingRequest[]} */
  const requests = [];
  /** @type {string[]} */
  const unread = [];
  for (const session of sessions) {
    if (pendingCount(session) === 0) continue;
    const known = session.agentState === undefined ? null : pendingRequests(session);
    if (known === null) unread.push(session.id);
    for (const [requestId, request] of known ?? []) {
      const key = JSON.stringify([session.id, requestId]);
      requests.push({ key, session, title: titleOf(session), requestId, request });
    }
  }
  requests.sort((one, other) => (one.request.createdAt ?? 0) - (other.request.createdAt ?? 0));
  return { requests, unread };
}

/**
 * The place in the queue that is shown after a change: that of the same request, or what has come to its place.
 * @param {WaitingRequest[]} requests
 * @param {string | null} key of the request that was shown
 * @param {number} place where it was
 */
export function placeInQueue(requests, key, place) {
  const same = requests.findIndex((request) => request.key === key);
  return same >= 0 ? same : Math.max(0, Math.min(place, requests.length - 1));
}
