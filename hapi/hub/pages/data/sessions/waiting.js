// What waits for a person, over all sessions. Pure.

import { errorMessage } from "../../lib/errors.js";
import { pendingCount, pendingRequests, titleOf } from "./sessions.js";

/** @import { PermissionRequest, Session } from "../types.js" */

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

const FIRST_RETRY_DELAY = 3000; // ms
const MAX_RETRY_DELAY = 300_000; // ms

/** Reads of sessions that may fail: one at a time for each session, and after each failure a longer wait. */
export class SessionReads {
  constructor() {
    /** @type {Map<string, { failures: number, due: number, problem: string | null }>} by session; `due` in ms, Infinity while it is being read */
    this._reads = new Map();
  }

  /** Whether a session is to be read now; if so, it counts as being read. @param {string} id @param {number} now ms */
  begin(id, now) {
    const read = this._reads.get(id) ?? { failures: 0, due: now, problem: null };
    if (read.due > now) return false;
    this._reads.set(id, { ...read, due: Infinity });
    return true;
  }

  /** @param {string} id */
  succeeded(id) {
    this._reads.delete(id);
  }

  /** @param {string} id @param {unknown} error @param {number} now ms @returns {number} ms until the next attempt */
  failed(id, error, now) {
    const failures = (this._reads.get(id)?.failures ?? 0) + 1;
    const delay = Math.min(FIRST_RETRY_DELAY * 2 ** (failures - 1), MAX_RETRY_DELAY);
    this._reads.set(id, { failures, due: now + delay, problem: errorMessage(error) });
    return delay;
  }

  /** Have a session read at once, whatever has failed. @param {string} id */
  hurry(id) {
    const read = this._reads.get(id);
    if (read && read.due !== Infinity) this._reads.set(id, { ...read, due: 0 });
  }

  /** Why a session could not be read; null if the first attempt has not ended. @param {string} id */
  problem(id) {
    return this._reads.get(id)?.problem ?? null;
  }
}
