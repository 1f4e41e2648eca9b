// The optional part of the dialog that starts a session: permissions, model, worktree.

import { fill, h } from "../../lib/dom.js";

/** @import { AgentCatalog } from "../../data/agents.js" */

const UNRESTRICTED_CHOICES = ["yolo", "bypassPermissions"]; // there is a checkbox for these

/**
 * Draw the fields for `agent` into `node`; returns a function that gives what was chosen, as parameters of a spawn.
 * @param {Element} node
 * @param {AgentCatalog} catalog
 * @param {string | null} agent
 */
export function spawnOptions(node, catalog, agent) {
  const permissions = permissionField(agent ? catalog.permissionModes(agent) : [], catalog);
  const model = modelField(agent, catalog);
  const worktree = worktreeField();
  fill(
    node,
    permissions.node,
    h(
      "details",
      { class: "more" },
      h("summary", null, "More options"),
      h("div", { class: "stack" }, model.node, worktree.node),
    ),
  );
  return () => ({ ...model.parameters(), ...permissions.parameters(), ...worktree.parameters() });
}

/** @param {string[]} modes @param {AgentCatalog} catalog */
function permissionField(modes, catalog) {
  const offered = modes.filter((mode) => !UNRESTRICTED_CHOICES.includes(mode));
  const mode = h(
    "select",
    { id: "spawn-mode" },
    offered.map((value, index) =>
      h("option", { value: index ? value : "" }, catalog.modeLabel(value)),
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
      h("label", { for: "spawn-mode" }, "Permissions"),
      mode,
      h(
        "label",
        { class: "check" },
        yolo,
        h(
          "span",
          null,
          "Allow everything without asking ",
          h("span", { class: "hint" }, "(“yolo”)"),
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

/** @param {string | null} agent @param {AgentCatalog} catalog */
function modelField(agent, catalog) {
  const suggestions = catalog.models(agent);
  const input = h("input", {
    id: "spawn-model",
    autocomplete: "off",
    spellcheck: "false",
    placeholder: "Agent's default",
    list: suggestions.length > 0 ? "spawn-models" : null,
  });
  const node =
    catalog.hasModel(agent) &&
    h(
      "div",
      { class: "field" },
      h("label", { for: "spawn-model" }, "Model"),
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
    placeholder: "Worktree name (optional)",
    "aria-label": "Worktree name",
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
        "Work in a new git worktree ",
        h("span", { class: "hint" }, "next to the repository"),
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
