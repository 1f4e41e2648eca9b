// The optional part of the dialog that starts a session: permissions, model, worktree.

import { fill, h } from "../../lib/dom.js";
import { t } from "../../lib/language.js";

import { choicesOf, startModes } from "../../data/sessions/offer.js";

/** @import { AgentCatalog } from "../../data/sessions/agents.js" */
/** @import { AgentAvailability, OfferedChoice } from "../../data/types.js" */

const UNRESTRICTED_CHOICES = ["yolo", "bypassPermissions"]; // there is a checkbox for these

const IDLE_TIMES = [
  { id: "5m", name: t("After 5 minutes") },
  { id: "30m", name: t("After 30 minutes") },
  { id: "2h", name: t("After 2 hours") },
  { id: "off", name: t("Never") },
];

/**
 * Draw the fields for `agent` into `node`; returns a function that gives what was chosen, as parameters of a spawn.
 * @param {Element} node
 * @param {AgentCatalog} catalog
 * @param {string | null} agent
 * @param {AgentAvailability} [known] what the machine knows of it
 */
export function spawnOptions(node, catalog, agent, known) {
  const permissions = permissionField(agent ? startModes(known, agent, catalog) : []);
  const model = modelField(agent, catalog, known);
  const effort = effortField(known);
  const rest = optionalChoice(
    "spawn-idle",
    t("Rest when idle"),
    IDLE_TIMES,
    "idleAgent",
    t("Machine's default"),
  );
  const worktree = worktreeField();
  fill(
    node,
    permissions.node,
    h(
      "details",
      { class: "more" },
      h("summary", null, t("More options")),
      h("div", { class: "stack" }, model.node, effort.node, rest.node, worktree.node),
    ),
  );
  return () => ({
    ...model.parameters(),
    ...effort.parameters(),
    ...permissions.parameters(),
    ...rest.parameters(),
    ...worktree.parameters(),
  });
}

/** @param {OfferedChoice[]} modes */
function permissionField(modes) {
  const offered = modes.filter(({ id }) => !UNRESTRICTED_CHOICES.includes(id));
  const unrestricted = modes.find(({ id }) => UNRESTRICTED_CHOICES.includes(id));
  const mode = h(
    "select",
    { id: "spawn-mode" },
    offered.map(({ id, name, description }, index) =>
      h("option", { value: index ? id : "", title: description }, name),
    ),
  );
  const yolo = h("input", {
    id: "spawn-yolo",
    type: "checkbox",
    on: {
      change: () => {
        mode.disabled = yolo.checked;
      },
    },
  });
  const node =
    modes.length > 0 &&
    h(
      "div",
      { class: "field" },
      h("label", { for: "spawn-mode" }, t("Permissions")),
      mode,
      unrestricted &&
        h(
          "label",
          { class: "check" },
          yolo,
          h(
            "span",
            null,
            t("Allow everything without asking"),
            " ",
            h("span", { class: "hint" }, t("(“yolo”)")),
          ),
        ),
    );
  return {
    node,
    parameters() {
      if (yolo.checked) return { yolo: true };
      return mode.value ? { permissionMode: mode.value } : {};
    },
  };
}

/**
 * A choice that may be left to the agent or to the machine.
 * @param {string} id
 * @param {string} label
 * @param {{ id: string, name: string }[]} choices
 * @param {string} parameter
 * @param {string} [unset] the words for what applies otherwise
 */
function optionalChoice(id, label, choices, parameter, unset = t("Agent's default")) {
  const select = h(
    "select",
    { id },
    h("option", { value: "" }, unset),
    choices.map(({ id: value, name }) => h("option", { value }, name)),
  );
  return {
    node: h("div", { class: "field" }, h("label", { for: id }, label), select),
    parameters: () => (select.value ? { [parameter]: select.value } : {}),
  };
}

/** @param {AgentAvailability} [known] */
function effortField(known) {
  const choices = choicesOf(known?.offer?.efforts);
  if (choices.length === 0) return { node: null, parameters: () => ({}) };
  const parameter = String(known?.offer?.effortSetting ?? "effort");
  return optionalChoice("spawn-effort", t("Reasoning effort"), choices, parameter);
}

/** @param {string | null} agent @param {AgentCatalog} catalog @param {AgentAvailability} [known] */
function modelField(agent, catalog, known) {
  const listed = choicesOf(known?.offer?.models);
  if (listed.length > 0) return optionalChoice("spawn-model", t("Model"), listed, "model");
  const suggestions = catalog.models(agent);
  const input = h("input", {
    id: "spawn-model",
    autocomplete: "off",
    spellcheck: "false",
    placeholder: t("Agent's default"),
    list: suggestions.length > 0 ? "spawn-models" : null,
  });
  const node =
    catalog.hasModel(agent) &&
    h(
      "div",
      { class: "field" },
      h("label", { for: "spawn-model" }, t("Model")),
      input,
      h(
        "datalist",
        { id: "spawn-models" },
        suggestions.map((value) => h("option", { value })),
      ),
    );
  return { node, parameters: () => (input.value.trim() ? { model: input.value.trim() } : {}) };
}

function worktreeField() {
  const name = h("input", {
    id: "spawn-worktree-name",
    autocomplete: "off",
    spellcheck: "false",
    placeholder: t("Worktree name (optional)"),
    "aria-label": t("Worktree name"),
    hidden: true,
  });
  const box = h("input", { id: "spawn-worktree", type: "checkbox" });
  box.addEventListener("change", () => {
    name.hidden = !box.checked;
    if (box.checked) name.focus();
  });
  const node = h(
    "div",
    { class: "field" },
    h(
      "label",
      { class: "check" },
      box,
      h(
        "span",
        null,
        t("Work in a new git worktree"),
        " ",
        h("span", { class: "hint" }, t("next to the repository")),
      ),
    ),
    name,
  );
  return {
    node,
    parameters() {
      if (!box.checked) return {};
      return {
        sessionType: "worktree",
        ...(name.value.trim() && { worktreeName: name.value.trim() }),
      };
    },
  };
}
