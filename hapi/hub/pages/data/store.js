// What the page knows: sessions, machines, the connection. Read by REST, kept current by events.

import { coalesced } from "../lib/dom.js";
import { Transcript } from "./transcript.js";

const VERSIONED = ["metadata", "agentState", "todos", "teamState"];

export class Store {
  constructor(api, outbox, seen) {
    Object.assign(this, { _api: api, outbox, seen });
    this.sessions = new Map(); // id -> session object of the hub, as complete as it is known; `detailed` when read in full
    this.machines = new Map();
    this.agents = new Map(); // machine id -> [{agent, available, reason}]
    this.transcripts = new Map(); // session id -> Transcript
    this.connection = { phase: "connecting", since: Date.now(), attempt: 0 };
    this.loaded = false;
    this.openId = null; // the session on screen
    this.onToast = () => {};
    this.onRemoved = () => {};
    this._watchers = new Set();
    this._reads = new Set();
    this.changed = coalesced(() => { for (const watcher of this._watchers) watcher(); });
    outbox.onChange = this.changed;
  }

  /** Call `watcher` after changes; returns the way to stop. */
  watch(watcher) {
    this._watchers.add(watcher);
    return () => this._watchers.delete(watcher);
  }

  /** Read everything on screen again: at the first connection and whenever events may have been missed. */
  async refresh() {
    await Promise.all([this.readSessions(), this.readMachines(), this.openId && this.readSession(this.openId), this.openId && this.catchUp(this.openId)]);
    for (const [id, transcript] of this.transcripts) if (id !== this.openId) transcript.stale = true;
    this.loaded = true;
    this.changed();
  }

  readSessions() {
    return this._read(() => this._api.sessions(), (summaries) => {
      const present = new Set(summaries.map((summary) => summary.id));
      for (const id of this.sessions.keys()) if (!present.has(id)) this.sessions.delete(id);
      for (const summary of summaries) this.sessions.set(summary.id, withSummary(this.sessions.get(summary.id), summary));
    });
  }

  readMachines() {
    return this._read(() => this._api.machines(), (machines) => {
      this.machines = new Map(machines.map((machine) => [machine.id, machine]));
      for (const id of this.machines.keys()) this.readAgents(id);
    });
  }

  readAgents(id) {
    return this._api.agents(id).then((agents) => { this.agents.set(id, agents); this.changed(); }, () => {});
  }

  readSession(id) {
    return this._read(() => this._api.session(id), (session) => this._keep(session));
  }

  transcript(id) {
    if (!this.transcripts.has(id)) this.transcripts.set(id, new Transcript());
    return this.transcripts.get(id);
  }

  /** Bring the messages of a session up to date: the newest page at first, what was missed afterwards. */
  async catchUp(id) {
    const transcript = this.transcript(id);
    for (;;) {
      const position = transcript.catchUpPosition();
      const answer = await this._read(() => this._api.messages(id, position ? 200 : 50, position ?? {}), (page) => transcript.take(page));
      this._sent(id, answer.messages);
      if (!position || !answer.page.hasMore || answer.page.reset) break;
    }
    const waiting = transcript.queued().map((message) => message.localId).slice(0, 1000);
    if (waiting.length > 0) await this._read(() => this._api.queuedState(id, waiting), (states) => transcript.settle(states));
    transcript.stale = false;
    this.outbox.forgetPosted(id, (localId) => transcript.hasLocal(localId));
    this.changed();
  }

  /** Read the page before the oldest message that is known. */
  async readOlder(id) {
    const transcript = this.transcript(id);
    const position = transcript.olderPosition();
    if (!position || transcript.loadingOlder) return;
    transcript.loadingOlder = true;
    this.changed();
    try {
      await this._read(() => this._api.messages(id, 50, position), (page) => transcript.takeOlder(page));
    } finally {
      transcript.loadingOlder = false;
      this.changed();
    }
  }

  /** Do a read and take its answer; events that came in meanwhile are applied once more, as the answer may be older than they are. */
  async _read(ask, take) {
    const meanwhile = [];
    this._reads.add(meanwhile);
    try {
      const answer = await ask();
      take(answer);
      for (const event of meanwhile) this._apply(event);
      return answer;
    } finally {
      this._reads.delete(meanwhile);
      this.changed();
    }
  }

  event(event) {
    for (const meanwhile of this._reads) meanwhile.push(event);
    this._apply(event);
    this.changed();
  }

  _apply(event) {
    const id = event.sessionId;
    const transcript = this.transcripts.get(id);
    switch (event.type) {
      case "session-added":
      case "session-updated":
        return event.data && this._update(id, event.data);
      case "session-ended":
        return this._update(id, { active: false, thinking: false });
      case "session-removed":
        this.sessions.delete(id);
        this.transcripts.delete(id);
        return this.onRemoved(id);
      case "message-received":
        this._sent(id, [event.message]);
        this._update(id, { updatedAt: Math.max(event.message.createdAt, this.sessions.get(id)?.updatedAt ?? 0) });
        return transcript?.upsert(event.message);
      case "messages-consumed":
        for (const localId of event.localIds) this.outbox.seen(localId);
        return transcript?.consumed(event.localIds, event.invokedAt);
      case "message-cancelled":
        if (event.localId) this.outbox.seen(event.localId);
        return transcript?.remove(event.messageId, event.localId);
      case "messages-indeterminate":
      case "messages-requeued":
        return transcript?.mark(event.localIds, event.type === "messages-indeterminate" ? "indeterminate" : undefined);
      case "messages-invalidated":
        if (!transcript) return undefined;
        transcript.stale = true;
        transcript.forgetPosition();
        return id === this.openId && this.catchUp(id).catch(() => {});
      case "machine-updated":
        return this._machine(event);
      case "toast":
        return this.onToast(event.data);
      default:
        return undefined;
    }
  }

  _update(id, data) {
    if (data.id) return this._keep(data);
    const session = this.sessions.get(id);
    if (session) {
      this.sessions.set(id, lived(session, patched(session, data)));
      if (data.active && !session.active) this.outbox.activated(id);
      return undefined;
    }
    return this.readSession(id).catch(() => {}); // a session of which only a patch came
  }

  _keep(session) {
    const known = this.sessions.get(session.id);
    const next = { ...known, ...session, detailed: true };
    for (const key of ["metadata", "agentState"]) {
      if (known?.detailed && known[`${key}Version`] > session[`${key}Version`]) {
        next[key] = known[key];
        next[`${key}Version`] = known[`${key}Version`];
      }
    }
    this.sessions.set(session.id, lived(known, next));
    if (next.active && !known?.active) this.outbox.activated(session.id);
  }

  _machine({ machineId, data }) {
    const known = this.machines.get(machineId);
    if (!data) return this.machines.delete(machineId);
    if (!data.id && !known) return data.active && this.readMachines().catch(() => {});
    const machine = { ...known, ...data };
    this.machines.set(machineId, machine);
    if (machine.active && !known?.active) this.readAgents(machineId);
    return undefined;
  }

  _sent(id, messages) {
    for (const message of messages) if (message.localId) this.outbox.seen(message.localId);
  }
}

/** A session after a list was read: the list has less detail than what may be known already. */
function withSummary(known, summary) {
  if (!known) return summary;
  const next = { ...known, ...summary };
  if (known.metadataVersion >= summary.metadataVersion) next.metadata = known.metadata;
  else next.metadata = { ...known.metadata, ...summary.metadata };
  if (known.metadataVersion > summary.metadataVersion) next.metadataVersion = known.metadataVersion;
  return next;
}

/** `next` with the mark `wasActive` if it was seen alive before: then it is not one that is only starting. */
function lived(before, next) {
  return { ...next, wasActive: !next.active && Boolean(before?.active || before?.wasActive) };
}

/** A session after a patch; versioned parts only ever move forward. */
function patched(session, patch) {
  const next = { ...session };
  for (const [key, value] of Object.entries(patch)) {
    if (!VERSIONED.includes(key)) {
      next[key] = value;
    } else if (value && "version" in value) {
      if (value.version >= (session[versionKey(key)] ?? 0)) {
        next[key] = value.value;
        next[versionKey(key)] = value.version;
      }
    }
  }
  return next;
}

function versionKey(key) {
  return key === "todos" || key === "teamState" ? `${key}UpdatedAt` : `${key}Version`;
}

/** What a session waits for a person to decide: [[request id, request], …], oldest first; null while only the count is known. */
export function requestsOf(session) {
  if (!session.agentState?.requests) return session.detailed || session.agentState === null ? [] : null;
  return Object.entries(session.agentState.requests).sort(([, one], [, other]) => (one.createdAt ?? 0) - (other.createdAt ?? 0));
}

export function pendingCount(session) {
  if (!session.active) return 0;
  return (session.agentState !== undefined ? requestsOf(session)?.length : null) ?? session.pendingRequestsCount ?? 0;
}

export function progressOf(session) {
  if (!session.todos) return session.todoProgress ?? null;
  if (session.todos.length === 0) return null;
  return { completed: session.todos.filter((todo) => todo.status === "completed").length, total: session.todos.length };
}

export function titleOf(session) {
  const { name, summary, path } = session.metadata ?? {};
  return name || summary?.text || path?.split(/[\\/]/).filter(Boolean).at(-1) || `Session ${session.id.slice(0, 8)}`;
}

/** Rows that never came to anything are not listed. */
export function isWorthListing(session) {
  const { name, summary, agentSessionId, lifecycleState } = session.metadata ?? {};
  return Boolean(session.active || session.hasConversationContent !== false || name || summary || agentSessionId || lifecycleState === undefined);
}

export function machineName(machine) {
  return machine?.metadata?.displayName || machine?.metadata?.host || (machine ? `Machine ${machine.id.slice(0, 8)}` : "");
}
