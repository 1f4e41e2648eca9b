// What can be changed in a running session: permission mode, model, effort and more, each with its choices. Pure.

import { t } from "../../lib/language.js";
import { choicesOf, currentMode, offerOf, sessionModes } from "./offer.js";

/** @import { AgentCatalog } from "./agents.js" */
/** @import { Json, OfferedChoice, Session } from "../types.js" */

/**
 * One setting of a session.
 * @typedef {object} SessionSetting
 * @property {string} id
 * @property {string} label
 * @property {OfferedChoice[]} choices
 * @property {string | null} current
 * @property {"approve" | "chat"} scope that is needed to change it
 * @property {boolean} mayBeOther whether values besides the choices can be set
 * @property {string} path the last part of the route that sets it
 * @property {(value: string) => Json} body of the request that sets it
 */

/**
 * The lists that the hub's routes give, for sessions that tell no offer.
 * @typedef {object} RouteLists
 * @property {OfferedChoice[]} models
 * @property {string | null} model
 * @property {OfferedChoice[]} efforts
 * @property {string | null} effort
 */

/** @type {RouteLists} */
export const NO_LISTS = { models: [], model: null, efforts: [], effort: null };

// Agents whose models or efforts the hub asks the session for: `GET sessions/ID/…`.
const MODEL_PATHS = ["codex", "opencode", "cursor", "grok", "copilot", "pi", "agy"];
const EFFORT_PATHS = ["opencode", "grok"];
// Claude Code's own names of its efforts; its session has no route for them.
const CLAUDE_EFFORTS = ["low", "medium", "high", "xhigh", "max"];
/** @type {Record<string, string>} by the name of the setting in the table of agents */
const EFFORT_SETTING_PATHS = { effort: "effort", modelReasoningEffort: "model-reasoning-effort" };

/** The parts of the routes that list models and efforts of a session; none if its offer has them. @param {Session} session */
export function listPaths(session) {
  const flavor = session.metadata?.flavor ?? "";
  const offer = offerOf(session);
  const hasOffer = Object.keys(offer).length > 0;
  return {
    models: !hasOffer && MODEL_PATHS.includes(flavor) ? `${flavor}-models` : null,
    efforts:
      !hasOffer && EFFORT_PATHS.includes(flavor) ? `${flavor}-reasoning-effort-options` : null,
  };
}

/** The lists in the answers of these routes. @param {Json} models @param {Json} efforts @returns {RouteLists} */
export function routeLists(models, efforts) {
  const listed = models?.availableModels ?? models?.models;
  const found = (Array.isArray(listed) ? listed : []).map((/** @type {Json} */ entry) => ({
    id: entry?.modelId ?? entry?.id,
    name: entry?.name ?? entry?.displayName,
    description: entry?.provider,
    efforts: entry?.supportedReasoningEfforts,
    isDefault: entry?.isDefault,
  }));
  const current = models?.currentModelId ?? found.find(({ isDefault }) => isDefault)?.id ?? null;
  const own = found.find(({ id }) => id === current)?.efforts;
  const options = Array.isArray(efforts?.options)
    ? efforts.options.map((/** @type {Json} */ option) => ({
        id: option?.value,
        name: option?.name,
      }))
    : (Array.isArray(own) ? own : []).map((/** @type {string} */ id) => ({ id }));
  return {
    models: choicesOf(found),
    model: typeof current === "string" ? current : null,
    efforts: choicesOf(options),
    effort: typeof efforts?.currentValue === "string" ? efforts.currentValue : null,
  };
}

/**
 * The settings of a session that have something to choose, in the order in which they are shown.
 * @param {Session} session
 * @param {AgentCatalog} catalog
 * @param {RouteLists} lists
 * @returns {SessionSetting[]}
 */
export function sessionSettings(session, catalog, lists = NO_LISTS) {
  const modes = sessionModes(session, catalog);
  const all = [
    setting("mode", t("Permissions"), modes, currentMode(session) ?? modes[0]?.id, {
      scope: "approve",
      path: "permission-mode",
      body: (mode) => ({ mode }),
    }),
    modelSetting(session, catalog, lists),
    effortSetting(session, catalog, lists),
    ...offeredSettings(session),
  ];
  return all.filter(({ choices, mayBeOther }) => choices.length > 0 || mayBeOther);
}

/**
 * @param {string} id
 * @param {string} label
 * @param {OfferedChoice[]} choices
 * @param {Json} current
 * @param {Pick<SessionSetting, "scope" | "path" | "body"> & { mayBeOther?: boolean }} more
 * @returns {SessionSetting}
 */
function setting(id, label, choices, current, { mayBeOther = false, ...more }) {
  const chosen = typeof current === "string" && current ? current : null;
  return { id, label, choices, current: chosen, mayBeOther, ...more };
}

/** @param {Session} session @param {AgentCatalog} catalog @param {RouteLists} lists */
function modelSetting(session, catalog, lists) {
  const flavor = session.metadata?.flavor;
  const offer = offerOf(session);
  const offered = choicesOf(offer.models);
  const own = offered.length > 0 ? offered : lists.models;
  const choices = own.length > 0 ? own : choicesOf(catalog.models(flavor).map((id) => ({ id })));
  const reported = typeof session.model === "object" ? session.model?.modelId : session.model;
  const current = offer.model ?? reported ?? lists.model;
  return setting("model", t("Model"), catalog.hasModel(flavor) ? choices : [], current, {
    scope: "chat",
    path: "model",
    body: (model) => ({ model: model || null }),
    mayBeOther: catalog.hasModel(flavor) && own.length === 0,
  });
}

/** @param {Session} session @param {AgentCatalog} catalog @param {RouteLists} lists */
function effortSetting(session, catalog, lists) {
  const flavor = session.metadata?.flavor ?? "claude";
  const offer = offerOf(session);
  const known = Object.keys(EFFORT_SETTING_PATHS);
  const offered = known.find((name) => name === offer.effortSetting);
  const name = offered ?? catalog.settings(flavor).find((each) => known.includes(each)) ?? "effort";
  const isSilent = Object.keys(offer).length === 0;
  const usual = isSilent && flavor === "claude" ? CLAUDE_EFFORTS : [];
  const listed = isSilent && lists.efforts.length > 0 ? lists.efforts : choicesOf(offer.efforts);
  const choices = listed.length > 0 ? listed : choicesOf(usual.map((id) => ({ id })));
  const current = offer.effort ?? session[name] ?? lists.effort;
  return setting("effort", t("Reasoning effort"), choices, current, {
    scope: "chat",
    path: EFFORT_SETTING_PATHS[name],
    body: (value) => ({ [name]: value }),
  });
}

/** The other settings of an offer. @param {Session} session @returns {SessionSetting[]} */
function offeredSettings(session) {
  const offer = offerOf(session);
  const options = Array.isArray(offer.options) ? offer.options : [];
  return [
    setting(
      "collaboration-mode",
      t("Collaboration"),
      choicesOf(offer.collaborationModes),
      offer.collaborationMode,
      { scope: "approve", path: "collaboration-mode", body: (mode) => ({ mode }) },
    ),
    setting("service-tier", t("Speed"), choicesOf(offer.serviceTiers), offer.serviceTier, {
      scope: "chat",
      path: "service-tier",
      body: (serviceTier) => ({ serviceTier }),
    }),
    setting("copilot-agent-mode", t("Agent mode"), choicesOf(offer.agentModes), offer.agentMode, {
      scope: "approve",
      path: "copilot-agent-mode",
      body: (mode) => ({ mode }),
    }),
    ...options
      .filter((option) => typeof option?.id === "string")
      .map((option) =>
        setting(
          `option-${option.id}`,
          typeof option.name === "string" ? option.name : option.id,
          choicesOf(option.choices),
          option.current,
          { scope: "approve", path: "option", body: (value) => ({ id: option.id, value }) },
        ),
      ),
  ];
}

/** The name of what is set. @param {SessionSetting} setting */
export function currentName({ choices, current }) {
  return choices.find(({ id }) => id === current)?.name ?? current ?? t("Default");
}
