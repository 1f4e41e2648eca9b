// Requests to the hub: each with the JWT of the person, and errors that say what the hub refused.

import { withBase } from "../../lib/base-path.js";
import { ApiError, parsed, problemOf, statusOf, Unreachable } from "../../lib/errors.js";
import { t } from "../../lib/language.js";

/**
 * @import { Json } from "../types.js"
 * @import { Identity } from "./identity.js"
 */

/** @typedef {{ body?: Json, headers?: Record<string, string>, signal?: AbortSignal }} RequestOptions */

const REQUEST_TIMEOUT = 60_000; // ms; the hub may take 30 s to archive, spawn or resume a session

export class HubClient {
  /** @param {Identity} identity */
  constructor(identity) {
    this._identity = identity;
    /** Called when the hub refuses the access token itself. */
    this.onRefused = () => {};
    /** Called when a request that nobody has given up finds no hub. */
    this.onUnreachable = () => {};
  }

  /** How long the present JWT can still be used, in ms. */
  get jwtRemaining() {
    return this._identity.remaining;
  }

  /**
   * The JSON object of a successful response. Throws ApiError or Unreachable.
   * @param {string} method
   * @param {string} path
   * @param {Json} [body]
   * @param {string} [key] what the object must have
   * @returns {Promise<Json>}
   */
  async request(method, path, body, key) {
    return answerOf(await this.fetch(method, path, { body }), key);
  }

  /** What is at a key of the answer to a GET. @param {string} path @param {string} key @returns {Promise<Json>} */
  async read(path, key) {
    return (await this.request("GET", path, undefined, key))[key];
  }

  /**
   * A successful response; requests a new JWT, once, when the hub refuses the present one. Throws ApiError or Unreachable.
   * @param {string} method
   * @param {string} path
   * @param {RequestOptions} [options]
   */
  async fetch(method, path, options = {}) {
    try {
      return await this._fetch(method, path, options);
    } catch (error) {
      if (error instanceof Unreachable && !options.signal?.aborted) this.onUnreachable();
      throw error;
    }
  }

  /** @param {string} method @param {string} path @param {RequestOptions} options */
  async _fetch(method, path, { body, headers, signal = AbortSignal.timeout(REQUEST_TIMEOUT) }) {
    /** @type {string | null} */
    let refused = null;
    for (;;) {
      const jwt = await this.jwt(refused);
      const init = {
        method,
        signal,
        headers: {
          Authorization: `Bearer ${jwt}`,
          ...(body && { "Content-Type": "application/json" }),
          ...headers,
        },
        body: body && JSON.stringify(body),
      };
      const response = await fetch(withBase(path), init).catch(() => {
        throw new Unreachable();
      });
      if (response.ok) return response;
      if (response.status === 401 && refused === null) {
        refused = jwt;
        continue;
      }
      throw await problemOf(response);
    }
  }

  /** Send a request that changes nothing and needs no token. @param {AbortSignal} signal @returns {Promise<unknown>} */
  probe(signal) {
    return fetch(withBase("/health"), { cache: "no-store", signal });
  }

  /** A JWT that the hub accepts. @param {string | null} refused one that it does not accept any more */
  async jwt(refused) {
    try {
      return await this._identity.jwt(refused);
    } catch (error) {
      const isWrong = error instanceof ApiError && error.code === "too_many_wrong_tokens"; // a right token is always accepted
      if (isWrong || statusOf(error) === 401 || statusOf(error) === 400) this.onRefused();
      throw error;
    }
  }
}

/**
 * The JSON object of a response. Throws ApiError if it is none or lacks the key, Unreachable if the connection breaks.
 * @param {Response} response
 * @param {string} [key]
 * @returns {Promise<Json>}
 */
export async function answerOf(response, key) {
  const text = await response.text().catch(() => {
    throw new Unreachable();
  });
  const answer = parsed(text || "{}");
  if (typeof answer === "object" && (key ? answer?.[key] : answer)) return answer;
  const sentence = t("The server at this address is not a HAPI hub.");
  throw new ApiError(response.status, "not_json", sentence);
}
