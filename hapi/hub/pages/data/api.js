// The hub's REST API, one method per route that this page uses.

import { ApiError, Unreachable } from "../lib/errors.js";

const PATIENCE = 60_000; // ms; archive, spawn and resume may take the hub 30 s

export class Api {
  constructor(identity) {
    this._identity = identity;
    this.onRefused = () => {}; // called when not even a new login helps
  }

  sessions = () => this.get("/api/sessions?limit=500").then((answer) => answer.sessions);
  session = (id) => this.get(`/api/sessions/${seg(id)}`).then((answer) => answer.session);
  machines = () => this.get("/api/machines").then((answer) => answer.machines);
  rename = (id, name) => this.ask("PATCH", `/api/sessions/${seg(id)}`, { name });
  remove = (id) => this.ask("DELETE", `/api/sessions/${seg(id)}`);
  archive = (id) => this.ask("POST", `/api/sessions/${seg(id)}/archive`, {});
  reopen = (id) => this.ask("POST", `/api/sessions/${seg(id)}/reopen`, {});
  resume = (id) => this.ask("POST", `/api/sessions/${seg(id)}/resume`, {});
  abort = (id) => this.ask("POST", `/api/sessions/${seg(id)}/abort`, {});
  permissionMode = (id, mode) => this.ask("POST", `/api/sessions/${seg(id)}/permission-mode`, { mode });
  model = (id, model) => this.ask("POST", `/api/sessions/${seg(id)}/model`, { model });

  /** `position`: {} for the newest, {beforeSeq, beforeAt} or {afterSeq, afterAt, epoch}. Answer {messages, page}. */
  messages = (id, limit, position = {}) =>
    this.get(`/api/sessions/${seg(id)}/messages?${new URLSearchParams({ limit, ...position })}`);
  /** Safe to repeat: the hub keeps one message per `localId`. */
  send = (id, text, localId) => this.ask("POST", `/api/sessions/${seg(id)}/messages`, { text, localId });
  queuedState = (id, localIds) => this.ask("POST", `/api/sessions/${seg(id)}/messages/queued-state`, { localIds });
  cancel = (id, localId) => this.ask("DELETE", `/api/sessions/${seg(id)}/messages/${seg(localId)}`);
  retryQueued = (id, messageId) => this.ask("POST", `/api/sessions/${seg(id)}/messages/${seg(messageId)}/retry`, {});

  /** `verdict` is "approve" or "deny". */
  answer = (id, request, verdict, body) => this.ask("POST", `/api/sessions/${seg(id)}/permissions/${seg(request)}/${verdict}`, body);

  renameMachine = (id, displayName) => this.ask("PATCH", `/api/machines/${seg(id)}`, { displayName });
  agents = (id) => this.get(`/api/machines/${seg(id)}/agent-availability`).then((answer) => answer.agents);
  listDirectory = (id, path) => this.ask("POST", `/api/machines/${seg(id)}/list-directory`, { path });
  exists = (id, path) => this.ask("POST", `/api/machines/${seg(id)}/paths/exists`, { paths: [path] });
  spawn = (id, wish) => this.ask("POST", `/api/machines/${seg(id)}/spawn`, wish);

  visibility = (subscriptionId, visibility) => this.ask("POST", "/api/visibility", { subscriptionId, visibility });
  generatedImage = (id, image) => this.fetch("GET", `/api/sessions/${seg(id)}/generated-images/${seg(image)}`).then((answer) => answer.blob());

  get(path) {
    return this.ask("GET", path);
  }

  /** The JSON answer. Throws ApiError or Unreachable. */
  async ask(method, path, body) {
    const answer = await this.fetch(method, path, { body });
    const text = await answer.text().catch(() => { throw new Unreachable(); });
    try {
      return text ? JSON.parse(text) : {};
    } catch {
      throw new ApiError(answer.status, "not_json", "That address answers, but not as a HAPI hub does.");
    }
  }

  /** A successful Response; logs in again, once, when the JWT is refused. */
  async fetch(method, path, { body, headers, signal = AbortSignal.timeout(PATIENCE) } = {}) {
    let refused = null;
    for (;;) {
      const jwt = await this._jwt(refused);
      let answer;
      try {
        answer = await fetch(path, {
          method,
          signal,
          headers: { Authorization: `Bearer ${jwt}`, ...(body && { "Content-Type": "application/json" }), ...headers },
          body: body && JSON.stringify(body),
        });
      } catch {
        throw new Unreachable();
      }
      if (answer.status === 401 && refused === null) {
        refused = jwt;
        continue;
      }
      if ([502, 503, 504].includes(answer.status)) {
        const error = await ApiError.of(answer);
        throw error.code ? error : new Unreachable();
      }
      if (!answer.ok) throw await ApiError.of(answer);
      return answer;
    }
  }

  async _jwt(refused) {
    try {
      return await this._identity.jwt(refused);
    } catch (error) {
      if (error.status === 401 || error.status === 400) this.onRefused(error);
      throw error;
    }
  }
}

const seg = encodeURIComponent;
