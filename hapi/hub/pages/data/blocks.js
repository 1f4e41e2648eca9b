// From the hub's messages to what a conversation shows: a list of blocks. Pure; one pass, oldest message first.

import { claudeRecords } from "./claude.js";
import { isQueued } from "./transcript.js";

/**
 * Blocks have `key` (stable), `version` (changes with the content), `kind` and `at` (ms), and by kind:
 * user {text, state, localId, messageId, error} · text {text} · thought {text, live} · tool {name, title, toolKind, input, status, output, failed,
 * requestId, request, decision} · plan {entries} · event {text, tone} · image {imageId, fileName} · request {requestId, request}.
 */
export function blocksOf(messages, outgoing, agentState) {
  const draft = new Draft();
  for (const message of messages) take(draft, message);
  for (const entry of outgoing) if (!draft.locals.has(entry.localId)) draft.add(outgoingBlock(entry));
  return withRequests(draft, agentState ?? {});
}

class Draft {
  constructor() {
    this.blocks = [];
    this.queued = [];
    this.byId = new Map(); // "text:<id>", "thought:<id>", "tool:<callId>" -> block
    this.locals = new Set();
    this.plan = null; // of the turn at hand
  }

  add(block) {
    (block.kind === "user" && block.state !== "sent" ? this.queued : this.blocks).push(block);
    return block;
  }

  /** The block of `id`, made by `make` at its first sight; its version moves with each message that touches it. */
  upsert(id, message, make) {
    let block = this.byId.get(id);
    if (!block) {
      block = this.add({ key: id, at: message.createdAt, ...make });
      this.byId.set(id, block);
    }
    block.version = message.id;
    return block;
  }
}

function take(draft, message) {
  const { role, content } = message.content ?? {};
  if (role === "user") return person(draft, message, content);
  if (role === "agent" && content?.type === "codex") return record(draft, message, content.data ?? {});
  if (role === "agent" && content?.type === "event") return event(draft, message, content.data ?? {});
  if (role === "agent" && content?.type === "output") {
    return claudeRecords(content.data ?? {}).forEach((data, index) => record(draft, { ...message, id: `${message.id}/${index}` }, data));
  }
  if (role === undefined || content === undefined) return draft.add(text(message, "```json\n" + JSON.stringify(message.content, null, 2) + "\n```"));
  return undefined;
}

function person(draft, message, content) {
  if (message.localId) draft.locals.add(message.localId);
  const state = !isQueued(message) ? "sent"
    : message.deliveryState === "indeterminate" ? "indeterminate"
    : message.scheduledAt > Date.now() ? "scheduled" : "queued";
  draft.add({
    key: `user:${message.localId ?? message.id}`,
    kind: "user",
    version: `${message.id} ${state}`,
    at: message.invokedAt ?? message.createdAt,
    text: typeof content === "string" ? content : content?.text ?? "",
    files: (content?.attachments ?? []).map((file) => String(file.filename)),
    state,
    localId: message.localId,
    messageId: message.id,
    scheduledAt: message.scheduledAt,
  });
  if (state === "sent") draft.plan = null;
}

function outgoingBlock(entry) {
  return {
    key: `user:${entry.localId}`, kind: "user", version: `${entry.state} ${entry.error}`, at: entry.createdAt,
    text: entry.text, files: [], state: entry.state, localId: entry.localId, error: entry.error, code: entry.code,
  };
}

function record(draft, message, data) {
  switch (data.type) {
    case "message": {
      if (!data.id) return draft.add(text(message, asText(data.message), data.side));
      const block = draft.upsert(`text:${data.id}`, message, { kind: "text", side: data.side });
      block.text = asText(data.message);
      return block;
    }
    case "reasoning": {
      const block = draft.upsert(`thought:${data.id ?? message.id}`, message, { kind: "thought" });
      return Object.assign(block, { text: asText(data.message), live: Boolean(data.live) });
    }
    case "tool-call":
      return toolCall(draft, message, data);
    case "tool-call-result": {
      const block = draft.upsert(`tool:${data.callId}`, message, { kind: "tool", callId: data.callId, name: "Tool" });
      return Object.assign(block, { output: data.output, failed: Boolean(data.is_error), status: data.is_error ? "failed" : "completed", done: true });
    }
    case "plan":
      return plan(draft, message, data.entries);
    case "error":
      return draft.add(note(message, asText(data.message), "bad"));
    case "note":
      return draft.add(note(message, data.message, data.tone));
    case "generated-image":
      return draft.add({ key: `image:${data.imageId}`, version: "", kind: "image", at: message.createdAt, imageId: data.imageId, fileName: asText(data.fileName) });
    default:
      return undefined;
  }
}

function toolCall(draft, message, data) {
  if (data.name === "TodoWrite" && Array.isArray(data.input?.todos)) {
    draft.byId.set(`tool:${data.callId}`, { kind: "tool" }); // its result has nothing to show
    return plan(draft, message, data.input.todos);
  }
  const block = draft.upsert(`tool:${data.callId}`, message, { kind: "tool", callId: data.callId, side: data.side });
  Object.assign(block, { name: asText(data.name ?? block.name ?? "Tool"), toolKind: data.nativeKind ?? block.toolKind });
  block.title = asText(data.nativeTitle ?? data.description ?? block.title ?? "");
  if (data.input !== undefined && data.input !== null) block.input = data.input;
  if (data.progress) block.progress = asText(data.progress);
  if (!block.done) block.status = data.status ?? block.status ?? "pending";
  return block;
}

/** One plan per turn, shown where it first stood, always with its newest entries. */
function plan(draft, message, entries) {
  if (!Array.isArray(entries)) return;
  draft.plan ??= draft.add({ key: `plan:${message.id}`, kind: "plan", at: message.createdAt });
  draft.plan.version = message.id;
  draft.plan.entries = entries.map((entry) => ({ content: asText(entry?.content), status: entry?.status ?? "pending" }));
}

function event(draft, message, data) {
  const say = (words, tone) => draft.add(note(message, words, tone));
  switch (data.type) {
    case "message":
      return say(asText(data.message), /failed|error/i.test(asText(data.message)) ? "bad" : "plain");
    case "error":
      return say(asText(data.message), "bad");
    case "switch":
      return say(data.mode === "local" ? "Now driven from its terminal" : "Now driven from here", "plain");
    case "permission-mode-changed":
      return say(`Permission mode: ${asText(data.mode)}`, "plain");
    case "title-changed":
      return say(`Title: ${asText(data.title)}`, "plain");
    case "limit-reached":
      return say("The agent's usage limit is reached", "bad");
    default:
      return undefined;
  }
}

function text(message, words, side = false) {
  return { key: `text:${message.id}`, version: "", kind: "text", at: message.createdAt, text: words, side };
}

function note(message, words, tone = "plain") {
  return { key: `event:${message.id}`, version: "", kind: "event", at: message.createdAt, text: words, tone };
}

export function asText(value) {
  return typeof value === "string" ? value : value === null || value === undefined ? "" : JSON.stringify(value, null, 2);
}

/** Join permission requests and tool cards; a request without a card gets a block of its own at the end. */
function withRequests(draft, { requests = {}, completedRequests = {} }) {
  const loose = [];
  for (const [requestId, request] of Object.entries(requests)) {
    const card = draft.byId.get(`tool:${request.toolCallId ?? requestId}`) ?? draft.byId.get(`tool:${requestId}`);
    if (card && card.key) Object.assign(card, { requestId, request, version: `${card.version} asks` });
    else loose.push({ key: `request:${requestId}`, version: "asks", kind: "request", at: request.createdAt, requestId, request });
  }
  for (const [requestId, answered] of Object.entries(completedRequests)) {
    const card = draft.byId.get(`tool:${answered.toolCallId ?? requestId}`);
    if (card?.key && !card.request) Object.assign(card, { decision: answered, version: `${card.version} ${answered.status} ${answered.decision}` });
  }
  return [...draft.blocks, ...loose, ...draft.queued];
}
