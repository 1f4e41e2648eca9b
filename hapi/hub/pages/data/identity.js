// Who is looking: the access token the person gave, and the hub's short-lived JWT that is fetched with it.

import { ApiError, Unreachable } from "../lib/errors.js";

const TOKEN = "hapi.accessToken";
const JWT = "hapi.jwt";

export class Identity {
  /** `kept` outlives the tab (localStorage), `brief` doesn't (sessionStorage). */
  constructor(kept, brief) {
    this._places = [kept, brief];
    this._login = null;
  }

  get accessToken() {
    return this._places.map((place) => place.getItem(TOKEN)).find(Boolean) ?? null;
  }

  /** Exchange `accessToken` for a JWT and remember both; `keep`: beyond this tab. Throws ApiError (401: wrong) or Unreachable. */
  async login(accessToken, keep) {
    const granted = await askForJwt(accessToken);
    this.forget();
    const place = this._places[keep ? 0 : 1];
    place.setItem(TOKEN, accessToken);
    place.setItem(JWT, JSON.stringify(granted));
  }

  forget() {
    for (const place of this._places) {
      place.removeItem(TOKEN);
      place.removeItem(JWT);
    }
  }

  /** A JWT with at least a minute to live; logs in again when it has less, or when `refused` is the one the hub just refused. */
  async jwt(refused = null) {
    const place = this._places.find((candidate) => candidate.getItem(TOKEN));
    if (!place) throw new ApiError(401, "not_logged_in", "Please log in.");
    const granted = read(place.getItem(JWT));
    if (granted && granted.jwt !== refused && Date.now() < granted.until - 60_000) return granted.jwt;
    this._login ??= this._again(place).finally(() => { this._login = null; });
    return this._login;
  }

  async _again(place) {
    const granted = await askForJwt(place.getItem(TOKEN));
    place.setItem(JWT, JSON.stringify(granted));
    return granted.jwt;
  }
}

async function askForJwt(accessToken) {
  let answer;
  try {
    answer = await fetch("/api/auth", {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify({ accessToken }),
      signal: AbortSignal.timeout(20_000),
    });
  } catch {
    throw new Unreachable();
  }
  if (answer.status >= 500) throw new Unreachable();
  if (!answer.ok) throw await ApiError.of(answer);
  const { token } = await answer.json();
  return { jwt: token, until: Date.now() + lifetime(token) };
}

/** How long the hub meant the JWT to live (ms): by its own two claims, so that a wrong clock here does not matter. */
function lifetime(jwt) {
  try {
    const claims = JSON.parse(atob(jwt.split(".")[1].replaceAll("-", "+").replaceAll("_", "/")));
    return (claims.exp - claims.iat) * 1000 || 3_600_000;
  } catch {
    return 3_600_000;
  }
}

function read(text) {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}

/** The token of a link such as `/#token=…`; it is taken out of the address at once, and out of the history. */
export function tokenFromAddress(location, history) {
  const fragment = new URLSearchParams(location.hash.slice(1));
  const token = fragment.get("token");
  if (token === null) return null;
  fragment.delete("token");
  const rest = fragment.toString();
  history.replaceState(history.state, "", location.pathname + location.search + (rest ? `#${rest}` : ""));
  return token.trim() || null;
}
