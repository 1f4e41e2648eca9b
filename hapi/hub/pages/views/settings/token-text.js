// What the settings say of an access token. Pure.

import { ownValue } from "../../lib/format.js";
import { t } from "../../lib/language.js";

/** @import { Json } from "../../data/types.js" */

/** @type {Record<string, string>} */
const SCOPE_LABELS = {
  read: t("read"),
  chat: t("chat"),
  approve: t("approve"),
  spawn: t("start sessions"),
  terminal: t("use terminals"),
  admin: t("administer"),
};

/** What a token allows, in words. @param {Json} scopes */
export function scopeText(scopes) {
  const listed = Array.isArray(scopes) ? scopes : [];
  return listed.map((scope) => ownValue(SCOPE_LABELS, scope) ?? String(scope)).join(", ");
}

/** The name of a token; one that the page gave in English is in the language of the page. @param {string} name */
export function tokenName(name) {
  const paired = /^Device paired (\d[-\d]+ [\d:.]+)$/.exec(name);
  return paired ? t("Device paired {value}", { value: paired[1] }) : name;
}
