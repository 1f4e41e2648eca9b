// What each turn of a conversation took: its time, tokens, model and cost, from the records of all kinds of sessions. Pure.

import { isObject } from "../json.js";

/** @import { Json, Message, TextBlock, TurnBlock } from "../types.js" */

const UNNAMED_MODELS = ["default", "auto"]; // what agents call a model that they do not tell

/**
 * @typedef {object} Turn
 * @property {number | null} startedAt ms since the epoch
 * @property {boolean} hasContent
 * @property {TextBlock | null} answer what the agent said last
 * @property {Pick<TurnBlock, "model" | "cost" | "context">} facts
 * @property {Tokens} counted
 * @property {Map<string, Tokens>} byMessage of Claude, which tells the usage of a message more than once
 * @property {number | null} duration ms, as the session tells it
 */

/** @typedef {{ input: number, output: number }} Tokens */

/** @param {number | null} startedAt @returns {Turn} */
function newTurn(startedAt) {
  return {
    startedAt,
    hasContent: false,
    answer: null,
    facts: {},
    counted: { input: 0, output: 0 },
    byMessage: new Map(),
    duration: null,
  };
}

/** Collects what belongs to a turn until it ends. */
export class TurnMeter {
  constructor() {
    /** @type {TurnBlock | null} the turn that ended last */
    this._last = null;
    this._turn = newTurn(null);
  }

  /** The agent has received a prompt. @param {number} at */
  begin(at) {
    this._turn = newTurn(at);
    this._turn.hasContent = true;
  }

  /** @param {TextBlock} block */
  addText(block) {
    if (!block.side) this._turn.answer = block;
    this._turn.hasContent = true;
  }

  /** A `token_count` record. @param {Json} data */
  addCount({ info, model, cost }) {
    if (!isObject(info)) return;
    const { total, contextTokens, modelContextWindow } = info;
    this._turn.hasContent = true;
    this._turn.counted.input += count(total?.inputTokens);
    this._turn.counted.output += count(total?.outputTokens);
    this._name(model);
    if (isObject(cost) && count(cost.amount) > 0) this._turn.facts.cost = priceOf(cost);
    this._setContext(contextTokens, modelContextWindow);
  }

  /** The usage of one of Claude's own messages. @param {Json} data `{id, model, usage}` */
  addMessage({ id, model, usage }) {
    const { input_tokens, cache_read_input_tokens, cache_creation_input_tokens } = usage;
    const input =
      count(input_tokens) + count(cache_read_input_tokens) + count(cache_creation_input_tokens);
    const output = count(usage.output_tokens);
    this._turn.hasContent = true;
    this._turn.byMessage.set(String(id), { input, output });
    this._name(model);
    this._setContext(input + output, usage.context_window);
  }

  /** @param {Json} model */
  _name(model) {
    if (typeof model === "string" && model && !UNNAMED_MODELS.includes(model))
      this._turn.facts.model = model;
  }

  /** @param {Json} tokens @param {Json} window */
  _setContext(tokens, window) {
    if (count(tokens) > 0)
      this._turn.facts.context = { tokens: count(tokens), window: count(window) };
  }

  /**
   * The session tells how long the turn took, at its end or after it.
   * @param {Message} message
   * @param {Json} ms
   * @returns {TurnBlock | null} the turn, if this ends it
   */
  addDuration(message, ms) {
    if (this._turn.hasContent || !this._last) {
      this._turn.duration = count(ms);
      this._turn.hasContent = true;
      return this.end(message);
    }
    Object.assign(this._last, { duration: count(ms), version: message.id });
    return null;
  }

  /**
   * The turn has ended.
   * @param {Message} message that tells so
   * @returns {TurnBlock | null} null if nothing of a turn is known
   */
  end(message) {
    if (!this._turn.hasContent) return null;
    const usages = [this._turn.counted, ...this._turn.byMessage.values()];
    const measured =
      this._turn.startedAt === null ? null : Math.max(0, message.createdAt - this._turn.startedAt);
    /** @type {TurnBlock} */
    const block = {
      key: `turn:${message.id}`,
      version: "",
      kind: "turn",
      at: message.createdAt,
      duration: this._turn.duration ?? measured,
      input: sum(usages.map(({ input }) => input)),
      output: sum(usages.map(({ output }) => output)),
      answer: this._turn.answer,
      ...this._turn.facts,
    };
    this._turn = newTurn(null);
    if (isEmpty(block)) return null;
    this._last = block;
    return block;
  }
}

/** @param {TurnBlock} block */
function isEmpty({ duration, input, output, answer, cost, context }) {
  return duration === null && input + output === 0 && !answer && !cost && !context;
}

/** @param {Json} value */
function count(value) {
  return typeof value === "number" && Number.isFinite(value) && value > 0 ? value : 0;
}

/** @param {number[]} counts */
function sum(counts) {
  return counts.reduce((total, each) => total + each, 0);
}

/** @param {Json} cost */
function priceOf({ amount, currency }) {
  return { amount: count(amount), currency: typeof currency === "string" ? currency : "USD" };
}
