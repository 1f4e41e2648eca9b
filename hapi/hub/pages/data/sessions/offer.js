// What a session or an agent of a machine offers to choose from: permission modes, models, efforts and more.

import { t } from "../../lib/language.js";

/** @import { AgentCatalog } from "./agents.js" */
/** @import { AgentAvailability, Json, OfferedChoice, Session } from "../types.js" */

/**
 * The entries of a list that have an id.
 * @param {Json} listed
 * @returns {OfferedChoice[]}
 */
export function choicesOf(listed) {
  if (!Array.isArray(listed)) return [];
  return listed
    .filter((entry) => typeof entry?.id === "string")
    .map(({ id, name, description, unrestricted }) => ({
      id,
      name: typeof name === "string" && name ? name : id,
      description: typeof description === "string" ? description : "",
      unrestricted: unrestricted === true,
    }));
}

/** The offer of a session, {} if it tells none. @param {Session | undefined} session @returns {Record<string, Json>} */
export function offerOf(session) {
  const offer = session?.metadata?.offer;
  return offer && typeof offer === "object" ? offer : {};
}

/**
 * Permission modes by the names of the table, for an agent that has not told its own.
 * @param {string[]} names
 * @param {AgentCatalog} catalog
 * @returns {OfferedChoice[]}
 */
function namedModes(names, catalog) {
  return names.map((id) => ({
    id,
    name: catalog.modeLabel(id),
    description: "",
    unrestricted: catalog.isUnrestricted(id),
  }));
}

/** Permission modes that an agent tells, in the language of the page where the page has their names. @param {Json} modes */
const offeredModes = (modes) => choicesOf(modes).map((mode) => ({ ...mode, name: t(mode.name) }));

/** The permission modes of a session. @param {Session} session @param {AgentCatalog} catalog */
export function sessionModes(session, catalog) {
  const { modes } = offerOf(session);
  if (Array.isArray(modes)) return offeredModes(modes);
  return namedModes(catalog.permissionModes(session.metadata?.flavor), catalog);
}

/** The id of a session's permission mode. @param {Session} session */
export function currentMode(session) {
  const { mode } = session.active ? offerOf(session) : {};
  if (typeof mode === "string") return mode;
  return session.permissionMode ?? session.metadata?.preferredPermissionMode;
}

/** A permission mode as its session, or else the table, names it. @param {string} mode @param {Session | undefined} session @param {AgentCatalog} catalog */
export function modeName(mode, session, catalog) {
  const offered = session && sessionModes(session, catalog).find(({ id }) => id === mode);
  return offered?.name ?? catalog.modeLabel(mode);
}

const UNKNOWN_DEFAULT = t("The agent tells how it asks once it has run on this machine.");
const USUAL_MODES = ["default", "request-review"]; // what an agent does unless it is told otherwise

/**
 * The permission modes that a new session of an agent may begin in. Before its first session the agent has not told
 * how it asks in its usual mode, so that mode is named by what is certain.
 * @param {AgentAvailability | undefined} known what its machine knows of it
 * @param {string} agent
 * @param {AgentCatalog} catalog
 */
export function startModes(known, agent, catalog) {
  if (Array.isArray(known?.offer?.modes)) return offeredModes(known.offer.modes);
  const named = known?.permissionModes;
  return namedModes(Array.isArray(named) ? named : catalog.permissionModes(agent), catalog).map(
    (mode) =>
      USUAL_MODES.includes(mode.id)
        ? { ...mode, name: t("Agent's default"), description: UNKNOWN_DEFAULT }
        : mode,
  );
}

/** The slash commands of a session: `{id, description}`, `id` without the slash. @param {Session | undefined} session */
export function commandsOf(session) {
  const { commands } = offerOf(session);
  if (!Array.isArray(commands)) return [];
  return choicesOf(commands.map((command) => ({ ...command, id: command?.name })));
}
