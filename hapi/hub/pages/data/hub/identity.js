// The access token that a person entered, and the hub's short-lived JWT that is requested with it.

import { accessOf } from "./access.js";
import { withBase } from "../../lib/base-path.js";
import { ApiError, problemOf, Unreachable } from "../../lib/errors.js";
import { t } from "../../lib/language.js";

/** @typedef {{ jwt: string, until: number }} Grant a JWT and the time it expires (ms) */

const TOKEN_KEY = "hapi.accessToken";
const TELEGRAM_PREFIX = "Telegram initData "; // in the place of an access token, none of which has a space
const JWT_KEY = "hapi.jwt";
const LOGIN_TIMEOUT = 20_000; // ms
const MIN_REMAINING = 60_000; // ms; a JWT with less to live is renewed
const DEFAULT_LIFETIME = 3_600_000; // ms

export class Identity {
  /**
   * @param {Storage} persistent outlives the tab (localStorage)
   * @param {Storage} perTab ends with the tab (sessionStorage)
   */
  constructor(persistent, perTab) {
    this._storages = [persistent, perTab];
    /** @type {Promise<string> | null} */
    this._renewal = null;
  }

  get accessToken() {
    return this._storages.map((storage) => storage.getItem(TOKEN_KEY)).find(Boolean) ?? null;
  }

  /**
   * Exchange `accessToken` for a JWT and remember both. Throws ApiError (401: wrong token) or Unreachable.
   * @param {string} accessToken
   * @param {boolean} keep whether to stay logged in when the tab is closed
   */
  async login(accessToken, keep) {
    const grant = await requestJwt(accessToken);
    const refusal = accessOf(grant.jwt).refusal("read");
    if (refusal !== null) throw new ApiError(403, "scope_missing", refusal);
    this.forget();
    const storage = this._storages[keep ? 0 : 1];
    storage.setItem(TOKEN_KEY, accessToken);
    storage.setItem(JWT_KEY, JSON.stringify(grant));
  }

  /** As `login`, for the user that Telegram's data is about; until the tab is closed. @param {string} initData */
  logInByTelegram(initData) {
    return this.login(TELEGRAM_PREFIX + initData, false);
  }

  /** What the present token allows. */
  get access() {
    const storage = this._storages.find((candidate) => candidate.getItem(TOKEN_KEY));
    return accessOf(parsedGrant(storage?.getItem(JWT_KEY) ?? null)?.jwt ?? null);
  }

  forget() {
    for (const storage of this._storages) {
      storage.removeItem(TOKEN_KEY);
      storage.removeItem(JWT_KEY);
    }
  }

  /** How long the present JWT can still be used (ms), 0 if it must be renewed first. */
  get remaining() {
    const storage = this._storages.find((candidate) => candidate.getItem(TOKEN_KEY));
    const grant = parsedGrant(storage?.getItem(JWT_KEY) ?? null);
    return grant ? Math.max(0, grant.until - MIN_REMAINING - Date.now()) : 0;
  }

  /**
   * A JWT with at least a minute to live; requests a new one if there is none.
   * @param {string | null} refused a JWT that the hub has just refused
   */
  async jwt(refused = null) {
    const storage = this._storages.find((candidate) => candidate.getItem(TOKEN_KEY));
    if (!storage) throw new ApiError(401, "not_logged_in", t("You are not logged in."));
    const grant = parsedGrant(storage.getItem(JWT_KEY));
    if (grant && grant.jwt !== refused && Date.now() < grant.until - MIN_REMAINING)
      return grant.jwt;
    this._renewal ??= this._renew(storage).finally(() => {
      this._renewal = null;
    });
    return this._renewal;
  }

  /** @param {Storage} storage */
  async _renew(storage) {
    const grant = await requestJwt(storage.getItem(TOKEN_KEY) ?? "");
    storage.setItem(JWT_KEY, JSON.stringify(grant));
    return grant.jwt;
  }
}

/**
 * @param {string} accessToken
 * @returns {Promise<Grant>}
 */
async function requestJwt(accessToken) {
  const request = {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify(
      accessToken.startsWith(TELEGRAM_PREFIX)
        ? { initData: accessToken.slice(TELEGRAM_PREFIX.length) }
        : { accessToken },
    ),
    signal: AbortSignal.timeout(LOGIN_TIMEOUT),
  };
  const response = await fetch(withBase("/api/auth"), request).catch(() => {
    throw new Unreachable();
  });
  if (!response.ok) throw await problemOf(response);
  const { token } = await response.json();
  return { jwt: token, until: Date.now() + lifetime(token) };
}

/**
 * How long the hub meant a JWT to live (ms), by the difference of its own claims: a wrong clock here does not matter.
 * @param {string} jwt
 */
export function lifetime(jwt) {
  try {
    const claims = JSON.parse(atob(jwt.split(".")[1].replaceAll("-", "+").replaceAll("_", "/")));
    return (claims.exp - claims.iat) * 1000 || DEFAULT_LIFETIME;
  } catch {
    return DEFAULT_LIFETIME;
  }
}

/**
 * @param {string | null} text
 * @returns {Grant | null}
 */
function parsedGrant(text) {
  try {
    return JSON.parse(text ?? "null");
  } catch {
    return null;
  }
}

/**
 * The token of a link such as `/#token=…`. It is removed from the address bar and from the history at once.
 * @param {Pick<Location, "hash" | "pathname" | "search">} location
 * @param {Pick<History, "state" | "replaceState">} history
 */
export function takeTokenFromAddress(location, history) {
  const fragment = new URLSearchParams(location.hash.slice(1));
  const token = fragment.get("token");
  if (token === null) return null;
  fragment.delete("token");
  const rest = fragment.toString();
  history.replaceState(
    history.state,
    "",
    location.pathname + location.search + (rest ? `#${rest}` : ""),
  );
  return token.trim() || null;
}
