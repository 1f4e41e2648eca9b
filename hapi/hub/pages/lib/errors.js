// What can go wrong in a request to the hub: it refuses (ApiError) or it does not respond (Unreachable).

import { ownValue } from "./format.js";
import { plural, t } from "./language.js";

const GATEWAY_STATUSES = [502, 503, 504];

export class ApiError extends Error {
  /**
   * @param {number} status the HTTP status
   * @param {string | null} code the code in the hub's JSON, if it has one
   * @param {string} message
   */
  constructor(status, code, message) {
    super(message);
    this.status = status;
    this.code = code;
    /** @type {number | null} seconds */
    this.retryAfter = null;
    /** @type {string | null} under which the hub's log has the request */
    this.requestId = null;
  }

  /**
   * The error that a response describes.
   * @param {Response} response
   */
  static async of(response) {
    return (await refusalOf(response)).error;
  }
}

/**
 * What the answer of a failed request means: the hub's own refusal, or that the hub cannot be reached. A proxy before the hub
 * answers with other bodies than the hub, whose errors are JSON with the key `error`.
 * @param {Response} response
 * @returns {Promise<ApiError | Unreachable>}
 */
export async function problemOf(response) {
  const { error, isFromHub } = await refusalOf(response);
  return GATEWAY_STATUSES.includes(response.status) && !isFromHub ? new Unreachable() : error;
}

/** @param {Response} response @returns {Promise<{ error: ApiError, isFromHub: boolean }>} */
async function refusalOf(response) {
  const text = await response.text().catch(() => "");
  const body = parsed(text);
  const isPlainText = text.length < 300 && !text.trimStart().startsWith("<");
  const said = body?.error ?? body?.message ?? (isPlainText ? text : "");
  const reasons = fieldReasons(body?.issues);
  const message = reasons ? `${said} (${reasons})` : said;
  const error = new ApiError(
    response.status,
    body?.code ?? null,
    String(message || t("The hub returned status {status}.", { status: response.status })),
  );
  error.retryAfter = Number(response.headers.get("Retry-After")) || null;
  error.requestId = body?.requestId ?? response.headers.get("X-Request-Id");
  return { error, isFromHub: typeof body?.error === "string" };
}

/**
 * What the hub says of the fields of a request: "agent: Unknown agent; …".
 * @param {{ fieldErrors?: Record<string, string[]> } | undefined} issues
 */
function fieldReasons(issues) {
  return Object.entries(issues?.fieldErrors ?? {})
    .map(([name, reasons]) => `${name}: ${[reasons].flat().join(", ")}`)
    .join("; ");
}

/** The value of a JSON text; null for other texts, as some errors are. @param {string} text */
export function parsed(text) {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}

export class Unreachable extends Error {
  constructor() {
    super(
      t("The hub does not respond. Check that it is running and that this device can reach it."),
    );
  }
}

/** Whether a refusal is a failure or a limit of the hub, so that the same request may pass later. @param {ApiError} error */
export function isTemporary({ status }) {
  return status >= 500 || status === 429;
}

/** @type {Record<string, string>} */
const MESSAGES = {
  no_machine_online: t("The machine of this session is offline. Start its runner and try again."),
  session_inactive: t("This session has ended. Resume it first."),
  runner_upgrade_required: t(
    "The runner on that machine is too old for this. Update it and try again.",
  ),
  resume_unavailable: t("This session can't be resumed: the agent saved no conversation."),
  rpc_target_missing: t("The machine or session is not connected right now."),
};

/**
 * The HTTP status of an error, null when it has none.
 * @param {unknown} error
 */
export function statusOf(error) {
  return error instanceof ApiError ? error.status : null;
}

/**
 * What a person reads about a failed request. A failure of the hub has the id under which its log says more.
 * @param {unknown} error
 * @returns {string}
 */
export function errorMessage(error) {
  const message = messageOf(error);
  const isFailure = error instanceof ApiError && error.status >= 500;
  return isFailure && error.requestId
    ? t("{message} (Request {requestId})", { message, requestId: error.requestId })
    : message;
}

/** @param {unknown} error @returns {string} */
function messageOf(error) {
  if (error instanceof ApiError) {
    if (error.status === 429 && error.code === null)
      return plural(
        error.retryAfter ?? 60,
        "Too many attempts. Try again in {count} second.",
        "Too many attempts. Try again in {count} seconds.",
      );
    return ownValue(MESSAGES, error.code) ?? explained(error.message);
  }
  if (isFailedImport(error))
    return t("This part of the page could not be loaded. Reload the page to go on.");
  return error instanceof Error ? explained(error.message) : String(error);
}

/**
 * The hub's message, with the wording of technical failures replaced by what they mean.
 * @param {string} message
 */
export function explained(message) {
  if (/RPC handler not registered|RPC socket disconnected/.test(message))
    return t("The machine or session is not connected right now. Try again in a moment.");
  if (message === "Internal Server Error")
    return t("The hub could not do this because of an error of its own. Its log says more.");
  if (/operation has timed out/.test(message))
    return t(
      "The machine or session did not respond in time. Try again; a session that stays silent can be archived, which ends it.",
    );
  return message;
}

/** Whether an error says that a module could not be fetched, in the words of any browser. @param {unknown} error */
export function isFailedImport(error) {
  const message = error instanceof TypeError ? error.message : "";
  return /dynamically imported module|[Ii]mporting a module script failed/.test(message);
}

/** @type {Set<string>} */
const reported = new Set();

/**
 * Write a failure to the browser's console, once for each `what`.
 * @param {string} what
 * @param {unknown} error
 */
export function reportOnce(what, error) {
  if (reported.has(what)) return;
  reported.add(what);
  console.error(what, error);
}

/**
 * Do `act`; a failure is reported, and the caller goes on.
 * @param {string} what a sentence about the failure
 * @param {() => void} act
 */
export function attempt(what, act) {
  try {
    act();
  } catch (error) {
    reportOnce(what, error);
  }
}
