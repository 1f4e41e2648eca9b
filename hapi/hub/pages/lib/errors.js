// What can go wrong when asking the hub: it said no (ApiError) or it did not answer (Unreachable).

import { own } from "./words.js";

export class ApiError extends Error {
  /** `status` of HTTP, `code` of the hub's JSON when it gives one, `message` in words. */
  constructor(status, code, message) {
    super(message);
    this.status = status;
    this.code = code;
  }

  static async of(answer) {
    const text = await answer.text().catch(() => "");
    let body = null;
    try {
      body = JSON.parse(text);
    } catch { /* some refusals are plain text */ }
    const said = body?.error ?? body?.message ?? (text.length < 300 && !text.trimStart().startsWith("<") ? text : "");
    const error = new ApiError(answer.status, body?.code ?? null, String(said || `The hub answered ${answer.status}.`));
    error.retryAfter = Number(answer.headers.get("Retry-After")) || null;
    return error;
  }
}

export class Unreachable extends Error {
  constructor() {
    super("The hub does not answer. Check that it runs and that this device reaches it.");
  }
}

const BY_CODE = {
  no_machine_online: "The machine of this session is not online. Start its runner and try again.",
  session_inactive: "This session has ended. Resume it first.",
  runner_upgrade_required: "The runner on that machine is too old for this. Update it and try again.",
  resume_unavailable: "The agent left nothing behind to resume this session from.",
  rpc_target_missing: "The machine or session is not connected right now.",
};

/** One sentence for a person about a failed request. */
export function inWords(error) {
  if (error instanceof Unreachable) return error.message;
  if (error.status === 429) return `Too many attempts. Try again in ${error.retryAfter ?? 60} seconds.`;
  if (own(BY_CODE, error.code)) return BY_CODE[error.code];
  return plain(error.message);
}

/** Replace the hub's wording of technical failures by what they mean. */
export function plain(message) {
  if (/RPC handler not registered|RPC socket disconnected/.test(message)) return "The machine or session is not connected right now. Try again in a moment.";
  if (/operation has timed out/.test(message)) return "The machine did not answer in time. Try again.";
  return message;
}
