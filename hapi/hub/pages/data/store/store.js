// What the page knows: sessions, machines, agents, the connection. Read by REST, kept current by events.

import { attempt, statusOf } from "../../lib/errors.js";
import { coalesced, paced } from "../../lib/throttle.js";
import { FULL_ACCESS } from "../hub/access.js";
import { AgentCatalog } from "../sessions/agents.js";
import { Conversations } from "./conversations.js";
import { EventReplay } from "./event-replay.js";
import { LiveText } from "../conversation/live.js";
import {
  hasKnownId,
  patched,
  withActivity,
  withDetails,
  withSummary,
} from "../sessions/session-updates.js";
import { isArchived, readable } from "../sessions/sessions.js";
import { Watchers } from "./watchers.js";

/**
 * @import { Api } from "../hub/api.js"
 * @import { Outbox } from "./outbox.js"
 * @import { SeenSessions } from "../sessions/seen.js"
 * @import { AgentAvailability, Connection, HubEvent, Json, LiveEvent, Machine, Session, Toast } from "../types.js"
 */

const FIRST_SESSIONS = 500; // of the list; the most that the hub gives when it is asked for a number
const HIDING_STATUSES = [403, 404]; // of HTTP, with which the hub does not show a session

export class Store {
  /**
   * @param {Api} api
   * @param {Outbox} outbox
   * @param {SeenSessions} seen
   */
  constructor(api, outbox, seen) {
    this._api = api;
    this.outbox = outbox;
    this.seen = seen;
    this.access = FULL_ACCESS;
    /** @type {Promise<void> | null} */
    this._catalogRead = null;
    /** @type {Map<string, Session>} */
    this.sessions = new Map();
    /** @type {Map<string, Machine>} */
    this.machines = new Map();
    /** @type {Map<string, AgentAvailability[]>} by machine id */
    this.agents = new Map();
    this.catalog = new AgentCatalog(null, this.agents);
    /** @type {Map<string, unknown>} by id of a session that the hub does not show, e.g. because it was deleted: its answer */
    this.refusals = new Map();
    /** @type {Connection} */
    this.connection = { phase: "connecting", since: Date.now(), attempt: 0 };
    this.loaded = false;
    /** @type {string | null} why what is on screen could not be read from a hub that answers */
    this.readProblem = null;
    /** @type {string | null} the session on screen */
    this.openId = null;
    this.live = new LiveText(); // of the session on screen
    /** Called when a part of the live text is missing. */
    this.onLiveMissed = () => {};
    /** @type {(toast: Toast) => void} */
    this.onToast = () => {};
    /** @type {(sessionId: string) => void} */
    this.onRemoved = () => {};
    /** @type {Map<string, boolean>} sessions that are being resumed -> whether the hub has removed them meanwhile */
    this._resuming = new Map();
    this._watchers = new Watchers("A part of the page cannot be drawn");
    this._liveWatchers = new Watchers("Live text cannot be drawn");
    this._replay = new EventReplay((event) => this._applySafely(event));
    /** Announces a change to the watchers, once for all changes before the next frame. */
    this.changed = coalesced(() => this._watchers.notify());
    /** Announces a change of the live text, of which there are many, to those who show it. */
    this._liveChanged = paced(() => this._liveWatchers.notify());
    this.conversations = new Conversations({
      api,
      outbox,
      read: (request, apply) => this._read(request, apply),
      changed: this.changed,
      isOpen: (id) => id === this.openId,
    });
    outbox.onChange = this.changed;
    outbox.hasEnded = (id) => isArchived(this.sessions.get(id));
  }

  /** Call `watcher` after changes; returns a function that ends this. @param {() => void} watcher */
  watch(watcher) {
    return this._watchers.add(watcher);
  }

  /** Call `watcher` after changes of the live text; returns a function that ends this. @param {() => void} watcher */
  watchLive(watcher) {
    return this._liveWatchers.add(watcher);
  }

  /** Another session is on screen, or none. @param {string | null} id */
  open(id) {
    this.openId = id;
    if (id !== null) this.refusals.delete(id);
    this.live.clear();
  }

  /**
   * Do `resume`, and keep the session until it is done: one that goes on under another id is removed by the hub before.
   * @param {string} id
   * @param {() => Promise<void>} resume
   */
  async keepDuring(id, resume) {
    this._resuming.set(id, false);
    try {
      await resume();
    } finally {
      const isRemoved = this._resuming.get(id);
      this._resuming.delete(id);
      if (isRemoved) this._remove(id);
      this.changed();
    }
  }

  /** Read everything on screen again: at the first connection, and whenever events may have been missed. */
  async refresh() {
    const open = this.openId === null ? null : this._refreshOpen(this.openId);
    await Promise.all([this.readCatalog(), this.readSessions(), this.readMachines(), open]);
    this.conversations.distrustOthers();
    this.loaded = true;
    this.readProblem = null;
    this.changed();
  }

  /** A refusal is kept for the view, which says so: the rest can be read nevertheless. @param {string} id */
  async _refreshOpen(id) {
    if (this.loaded) this.refusals.delete(id);
    await this.readConversation(id).catch((error) => {
      if (!this.refusals.has(id)) throw error;
    });
  }

  /**
   * Read a session and bring its messages up to date. What the hub has refused is not asked for again until the connection is
   * made anew, the session is opened again, or the hub tells of it.
   * @param {string} id
   */
  async readConversation(id) {
    const refusal = this.refusals.get(id);
    if (refusal) throw refusal;
    const reads = await Promise.allSettled([this.readSession(id), this.conversations.catchUp(id)]);
    const error = reads.find((read) => read.status === "rejected")?.reason;
    if (error === undefined) return;
    if (HIDING_STATUSES.includes(statusOf(error) ?? 0)) this.refusals.set(id, error);
    throw error;
  }

  /** Read the table of agents, once. */
  readCatalog() {
    this._catalogRead ??= this._api.agentCatalog().then(
      (answer) => {
        this.catalog = new AgentCatalog(answer, this.agents);
        this.changed();
      },
      (error) => {
        this._catalogRead = null;
        throw error;
      },
    );
    return this._catalogRead;
  }

  /** Read the list: the sessions that matter most, then, if there are more, all of them. */
  async readSessions() {
    const { length } = await this._readList(FIRST_SESSIONS);
    if (length >= FIRST_SESSIONS) await this._readList();
  }

  /** @param {number} [limit] */
  _readList(limit = Infinity) {
    return this._read(
      () => this._api.sessions(limit === Infinity ? undefined : limit),
      (summaries) => {
        const found = summaries.filter(hasKnownId).map(readable);
        if (summaries.length < limit) {
          const present = new Set(found.map((summary) => summary.id));
          for (const id of this.sessions.keys())
            if (!present.has(id) && !this._resuming.has(id)) this.sessions.delete(id);
        }
        for (const summary of found) {
          this.refusals.delete(summary.id);
          this.sessions.set(summary.id, withSummary(this.sessions.get(summary.id), summary));
        }
      },
    );
  }

  readMachines() {
    return this._read(
      () => this._api.machines(),
      (machines) => {
        this.machines = new Map(
          machines.filter(hasKnownId).map((machine) => [machine.id, machine]),
        );
        for (const id of this.machines.keys()) this.readAgents(id);
      },
    );
  }

  /** Read which agents a machine has; a machine that can't say keeps what was known. @param {string} id */
  async readAgents(id) {
    const agents = await this._api.agentAvailability(id).catch(() => null);
    if (agents === null) return;
    this.agents.set(id, agents);
    this.changed();
  }

  /** @param {string} id */
  readSession(id) {
    return this._read(
      () => this._api.session(id),
      (session) => this._putSession(session),
    );
  }

  /** The messages of a session, as far as they have been read. @param {string} id */
  transcript(id) {
    return this.conversations.transcript(id);
  }

  /**
   * @template Answer
   * @param {() => Promise<Answer>} request
   * @param {(answer: Answer) => void} apply
   */
  async _read(request, apply) {
    try {
      return await this._replay.read(request, apply);
    } finally {
      this.changed();
    }
  }

  /** @param {HubEvent} event */
  receive(event) {
    if (event.type === "session-live") {
      attempt("Live text is malformed", () => this._applyLive(event));
      return;
    }
    // A notice is shown once; it is no news about what is being read, to which events are applied again.
    if (event.type !== "toast") this._replay.record(event);
    this._applySafely(event);
    this.changed();
  }

  /** @param {HubEvent} event */
  _applyLive(event) {
    if (event.sessionId !== this.openId) return; // the person has gone on
    if (!this.live.apply(/** @type {HubEvent & LiveEvent} */ (event))) this.onLiveMissed();
    this._liveChanged();
  }

  /** An event that is malformed changes nothing, and those after it are heard. @param {HubEvent} event */
  _applySafely(event) {
    attempt(`An event of type ${event?.type} is malformed`, () => this._apply(event));
  }

  /** @param {HubEvent} event */
  _apply(event) {
    const id = event.sessionId ?? "";
    switch (event.type) {
      case "session-added":
      case "session-updated":
        if (event.data) this._update(id, event.data);
        break;
      case "session-ended":
        this._update(id, { active: false, thinking: false });
        break;
      case "session-removed":
        this._remove(id);
        break;
      case "machine-updated":
        this._updateMachine(event.machineId, event.data);
        break;
      case "toast":
        this.onToast(event.data);
        break;
      case "message-received":
        this._update(id, {
          updatedAt: Math.max(event.message.createdAt, this.sessions.get(id)?.updatedAt ?? 0),
        });
        if (event.message.scheduledAt) this._readSchedule();
        break;
      case "message-cancelled":
        if (this.sessions.get(id)?.nextScheduledAt) this._readSchedule();
        break;
      case "scheduled-matured":
        this._readSchedule();
        break;
      default: // events of other kinds tell nothing of the list
    }
    this.conversations.apply(id, event);
  }

  /** @param {string} id */
  _remove(id) {
    if (this._resuming.has(id)) {
      this._resuming.set(id, true);
      return;
    }
    this.sessions.delete(id);
    this.conversations.forget(id);
    this.onRemoved(id);
  }

  /** The list tells when messages are sent that are sent later. */
  _readSchedule() {
    this.readSessions().catch(() => {}); // the next read of the list has it
  }

  /** @param {string} id @param {Json} data a whole session, or some of its fields */
  _update(id, data) {
    if (data.id) {
      this._putSession(data);
      return;
    }
    const session = this.sessions.get(id);
    if (!session) {
      this.readSession(id).catch(() => {}); // the next event of the session tries again
      return;
    }
    this.sessions.set(id, withActivity(session, readable(patched(session, data))));
    if (data.active && !session.active) this.outbox.releaseHeld(id);
  }

  /** @param {Session} session */
  _putSession(session) {
    const known = this.sessions.get(session.id);
    const next = readable(withDetails(known, session));
    this.refusals.delete(session.id);
    this.sessions.set(session.id, withActivity(known, next));
    if (next.active && !known?.active) this.outbox.releaseHeld(session.id);
  }

  /** @param {string} id @param {Json} data a whole machine, some of its fields, or null when it is gone */
  _updateMachine(id, data) {
    const known = this.machines.get(id);
    if (!data) {
      this.machines.delete(id);
    } else if (!data.id && !known) {
      if (data.active) this.readMachines().catch(() => {}); // the next event of the machine tries again
    } else {
      const machine = { ...known, ...data };
      this.machines.set(id, machine);
      if (machine.active && !known?.active) this.readAgents(id);
    }
  }
}
