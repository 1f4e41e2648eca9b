// What the access token of the person allows. Pure.

import { t } from "../../lib/language.js";

/** @typedef {"read" | "chat" | "approve" | "spawn" | "terminal" | "admin"} Scope */

/** @type {Record<Scope, string>} */
const REFUSALS = {
  read: t("This access token is for a machine. It does not open this page."),
  chat: t("Your access token does not allow sending messages."),
  approve: t("Your access token does not allow answering permission requests."),
  spawn: t("Your access token does not allow starting, resuming or archiving sessions."),
  terminal: t("Your access token does not allow opening terminals."),
  admin: t("Your access token does not allow administering the hub."),
};

export class Access {
  /** @param {readonly string[] | null} scopes null: all, as with the access token of the hub */
  constructor(scopes) {
    this._scopes = scopes;
  }

  /** @param {Scope} scope */
  allows(scope) {
    return this._scopes === null || this._scopes.includes(scope);
  }

  /** Why something that needs `scope` is not possible; null if it is. @param {Scope} scope */
  refusal(scope) {
    return this.allows(scope) ? null : REFUSALS[scope];
  }

  /** The refusals of several scopes. @param {Scope[]} scopes */
  refusals(scopes) {
    return scopes.map((scope) => this.refusal(scope)).filter((text) => text !== null);
  }
}

export const FULL_ACCESS = new Access(null);

/**
 * What a JWT of the hub allows. The hub checks it; the page only shows less. Hubs without scopes allow all.
 * @param {string | null} jwt
 */
export function accessOf(jwt) {
  try {
    const claims = JSON.parse(
      atob((jwt ?? "").split(".")[1].replaceAll("-", "+").replaceAll("_", "/")),
    );
    return Array.isArray(claims.scp) ? new Access(claims.scp) : FULL_ACCESS;
  } catch {
    return FULL_ACCESS;
  }
}
