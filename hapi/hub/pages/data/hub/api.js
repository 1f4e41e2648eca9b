// The hub's REST API: one method for each route that the page uses.

import { answerOf, HubClient } from "./hub-client.js";

/**
 * @import { AgentAvailability, AgentCatalogAnswer, Attachment, Json, Machine, MessagePage, PagePosition, QueuedStates, NewShareLink, SavedPrompt, ScratchEntry, SearchPage, Session, ShareLink, UsageSummary } from "../types.js"
 */

const RESTART_TIMEOUT = 90_000; // ms; the hub waits 45 s for the new runner, after a trial start of 30 s at the most
const FORK_TIMEOUT = 180_000; // ms; another agent has to start and to tell that it has its copy
const EXPORT_TIMEOUT = 600_000; // ms; a long conversation over a mobile network

const segment = encodeURIComponent;
/** @param {string} id */
const sessionPath = (id) => `/api/sessions/${segment(id)}`;
/** @param {string} id */
const machinePath = (id) => `/api/machines/${segment(id)}`;

export class Api extends HubClient {
  /** @returns {Promise<AgentCatalogAnswer>} */
  agentCatalog() {
    return this.request("GET", "/api/agents");
  }

  /** @param {number} [limit] how many at most; without it all of them @returns {Promise<Session[]>} */
  sessions(limit) {
    const query = limit === undefined ? "" : `?limit=${limit}`;
    return this.read(`/api/sessions${query}`, "sessions");
  }

  /** @param {string} id @returns {Promise<Session>} */
  session(id) {
    return this.read(sessionPath(id), "session");
  }

  /** @param {string} id @param {string} name */
  renameSession(id, name) {
    return this.request("PATCH", sessionPath(id), { name });
  }

  /** @param {string} id @param {"none" | "project" | "global"} mode */
  pinSession(id, mode) {
    return this.request("PUT", `${sessionPath(id)}/pin`, { mode });
  }

  /** @param {string} id */
  deleteSession(id) {
    return this.request("DELETE", sessionPath(id));
  }

  /** @param {string} id */
  archiveSession(id) {
    return this.request("POST", `${sessionPath(id)}/archive`, {});
  }

  /** Starts the session's agent again. @param {string} id @returns {Promise<{ sessionId: string, resumed?: boolean, memory?: string }>} */
  reopenSession(id) {
    return this.request("POST", `${sessionPath(id)}/reopen`, {});
  }

  /** @param {string} id */
  abort(id) {
    return this.request("POST", `${sessionPath(id)}/abort`, {});
  }

  /** Takes a session over from the terminal of its machine. @param {string} id */
  takeOver(id) {
    return this.request("POST", `${sessionPath(id)}/switch`, {});
  }

  /** @param {string} id @param {string} mode */
  setPermissionMode(id, mode) {
    return this.request("POST", `${sessionPath(id)}/permission-mode`, { mode });
  }

  /** Set a setting by the last part of its path. @param {string} id @param {string} path @param {Json} body */
  setSetting(id, path, body) {
    return this.request("POST", `${sessionPath(id)}/${path}`, body);
  }

  /** @param {string} id @param {string | null} model null: the agent's default */
  setModel(id, model) {
    return this.request("POST", `${sessionPath(id)}/model`, { model });
  }

  /**
   * @param {string} id
   * @param {number} limit
   * @param {PagePosition} position {} for the newest, {beforeSeq, beforeAt} or {afterSeq, afterAt, epoch}
   * @returns {Promise<MessagePage>}
   */
  messages(id, limit, position = {}) {
    const query = new URLSearchParams(
      Object.entries({ limit, ...position }).map(([name, value]) => [name, String(value)]),
    );
    return this.request("GET", `${sessionPath(id)}/messages?${query}`, undefined, "messages");
  }

  /**
   * Safe to repeat: the hub keeps one message per `localId`.
   * @param {string} id
   * @param {string} text
   * @param {string} localId
   * @param {{ attachments?: Attachment[], scheduledAt?: number | null }} [options]
   */
  sendMessage(id, text, localId, { attachments = [], scheduledAt = null } = {}) {
    return this.request("POST", `${sessionPath(id)}/messages`, {
      text,
      localId,
      ...(attachments.length > 0 && { attachments }),
      ...(scheduledAt !== null && { scheduledAt }),
    });
  }

  /** The path of the routes of a session. @param {string} id */
  sessionAddress(id) {
    return sessionPath(id);
  }

  /** The agent's slash commands. @param {string} id @returns {Promise<Json>} */
  commands(id) {
    return this.request("GET", `${sessionPath(id)}/slash-commands`);
  }

  /** @param {string} id @returns {Promise<Json>} */
  skills(id) {
    return this.request("GET", `${sessionPath(id)}/skills`);
  }

  /** Files of the session's directory whose paths contain `query`. @param {string} id @param {string} query @param {number} limit @returns {Promise<Json>} */
  findFiles(id, query, limit) {
    return this.request(
      "GET",
      `${sessionPath(id)}/files?${new URLSearchParams({ query, limit: String(limit) })}`,
    );
  }

  /** A list that the agent gives, by the last part of its path. @param {string} id @param {string} path @returns {Promise<Json>} */
  sessionList(id, path) {
    return this.request("GET", `${sessionPath(id)}/${path}`);
  }

  /** @returns {Promise<SavedPrompt[]>} */
  savedPrompts() {
    return this.read("/api/prompts", "prompts");
  }

  /** @param {{ text: string, name: string }} prompt */
  savePrompt(prompt) {
    return this.request("POST", "/api/prompts", prompt);
  }

  /** @param {string} promptId @param {{ text: string, name: string }} prompt */
  changePrompt(promptId, prompt) {
    return this.request("PUT", `/api/prompts/${segment(promptId)}`, prompt);
  }

  /** @param {string} promptId */
  deletePrompt(promptId) {
    return this.request("DELETE", `/api/prompts/${segment(promptId)}`);
  }

  /** What is kept beside a conversation, the newest first. @param {string} id @returns {Promise<ScratchEntry[]>} */
  scratchlist(id) {
    return this.read(`${sessionPath(id)}/scratchlist`, "entries");
  }

  /** @param {string} id @param {string} text */
  addScratch(id, text) {
    return this.request("POST", `${sessionPath(id)}/scratchlist`, { text });
  }

  /** @param {string} id @param {string} entryId */
  deleteScratch(id, entryId) {
    return this.request("DELETE", `${sessionPath(id)}/scratchlist/${segment(entryId)}`);
  }

  /** @param {string} id @param {string} path */
  deleteUpload(id, path) {
    return this.request("POST", `${sessionPath(id)}/upload/delete`, { path });
  }

  /** @param {string} id @param {string[]} localIds @returns {Promise<QueuedStates>} */
  queuedStates(id, localIds) {
    return this.request("POST", `${sessionPath(id)}/messages/queued-state`, { localIds });
  }

  /** `localId`: null if the hub has no such message. @param {string} id @param {string} localId @returns {Promise<{ status: string, localId?: string | null }>} */
  cancelMessage(id, localId) {
    return this.request("DELETE", `${sessionPath(id)}/messages/${segment(localId)}`);
  }

  /** @param {string} id @param {string} messageId @returns {Promise<{ status: string }>} */
  retryMessage(id, messageId) {
    return this.request("POST", `${sessionPath(id)}/messages/${segment(messageId)}/retry`, {});
  }

  /** @param {string} id @param {string} requestId @param {"approve" | "deny"} verdict @param {Json} body */
  answerPermission(id, requestId, verdict, body) {
    return this.request(
      "POST",
      `${sessionPath(id)}/permissions/${segment(requestId)}/${verdict}`,
      body,
    );
  }

  /** @param {string} id @param {string} ruleId @returns {Promise<{ rules?: Json[] }>} the rules that remain */
  removePermissionRule(id, ruleId) {
    return this.request("DELETE", `${sessionPath(id)}/permission-rules/${segment(ruleId)}`);
  }

  /** @param {string} id @param {string} imageId */
  async generatedImage(id, imageId) {
    const response = await this.fetch(
      "GET",
      `${sessionPath(id)}/generated-images/${segment(imageId)}`,
    );
    return response.blob();
  }

  /**
   * @param {string} query
   * @param {{ cursor?: number | null, sessionId?: string, signal?: AbortSignal }} [options]
   * @returns {Promise<SearchPage>}
   */
  async search(query, { cursor, sessionId, signal } = {}) {
    const given = new URLSearchParams({ q: query });
    if (typeof cursor === "number") given.set("cursor", String(cursor));
    if (sessionId !== undefined) given.set("sessionId", sessionId);
    return answerOf(await this.fetch("GET", `/api/search?${given}`, { signal }), "results");
  }

  /** @param {string} range `7d`, `30d` or `all` @param {string} timeZone @returns {Promise<UsageSummary>} */
  usage(range, timeZone) {
    const query = new URLSearchParams({ range, timeZone });
    return this.request("GET", `/api/usage/summary?${query}`, undefined, "totals");
  }

  /** The files of the hub's database. @returns {Promise<{ path: string, totalBytes: number }>} */
  storage() {
    return this.request("GET", "/api/storage/sqlite");
  }

  /** A whole conversation as a file. @param {string} id @param {"json" | "markdown"} format @returns {Promise<Blob>} */
  async exportSession(id, format) {
    const path = format === "json" ? "export" : "export/markdown";
    const signal = AbortSignal.timeout(EXPORT_TIMEOUT);
    return (await this.fetch("GET", `${sessionPath(id)}/${path}?force=true`, { signal })).blob();
  }

  /** Begins another session with the memory of this one. @param {string} id @returns {Promise<{ sessionId: string }>} */
  forkSession(id) {
    const signal = AbortSignal.timeout(FORK_TIMEOUT);
    return this.fetch("POST", `${sessionPath(id)}/fork`, { body: {}, signal }).then((response) =>
      answerOf(response, "sessionId"),
    );
  }

  /** @param {string} id @returns {Promise<ShareLink[]>} */
  shareLinks(id) {
    return this.read(`${sessionPath(id)}/share-links`, "links");
  }

  /** @param {string} id @param {Json} wanted @returns {Promise<NewShareLink>} */
  createShareLink(id, wanted) {
    return this.request("POST", `${sessionPath(id)}/share-links`, wanted);
  }

  /** @param {string} id @param {string} linkId */
  revokeShareLink(id, linkId) {
    return this.request("DELETE", `${sessionPath(id)}/share-links/${segment(linkId)}`);
  }

  /** @returns {Promise<Machine[]>} */
  machines() {
    return this.read("/api/machines", "machines");
  }

  /** @param {string} id @param {string} displayName */
  renameMachine(id, displayName) {
    return this.request("PATCH", machinePath(id), { displayName });
  }

  /** The answer comes when the new runner serves, or says why the old one keeps running. @param {string} id */
  restartRunner(id) {
    const signal = AbortSignal.timeout(RESTART_TIMEOUT);
    return this.fetch("POST", `${machinePath(id)}/restart-runner`, { body: {}, signal });
  }

  /** @param {string} id @returns {Promise<AgentAvailability[]>} */
  agentAvailability(id) {
    return this.read(`${machinePath(id)}/agent-availability`, "agents");
  }

  /** What an agent of a machine offers; the machine asks the agent if it does not know. @param {string} id @param {string} agent @param {string} cwd @returns {Promise<Json>} */
  machineModels(id, agent, cwd) {
    return this.request(
      "GET",
      `${machinePath(id)}/${segment(agent)}-models?${new URLSearchParams({ cwd })}`,
    );
  }

  /** @param {string} id @param {string} path */
  listDirectory(id, path) {
    return this.request("POST", `${machinePath(id)}/list-directory`, { path });
  }

  /** @param {string} id @param {string} path */
  pathExists(id, path) {
    return this.request("POST", `${machinePath(id)}/paths/exists`, { paths: [path] });
  }

  /** @param {string} id @param {Json} parameters */
  spawn(id, parameters) {
    return this.request("POST", `${machinePath(id)}/spawn`, parameters);
  }

  /** Have an event stream carry the live text of this session only. @param {string} subscriptionId @param {string | null} sessionId */
  readLive(subscriptionId, sessionId) {
    return this.request("POST", "/api/live", { subscriptionId, sessionId });
  }

  /** @param {string} subscriptionId @param {DocumentVisibilityState} visibility */
  reportVisibility(subscriptionId, visibility) {
    return this.request("POST", "/api/visibility", { subscriptionId, visibility });
  }
}
