// From the hub's messages to what a conversation shows: a list of blocks. Pure; one pass, oldest message first.

import { withOwnKeys } from "./block-keys.js";
import { claudeRecords } from "./claude.js";
import { asText, lineText } from "../json.js";
import { withModelErrors } from "./model-errors.js";
import { outgoingBlock, promptBlock } from "./prompts.js";
import { markPlaces } from "./queue.js";
import { isWellFormed, objectsIn } from "./record-shape.js";
import { eventText, isFailure } from "./session-events.js";
import { continuesPlan, isDone, isSamePlan, isTodoTool, stepsOf, todosIn } from "./todos.js";
import { takeCall, takeResult, toolBlock } from "./tool-blocks.js";
import { TurnMeter } from "./turns.js";

/** @import { AgentState, Block, CompletedRequest, Json, Message, OutgoingMessage, PlanBlock, TextBlock, ThoughtBlock, ToolBlock, TurnBlock } from "../types.js" */

/**
 * The blocks of a conversation, in the order in which they are shown.
 * @param {Message[]} messages
 * @param {OutgoingMessage[]} outgoing messages that the hub has not confirmed yet
 * @param {AgentState | null | undefined} agentState
 * @returns {Block[]}
 */
export function blocksOf(messages, outgoing, agentState) {
  const builder = new BlockBuilder();
  const replaced = new Set(outgoing.map((message) => message.replaces));
  for (const message of messages)
    if (!message.localId || message.invokedAt || !replaced.has(message.localId))
      builder.addMessage(message);
  for (const message of outgoing) builder.addOutgoing(message);
  builder.joinRequests(agentState);
  return withOwnKeys(withModelErrors(builder.blocks()));
}

class BlockBuilder {
  constructor() {
    /** @type {Block[]} */
    this._shown = [];
    /** @type {Block[]} */
    this._queued = [];
    /** @type {Block[]} requests without a tool call */
    this._requests = [];
    /** @type {Map<string, Block>} */
    this._byKey = new Map();
    /** @type {Map<string, Json>} tool calls that are shown as a plan, and their names */
    this._planCalls = new Map();
    /** @type {Set<string>} */
    this._localIds = new Set();
    /** @type {PlanBlock | null} the newest plan */
    this._plan = null;
    this._turn = new TurnMeter();
  }

  blocks() {
    markPlaces(this._queued);
    return [...this._shown, ...this._requests, ...this._queued];
  }

  /** Add what a message shows. One that is malformed shows itself, and nothing of it is lost. @param {Message} message */
  addMessage(message) {
    try {
      this._addContent(message);
    } catch {
      this._addOdd(message);
    }
  }

  /** @param {Message} message */
  _addContent(message) {
    if (!isWellFormed(message.content)) {
      this._addOdd(message);
      return;
    }
    const { role, content } = message.content;
    if (role === "user") {
      this._addPrompt(message, content);
    } else if (role === "agent" && content.type === "codex") {
      this._addRecord(message, content.data);
    } else if (role === "agent" && content.type === "event") {
      this._addEvent(message, content.data);
    } else if (role === "agent" && content.type === "output") {
      claudeRecords(content.data).forEach((data, index) =>
        this._addRecord({ ...message, id: `${message.id}/${index}` }, data),
      );
    }
  }

  /** @param {Message} message */
  _addOdd(message) {
    this._add({
      key: `odd:${message.id}`,
      version: message.id,
      kind: "odd",
      at: message.createdAt,
      value: message.content,
    });
  }

  /** @param {OutgoingMessage} message */
  addOutgoing(message) {
    if (this._localIds.has(message.localId)) return;
    this._queued.push(outgoingBlock(message));
  }

  /**
   * Join permission requests and tool calls; a request without a tool call becomes a block of its own at the end.
   * @param {AgentState | null | undefined} agentState
   */
  joinRequests(agentState) {
    for (const [requestId, request] of objectsIn(agentState?.requests)) {
      const tool = this._toolBlock(request.toolCallId) ?? this._toolBlock(requestId);
      if (tool) Object.assign(tool, { requestId, request, version: `${tool.version} asks` });
      else
        this._requests.push({
          key: `request:${requestId}`,
          version: "asks",
          kind: "request",
          at: typeof request.createdAt === "number" ? request.createdAt : 0,
          requestId,
          request,
        });
    }
    for (const [requestId, answered] of objectsIn(agentState?.completedRequests))
      this._addDecision(requestId, answered);
  }

  /** @param {string} requestId @param {CompletedRequest} answered */
  _addDecision(requestId, answered) {
    const tool = this._toolBlock(answered.toolCallId ?? requestId);
    if (tool && !tool.request) {
      Object.assign(tool, {
        decision: answered,
        version: `${tool.version} ${asText(answered.status)} ${asText(answered.decision)}`,
      });
    }
  }

  /** @param {Json} callId */
  _toolBlock(callId) {
    if (typeof callId === "object") return undefined; // it names no call
    return /** @type {ToolBlock | undefined} */ (this._byKey.get(`tool:${callId}`));
  }

  /** @param {Block} block */
  _add(block) {
    this._shown.push(block);
  }

  /**
   * The block of `key`, made of `initial` when it is new. Its version changes with each message that belongs to it.
   * @template {ToolBlock | TextBlock | ThoughtBlock} Kind
   * @param {Message} message
   * @param {Kind} initial
   * @returns {Kind}
   */
  _upsert(message, initial) {
    let block = /** @type {Kind | undefined} */ (this._byKey.get(initial.key));
    if (!block) {
      block = initial;
      this._add(block);
      this._byKey.set(block.key, block);
    }
    block.version = message.id;
    return block;
  }

  /** @param {Message} message @param {Json} content */
  _addPrompt(message, content) {
    if (message.localId) this._localIds.add(message.localId);
    const block = promptBlock(message, content);
    if (block.state === "sent") {
      this._add(block);
      if (this._plan) this._plan.promptsSince += 1;
      this._turn.begin(block.at);
    } else {
      this._queued.push(block);
    }
  }

  /** @param {Message} message @param {Json} data a record of an agent */
  _addRecord(message, data) {
    switch (data.type) {
      case "message":
        this._addText(message, data);
        break;
      case "token_count":
        this._turn.addCount(data);
        break;
      case "message-usage":
        this._turn.addMessage(data);
        break;
      case "turn-duration":
        this._addTurn(this._turn.addDuration(message, data.ms));
        break;
      case "reasoning":
        this._addThought(message, data);
        break;
      case "tool-call":
        this._addToolCall(message, data);
        break;
      case "tool-call-result":
        this._addToolResult(message, data);
        break;
      case "plan":
        this._setPlan(message, data.entries);
        break;
      case "error":
        this._addNote(message, lineText(data.message), "bad");
        break;
      case "note":
        this._addNote(message, lineText(data.message));
        break;
      case "generated-image":
        this._add({
          key: `image:${data.imageId}`,
          version: "",
          kind: "image",
          at: message.createdAt,
          imageId: data.imageId,
          fileName: asText(data.fileName),
          mediaType: asText(data.mimeType),
          size: typeof data.size === "number" ? data.size : 0,
        });
        break;
      default: // records of other kinds show nothing
    }
  }

  /** @param {Message} message @param {Json} data */
  _addThought(message, data) {
    /** @type {ThoughtBlock} */
    const initial = {
      key: `thought:${data.id ?? message.id}`,
      kind: "thought",
      version: "",
      at: message.createdAt,
      text: "",
      live: false,
    };
    Object.assign(this._upsert(message, initial), {
      text: asText(data.message),
      live: Boolean(data.live),
    });
  }

  /** @param {Message} message @param {Json} data */
  _addToolCall(message, data) {
    const known = this._toolBlock(data.callId);
    const todos = todosIn(known?.name ?? data.name, data.input);
    if (todos || isTodoTool(data.name)) {
      this._planCalls.set(data.callId, known?.name ?? data.name);
      if (known) this._remove(known);
      if (todos) this._setPlan(message, todos);
      return;
    }
    if (this._planCalls.has(data.callId)) return;
    const block = this._upsert(message, toolBlock(message, data));
    takeCall(block, message, data);
  }

  /** @param {Message} message @param {Json} data */
  _addToolResult(message, data) {
    if (this._planCalls.has(data.callId) && !data.is_error) return; // the plan shows all there is
    const name = this._planCalls.get(data.callId);
    const block = this._upsert(message, toolBlock(message, data));
    if (name !== undefined) block.name = lineText(name);
    takeResult(block, message, data);
  }

  /** A plan stands where it was first told, with its newest entries. @param {Message} message @param {Json} entries */
  _setPlan(message, entries) {
    const steps = stepsOf(entries);
    if (steps === null) return;
    const before = this._plan;
    if (steps.length === 0) {
      if (before && !isDone(before.entries)) this._remove(before);
      this._plan = null;
      return;
    }
    if (before && isSamePlan(before.entries, steps)) return;
    if (before && continuesPlan(before.entries, steps)) {
      Object.assign(before, { version: message.id, entries: steps, promptsSince: 0 });
      return;
    }
    this._plan = {
      key: `plan:${message.id}`,
      kind: "plan",
      version: "",
      at: message.createdAt,
      entries: steps,
      promptsSince: 0,
    };
    this._add(this._plan);
  }

  /** @param {Block} block */
  _remove(block) {
    this._shown = this._shown.filter((other) => other !== block);
    this._byKey.delete(block.key);
  }

  /** @param {Message} message @param {Json} data an event of a session */
  _addEvent(message, data) {
    if (data.type === "ready") this._addTurn(this._turn.end(message));
    const text = eventText(data);
    if (text === null) return;
    const mode = data.type === "permission-mode-changed" ? asText(data.mode) : undefined;
    this._addNote(message, text, isFailure(data, text) ? "bad" : "plain", mode);
  }

  /** @param {Message} message @param {string} text @param {string} [tone] @param {string} [mode] */
  _addNote(message, text, tone = "plain", mode = undefined) {
    this._add({
      key: `event:${message.id}`,
      version: "",
      kind: "event",
      at: message.createdAt,
      text,
      tone,
      ...(mode !== undefined && { mode }),
    });
  }

  /** @param {Message} message @param {Json} data */
  _addText(message, data) {
    const key = `text:${data.id || message.id}`;
    const block = this._upsert(message, textBlock(message, key, data.side));
    block.text = asText(data.message);
    this._turn.addText(block);
  }

  /** @param {TurnBlock | null} block */
  _addTurn(block) {
    if (block) this._add(block);
  }
}

/** @param {Message} message @param {string} key @param {boolean} [side] @returns {TextBlock} */
function textBlock(message, key, side) {
  return { key, kind: "text", version: "", at: message.createdAt, text: "", side };
}
