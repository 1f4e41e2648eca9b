// Errors of a model's provider, which agents pass on in the words of its API: what happened, and what a person can do. Pure.

import { t } from "../../lib/language.js";
import { isObject } from "../json.js";

/** @import { Block, EventBlock, Json, TextBlock } from "../types.js" */

/**
 * @typedef {object} ModelError
 * @property {string} text what happened and what to do
 * @property {string} details the agent's own words
 */

const MAX_ERROR = 8000; // characters of a text that is taken for an error
/** What Copilot writes before an error, once for each try. */
const RETRYING = "Info: Request failed due to a transient API error. Retrying...";
const PROMPT_FAILED = /^.{1,60}? prompt failed: /;
const PREFIXES = /^(?:Internal error|Error): /;

/** How an agent's text begins that is nothing but an error of its model's provider. */
const BEGINNINGS = [
  /^unexpected status \d{3} /, // Codex
  /^exceeded retry limit, last status: \d{3}/,
  /^stream disconnected before completion: /,
  /^We’re currently experiencing high demand, which may cause temporary errors\.$/,
  /^(?:Failed to authenticate\. )?API Error: /, // Claude Code
  /^There's an issue with the selected model \(/,
  /^Prompt is too long$/,
  /^Error: Authentication failed with provider at /, // Copilot
  /^Error: Model '.{1,100}' not found on provider at /,
  /^Error: Failed to get response from the AI model; retried \d+ times/,
];

/**
 * The kinds of errors, the most telling one first.
 * @type {[pattern: RegExp, text: string][]}
 */
const KINDS = [
  [
    /too long|too many tokens|context.{0,3}(?:length|window)|maximum context|exceeds the (?:max|limit)/i,
    t(
      "The conversation is too long for the model. Shorten it, for example with /compact, or start a new session.",
    ),
  ],
  [
    /insufficient.quota|exceeded your current quota|billing|credit balance|out of credits|payment|\b402\b/i,
    t(
      "The account at the model's provider has no credit or quota left. Check its plan and billing, or choose another model.",
    ),
  ],
  [
    /\b429\b|rate.?limit|too many requests|resource.?exhausted|usage limit/i,
    t(
      "The model's provider accepts no more requests for the moment. Wait a little, then send the prompt again.",
    ),
  ],
  [
    /\b401\b|unauthori[sz]ed|unauthenticated|authenticat|(?:invalid|incorrect|missing|expired).{0,12}(?:key|token|credentials)|key not valid|not logged in|credential.{0,12}rejected/i,
    t(
      "The model's provider does not accept the agent's login or API key. Log in again on the session's machine, then send the prompt again.",
    ),
  ],
  [
    /\b404\b|model.{0,60}(?:not exist|not found|unknown)|selected model|not_found_error/i,
    t("The model's provider does not know this model. Choose another one."),
  ],
  [
    /\b403\b|forbidden|permission.(?:error|denied)|may not use|(?:have|no) access/i,
    t("The account may not use this model. Choose another one, or ask for access."),
  ],
  [
    /\b5\d\d\b|overloaded|high demand|server error|had an error|api_error|unavailable/i,
    t("The model's provider has a problem of its own. Send the prompt again in a while."),
  ],
  [
    /disconnected|ECONN|ETIMEDOUT|ENOTFOUND|EAI_AGAIN|ENETUNREACH|connect|network|fetch failed|socket|timed? ?out|malformed response|non-SSE response|unexpected token|json|terminated/i,
    t(
      "The connection to the model's provider failed. Check the network of the session's machine, then send the prompt again.",
    ),
  ],
];
const NO_ANSWER = / ended the turn without an answer$/;
const SILENT = t(
  "The agent ended the turn without an answer. Often the model's provider has refused the request: check the login, the model and the network, then send the prompt again.",
);
const REFUSED = t("The model's provider refused the request.");

/**
 * The error that an agent's text is. An answer that only speaks of errors is none.
 * @param {string} text
 * @returns {ModelError | null}
 */
export function modelError(text) {
  const said = text.length > MAX_ERROR ? "" : text.trim();
  const inner = errorMessage(said);
  if (inner !== null) return { text: sentenceOf(said) ?? refusal(inner), details: said };
  const last = withoutRetries(said);
  if (last.includes("\n\n") || !BEGINNINGS.some((beginning) => beginning.test(last))) return null;
  return { text: sentenceOf(said) ?? REFUSED, details: said };
}

/**
 * The error in a session's report that a prompt failed; null if it is no such report, or its reason is not known.
 * @param {string} text
 * @returns {ModelError | null}
 */
export function failedPrompt(text) {
  if (text.length < 100 && NO_ANSWER.test(text)) return { text: SILENT, details: text };
  const found = text.length > MAX_ERROR ? null : PROMPT_FAILED.exec(text);
  if (!found) return null;
  const reason = text.slice(found[0].length).replace(PREFIXES, "").trim();
  const sentence = sentenceOf(reason);
  return sentence === null ? null : { text: sentence, details: reason };
}

/** @param {string} text */
function withoutRetries(text) {
  let rest = text;
  while (rest.startsWith(RETRYING)) rest = rest.slice(RETRYING.length).trimStart();
  return rest;
}

/** @param {string} text */
function sentenceOf(text) {
  return KINDS.find(([pattern]) => pattern.test(text))?.[1] ?? null;
}

/** @param {string} message */
function refusal(message) {
  return message ? `${REFUSED} ${message}` : REFUSED;
}

/**
 * The message in a text that is the error of an API as JSON; null for any other text.
 * @param {string} text
 */
function errorMessage(text) {
  if (!text.startsWith("{") || !text.endsWith("}")) return null;
  /** @type {Json} */
  let value;
  try {
    value = JSON.parse(text);
  } catch {
    return null;
  }
  const { error } = value;
  if (typeof error === "string" && Object.keys(value).length <= 3) return error;
  if (!isObject(error) || !("message" in error || "code" in error)) return null;
  return typeof error.message === "string" ? error.message : "";
}

/**
 * `blocks`, in which errors of the model's provider are told as such, each once.
 * @param {Block[]} blocks
 * @returns {Block[]}
 */
export function withModelErrors(blocks) {
  /** @type {Block[]} */
  const shown = [];
  for (const block of blocks) {
    if (block.kind === "text" && !block.side) shown.push(errorOfText(block) ?? block);
    else if (block.kind === "turn" && block.answer && modelError(block.answer.text))
      shown.push({ ...block, answer: null });
    else if (block.kind === "event" && isFailure(block)) addFailure(shown, block);
    else shown.push(block);
  }
  return shown;
}

/** Whether a session reports that a prompt failed. @param {EventBlock} block */
function isFailure({ text }) {
  return PROMPT_FAILED.test(text) || failedPrompt(text) !== null;
}

/** @param {TextBlock} block @returns {EventBlock | null} */
function errorOfText({ key, version, at, text }) {
  const error = modelError(text);
  return error && { key: `error:${key}`, version, at, kind: "event", tone: "bad", ...error };
}

/**
 * Add the report that a prompt failed, unless the agent has said the same before.
 * @param {Block[]} shown
 * @param {EventBlock} block
 */
function addFailure(shown, block) {
  const last = shown.at(-1);
  const error = failedPrompt(block.text);
  if (last?.kind === "event" && last.details !== undefined) {
    if (error?.text === last.text || block.text.includes(last.details)) return;
  }
  if (last?.kind === "text" && last.text.trim() && block.text.includes(last.text.trim()))
    shown.pop();
  shown.push(error ? { ...block, tone: "bad", ...error } : block);
}
