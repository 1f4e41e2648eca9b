// What differs between agents: labels, permission modes, models, and the form of an approval. The hub has the table.

import { ownValue } from "../../lib/format.js";
import { t } from "../../lib/language.js";

/** @import { Agent, AgentAvailability, AgentCatalogAnswer, Choice, Json, PermissionMode, PermissionRequest } from "../types.js" */

const DEFAULT_AGENT = "claude"; // of sessions that name none
const EDIT_TOOLS = ["Edit", "MultiEdit", "Write", "NotebookEdit"];
/** A rule of the session for all tools that edit files, in the words of Claude Code. */
const ALL_EDITS = { decision: "approved_for_session", allowTools: ["Edit"] };
const DECISIONS = { allow: "approved", session: "approved_for_session", deny: "abort" };
/** @type {Agent} */
const UNKNOWN = {
  name: "",
  label: "",
  permissionModes: [],
  hasModel: true,
  models: [],
  settings: [],
  approvalStyle: "plain",
  steerable: false,
};

/** The agents of `GET /api/agents`; until they have been read, an agent's name is its label. */
export class AgentCatalog {
  /** @param {AgentCatalogAnswer | null} answer @param {Map<string, AgentAvailability[]>} [machines] the agents of each machine, which has its own besides */
  constructor(answer = null, machines = new Map()) {
    this._machines = machines;
    this._generic = answer?.generic ?? UNKNOWN;
    /** @type {Record<string, Agent>} */
    this._agents = Object.fromEntries((answer?.agents ?? []).map((agent) => [agent.name, agent]));
    /** @type {Record<string, PermissionMode>} */
    this._modes = Object.fromEntries(
      (answer?.permissionModes ?? []).map((mode) => [mode.name, mode]),
    );
  }

  /** @param {string | null | undefined} name @returns {Agent} */
  _agent(name) {
    return ownValue(this._agents, name || DEFAULT_AGENT) ?? this._generic;
  }

  /** @param {string | null | undefined} name */
  label(name) {
    return this._agent(name).label || this._ownLabel(name) || name || t("Agent");
  }

  /** @param {string | null | undefined} name */
  _ownLabel(name) {
    const agents = [...this._machines.values()].flat();
    return agents.find(({ agent, label }) => agent === name && typeof label === "string")?.label;
  }

  /** @param {string | null | undefined} name */
  permissionModes(name) {
    return this._agent(name).permissionModes;
  }

  /** @param {string | null | undefined} name */
  hasModel(name) {
    return this._agent(name).hasModel;
  }

  /** Models to suggest; others may be set as well. @param {string | null | undefined} name */
  models(name) {
    return this._agent(name).models;
  }

  /** The wire names of what can be changed besides mode and model. @param {string | null | undefined} name */
  settings(name) {
    return this._agent(name).settings;
  }

  /** The hub's name of a mode, in the language of the page. @param {string} mode */
  modeLabel(mode) {
    return t(ownValue(this._modes, mode)?.label ?? mode);
  }

  /** Whether the agent acts without asking in this mode. @param {string} mode */
  isUnrestricted(mode) {
    return ownValue(this._modes, mode)?.unrestricted ?? false;
  }

  /**
   * What the hub is sent when a person chooses a button of a permission request.
   * @param {string | null | undefined} name
   * @param {Choice} choice
   * @param {Pick<PermissionRequest, "tool" | "arguments">} request
   * @returns {[verdict: "approve" | "deny", body: Json]}
   */
  approval(name, choice, request) {
    if (choice === "decline") return ["deny", { decision: "denied" }];
    if (choice === "edits") return ["approve", ALL_EDITS];
    const verdict = choice === "deny" ? "deny" : "approve";
    const style = this._agent(name).approvalStyle;
    if (style === "decision") return [verdict, { decision: ownValue(DECISIONS, choice) }];
    if (choice !== "session") return [verdict, {}];
    if (style !== "tools") return [verdict, { decision: DECISIONS.session }];
    if (EDIT_TOOLS.includes(request.tool)) return [verdict, { mode: "acceptEdits" }];
    const command = request.tool === "Bash" && request.arguments?.command;
    return [verdict, { allowTools: [command ? `Bash(${command})` : request.tool] }];
  }
}
