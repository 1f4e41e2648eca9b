// The dialog that starts a session: machine, directory, agent, permissions, options.

import { button, fill, h, problemLine } from "../../lib/dom.js";
import { openDialog, runBusy, showProblem } from "../../lib/dialog.js";
import { errorMessage, explained } from "../../lib/errors.js";
import { expandHome, isAbsolute } from "../../lib/paths.js";
import { unavailableReason } from "../../data/sessions/agent-availability.js";
import { parts, plural, t } from "../../lib/language.js";
import { stylesheet } from "../../lib/stylesheet.js";
import { machineName, shownRoots } from "../../data/sessions/sessions.js";
import { ABSOLUTE_PATH_HINT, directoryField } from "./directory.js";
import { askWhenUnfolded } from "./offer-inquiry.js";
import { spawnOptions } from "./spawn-options.js";

/**
 * @import { Api } from "../../data/hub/api.js"
 * @import { AgentCatalog } from "../../data/sessions/agents.js"
 * @import { Store } from "../../data/store/store.js"
 * @import { AgentAvailability, Json, Machine } from "../../data/types.js"
 */

const LAST_CHOICE_KEY = "hapi.lastSpawn";
const MAX_RECENT = 4; // directories offered

/** @typedef {{ machine: Machine, agent: string | null }} Choice */

/**
 * @typedef {object} SpawnOptions
 * @property {Api} api
 * @property {Store} store
 * @property {Storage} storage remembers the last choice
 * @property {string} [machineId] the machine to begin with
 * @property {string} [directory] the directory to begin with
 * @property {(sessionId: string) => void} done
 */

/** @param {SpawnOptions} options */
export async function spawnDialog(options) {
  await stylesheet(new URL("../../style/choices.css", import.meta.url).href);
  const { store, storage, machineId } = options;
  const last = lastChoice(storage);
  const machines = [...store.machines.values()].filter((machine) => machine.active);
  const preferred = [machineId, last.machine]
    .map((id) => machines.find((machine) => machine.id === id))
    .find(Boolean);
  const machine = preferred ?? machines[0];
  openDialog(
    t("New session"),
    (close) => {
      if (!machine)
        return h(
          "p",
          null,
          parts("No machine is online. On the machine with your code, run {command}.", {
            command: h("code", null, "hapi runner start"),
          }),
        );
      return spawnForm(options, machines, { machine, agent: last.agent ?? null }, close);
    },
    { wide: true },
  );
}

/** @param {SpawnOptions} options @param {Machine[]} machines @param {Choice} choice @param {() => void} close */
function spawnForm({ api, store, storage, directory: start = "", done }, machines, choice, close) {
  const place = h("div");
  const agents = h("fieldset", { class: "field" });
  const more = h("div", { class: "stack" });
  const problem = problemLine();
  const submit = button(t("Start session"), {
    type: "submit",
    class: "primary large spawn-submit",
  });
  const form = h(
    "form",
    { class: "stack", novalidate: true },
    machineField(machines, choice.machine, selectMachine),
    place,
    agents,
    more,
    problem,
    h("div", { class: "spawn-foot" }, submit),
  );
  let directory = directoryOf(start);
  let parameters = () => ({});
  askWhenUnfolded({ api, store, choice }, more, () => directory.value(), drawOptions);
  selectMachine(choice.machine);

  /** @param {string} path */
  function directoryOf(path) {
    const recent = recentDirectories(store, choice.machine);
    return directoryField({
      api,
      machine: choice.machine,
      start: path || recent[0] || "",
      recent,
    });
  }

  /** @param {Machine} machine */
  function selectMachine(machine) {
    const isOther = machine !== choice.machine;
    choice.machine = machine;
    if (isOther) directory = directoryOf(directory.value());
    fill(place, directory.node);
    drawAgents();
    store.readAgents(machine.id).then(() => form.isConnected && drawAgents());
  }

  function drawAgents() {
    drawAgentField(agents, store.agents.get(choice.machine.id), store.catalog, choice, drawOptions);
    drawOptions();
  }

  function drawOptions() {
    const known = store.agents.get(choice.machine.id);
    parameters = spawnOptions(
      more,
      store.catalog,
      choice.agent,
      known?.find(({ agent }) => agent === choice.agent),
    );
  }

  /** What is missing, and the field to go to. @param {string} path @returns {[text: string, focus: () => void] | null} */
  function missing(path) {
    if (!path) return [t("Enter a directory."), directory.focus];
    if (!isAbsolute(path)) return [ABSOLUTE_PATH_HINT, directory.focus];
    if (!choice.agent) return [t("Select an agent."), () => agents.querySelector("input")?.focus()];
    return null;
  }

  /** @param {string} path */
  async function spawn(path) {
    const answer = await api.spawn(choice.machine.id, {
      directory: path,
      agent: choice.agent,
      ...parameters(),
    });
    if (answer.type !== "success")
      throw new Error(refusalText(answer, choice, store.catalog, path));
    storage.setItem(
      LAST_CHOICE_KEY,
      JSON.stringify({ machine: choice.machine.id, agent: choice.agent }),
    );
    close();
    done(answer.sessionId);
  }

  form.addEventListener("submit", (event) => {
    event.preventDefault();
    const path = expandHome(directory.value(), choice.machine.metadata?.homeDir);
    const lack = missing(path);
    if (lack === null) {
      runBusy(submit, problem, () => spawn(path), errorMessage);
    } else {
      showProblem(problem, lack[0]);
      lack[1]();
    }
  });
  return form;
}

/**
 * Why a machine refused to start a session.
 * @param {Json} answer
 * @param {Choice} choice
 * @param {AgentCatalog} catalog
 * @param {string} path
 */
export function refusalText({ code, message = "" }, { machine, agent }, catalog, path) {
  const name = machineName(machine);
  if (code === "agent_unavailable")
    return t("{agent} can't start on {name}: {reason}", {
      agent: catalog.label(agent),
      name,
      reason: explained(message),
    });
  if (code === "outside_workspace_roots") {
    const roots = shownRoots(machine) || t("its workspace roots");
    return t("{name} only allows sessions in {roots}.", { name, roots });
  }
  if (code === "runner_upgrade_required")
    return t(
      "The runner on {name} is too old to start sessions from here. Update it and try again.",
      { name },
    );
  if (/^Directory creation requires approval/.test(message))
    return t("{path} does not exist on {name}, and the runner there does not create directories.", {
      path,
      name,
    });
  return explained(message) || t("The machine could not start the session.");
}

/** @param {Machine[]} machines @param {Machine} current @param {(machine: Machine) => void} select */
function machineField(machines, current, select) {
  if (machines.length === 1)
    return h(
      "p",
      { class: "on-machine" },
      parts("on {machine}", { machine: h("strong", null, machineName(current)) }),
    );
  const choice = h(
    "select",
    { id: "spawn-machine" },
    machines.map((machine) =>
      h("option", { value: machine.id, selected: machine === current }, machineName(machine)),
    ),
  );
  choice.addEventListener("change", () =>
    select(machines.find((machine) => machine.id === choice.value) ?? current),
  );
  return h("div", { class: "field" }, h("label", { for: "spawn-machine" }, t("Machine")), choice);
}

/** Directories of earlier sessions on `machine`, latest first. @param {Store} store @param {Machine} machine */
function recentDirectories(store, machine) {
  const sessions = [...store.sessions.values()].filter(
    ({ metadata }) => metadata?.machineId === machine.id && metadata.path,
  );
  const paths = sessions
    .sort((one, other) => other.updatedAt - one.updatedAt)
    .map(({ metadata }) => metadata?.worktree?.basePath ?? metadata?.path ?? "");
  return [...new Set(paths)].slice(0, MAX_RECENT);
}

/**
 * @param {Element} node
 * @param {AgentAvailability[] | undefined} agents
 * @param {AgentCatalog} catalog
 * @param {Choice} choice
 * @param {() => void} changed
 */
function drawAgentField(node, agents, catalog, choice, changed) {
  const legend = h("legend", null, t("Agent"));
  if (!agents) {
    fill(node, legend, h("p", { class: "hint" }, t("Loading agents…")));
    return;
  }
  const ready = agents.filter((agent) => agent.available);
  const missing = agents.filter((agent) => !agent.available);
  if (!ready.some(({ agent }) => agent === choice.agent)) choice.agent = ready[0]?.agent ?? null;
  /** @param {string} agent */
  const radio = (agent) =>
    h("input", {
      type: "radio",
      name: "agent",
      value: agent,
      checked: agent === choice.agent,
      on: {
        change: () => {
          choice.agent = agent;
          changed();
        },
      },
    });
  const choices = ready.map(({ agent, label }) =>
    h(
      "label",
      { class: "choice" },
      radio(agent),
      h(
        "span",
        { class: "choice-face" },
        h("span", { class: "choice-name" }, label || catalog.label(agent)),
        agent === "demo" && h("span", { class: "hint" }, t("built in, to try HAPI")),
      ),
    ),
  );
  fill(
    node,
    legend,
    ready.length > 0
      ? h("div", { class: "choices" }, choices)
      : h("p", { class: "problem" }, t("No agent was found on this machine.")),
    missing.length > 0 && missingAgents(missing, catalog, ready.length > 0),
  );
}

/** @param {AgentAvailability[]} missing @param {AgentCatalog} catalog @param {boolean} areOthersReady */
function missingAgents(missing, catalog, areOthersReady) {
  return h(
    "details",
    { class: "missing" },
    h(
      "summary",
      null,
      areOthersReady
        ? plural(
            missing.length,
            "{count} more agent not available",
            "{count} more agents not available",
          )
        : plural(missing.length, "{count} agent not available", "{count} agents not available"),
    ),
    h(
      "ul",
      { class: "agent-list" },
      missing.map(({ agent, label, reason }) =>
        h(
          "li",
          { class: "off" },
          h("span", null, label || catalog.label(agent)),
          h("span", { class: "muted" }, unavailableReason(reason)),
        ),
      ),
    ),
  );
}

/** @param {Storage} storage @returns {{ machine?: string, agent?: string }} */
function lastChoice(storage) {
  try {
    return JSON.parse(storage.getItem(LAST_CHOICE_KEY) ?? "{}") ?? {};
  } catch {
    return {};
  }
}
