// What a permission request offers, and what has been allowed for a session. Pure.

import { ownValue } from "../../lib/format.js";
import { t } from "../../lib/language.js";
import { isObject } from "../json.js";

/** @import { Choice, Json, PermissionOption, PermissionRequest, PermissionRule, Session } from "../types.js" */

const ALLOW_ONCE = "allow_once";

/**
 * The agent's own options, where only their names say what they mean; [] where allow and deny say everything.
 * @param {PermissionRequest} request
 * @returns {PermissionOption[]}
 */
export function namedOptions(request) {
  if (request.byName !== true || !Array.isArray(request.options)) return [];
  return request.options.filter(
    (/** @type {Json} */ option) =>
      isObject(option) && typeof option.id === "string" && typeof option.name === "string",
  );
}

/** @param {PermissionOption} option */
export const isRejection = (option) => String(option.kind ?? "").startsWith("reject");

/** @param {PermissionOption} option */
export const allowsOnce = (option) => option.kind === ALLOW_ONCE;

/** The choice of one of the agent's options. @param {PermissionOption} option @returns {Choice} */
export const choiceOf = (option) => `option:${option.id}`;

/** The option that `choice` names. @param {PermissionRequest} request @param {Choice} choice */
export function chosenOption(request, choice) {
  return namedOptions(request).find((option) => choiceOf(option) === choice);
}

/**
 * Whether a request asks for the approval of a plan, which is approved once.
 * @param {PermissionRequest} request
 */
export function isPlanApproval({ kind, arguments: input }) {
  return kind === "switch_mode" || typeof input?.plan === "string";
}

/**
 * What a request says besides its arguments, without what they show already.
 * @param {PermissionRequest} request
 * @returns {{ text: string | null, paths: string[] }}
 */
export function extraContent(request) {
  const shown = [request.tool, ...textsIn(request.arguments)];
  const isShown = (/** @type {string} */ text) => shown.some((known) => known.includes(text));
  const text = typeof request.text === "string" ? request.text.trim() : "";
  const places = Array.isArray(request.locations) ? request.locations : [];
  const paths = places
    .filter((/** @type {Json} */ place) => isObject(place) && typeof place.path === "string")
    .filter(({ path }) => !isShown(path))
    .map(({ path, line }) => (typeof line === "number" ? `${path}:${line}` : path));
  const isCommand = shown.some((known) => text.includes(`\`${known}\``));
  return { text: text && !isShown(text) && !isCommand ? text : null, paths: [...new Set(paths)] };
}

/** All texts in a value. @param {Json} value @returns {string[]} */
function textsIn(value) {
  if (typeof value === "string") return [value];
  return value && typeof value === "object" ? Object.values(value).flatMap(textsIn) : [];
}

/**
 * The rules of a session: what is allowed without asking.
 * @param {Json} metadata
 * @returns {PermissionRule[]}
 */
export function rulesOf(metadata) {
  const rules = metadata?.permissionRules;
  return (Array.isArray(rules) ? rules : []).filter(
    (/** @type {Json} */ rule) => isObject(rule) && typeof rule.id === "string",
  );
}

/**
 * Whether a session gives its agent the reason of a denial. npm's does not: there the reason is sent as a message.
 * @param {Session | undefined} session
 * @param {PermissionRequest} request
 */
export function takesReasons(session, request) {
  return Array.isArray(request.options) || isObject(session?.metadata?.offer);
}

/** Whether a request is to change a file, so that all edits can be allowed. @param {PermissionRequest} request */
export const isEdit = ({ kind }) => kind === "edit";

/** @type {Record<string, [named: string, anything: string]>} */
const KIND_LABELS = {
  edit: [t("Change"), t("Change any file")],
  delete: [t("Delete"), t("Delete anything")],
  move: [t("Move"), t("Move anything")],
  read: [t("Read"), t("Read anything")],
  search: [t("Search"), t("Search anything")],
  fetch: [t("Fetch"), t("Fetch anything")],
};

/**
 * A rule in words, and the command or the names in it.
 * @param {PermissionRule} rule
 * @param {(path: string) => string} [short] a path as people read it
 * @returns {{ label: string, value: string }}
 */
export function ruleText(rule, short = (path) => path) {
  const [kind, anything] = ownValue(KIND_LABELS, rule.kind) ?? [t("Use"), t("Use anything")];
  if (typeof rule.command === "string") {
    const { directory } = rule;
    const label =
      typeof directory === "string"
        ? t("Run this command in {directory}", { directory: short(directory) })
        : t("Run this command");
    return { label, value: rule.command };
  }
  if (typeof rule.prefix === "string")
    return { label: t("Run commands that begin with"), value: rule.prefix };
  const paths = (Array.isArray(rule.paths) ? rule.paths : []).filter(
    (path) => typeof path === "string",
  );
  if (paths.length > 0) return { label: kind, value: paths.map(short).join("\n") };
  if (typeof rule.tool === "string") return { label: t("Use this tool"), value: rule.tool };
  return { label: anything, value: "" };
}
