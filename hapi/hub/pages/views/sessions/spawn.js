// The dialog that starts a session: machine, directory, agent, how much it may do.

import { fill, h } from "../../lib/dom.js";
import { busy, openDialog } from "../../lib/dialog.js";
import { directoryField } from "./directory.js";
import { inWords, plain } from "../../lib/errors.js";
import { agentLabel, hasModel, knownModels, modeLabel, permissionModes } from "../../lib/flavors.js";
import { machineName } from "../../data/store.js";
import { plural, untilde, whyNot } from "../../lib/words.js";

const LAST = "hapi.lastSpawn";

/** `done(sessionId)` is called with the new session. */
export function spawnDialog({ api, store, machineId, done, storage }) {
  const last = read(storage);
  const machines = [...store.machines.values()].filter((machine) => machine.active);
  const wish = {
    machine: machines.find((machine) => machine.id === machineId) ?? machines.find((machine) => machine.id === last.machine) ?? machines[0] ?? null,
    agent: last.agent ?? null,
  };
  return openDialog("New session", (close) => {
    if (!wish.machine) return h("p", null, "No machine is online. On the machine with your code, run ", h("code", null, "hapi runner start"), "; it appears here by itself.");
    const place = h("div");
    const agents = h("fieldset", { class: "field" });
    const options = h("div", { class: "stack" });
    const problem = h("p", { class: "problem", role: "alert", hidden: true });
    const go = h("button", { type: "submit", class: "button primary large" }, "Start session");
    const form = h("form", { class: "stack", novalidate: true }, machineField(machines, wish, () => onMachine()), place, agents, options, problem, go);
    let directory = null;
    let chosen = () => ({});

    function onMachine() {
      const before = directory?.value();
      directory = directoryField({ api, store, machine: wish.machine, start: before ?? recent(store, wish.machine)[0] ?? "", recent: recent(store, wish.machine) });
      fill(place, directory.node);
      drawAgents();
      store.readAgents(wish.machine.id).then(() => { if (form.isConnected) drawAgents(); });
    }

    function drawAgents() {
      agentField(agents, store.agents.get(wish.machine.id), wish, () => { chosen = optionFields(options, wish.agent); });
      chosen = optionFields(options, wish.agent);
    }

    form.addEventListener("submit", (event) => {
      event.preventDefault();
      const path = untilde(directory.value(), wish.machine.metadata?.homeDir);
      if (!path) return complain(problem, "Choose a directory first.", directory.focus);
      if (!/^(\/|[A-Za-z]:[\\/])/.test(path)) return complain(problem, "Type the whole path of the directory, beginning with / or ~/.", directory.focus);
      if (!wish.agent) return complain(problem, "Choose an agent first.", () => agents.querySelector("input")?.focus());
      return busy(go, async () => {
        const answer = await api.spawn(wish.machine.id, { directory: path, agent: wish.agent, ...chosen() });
        if (answer.type !== "success") throw new Refusal(refusalInWords(answer, wish, path));
        storage.setItem(LAST, JSON.stringify({ machine: wish.machine.id, agent: wish.agent }));
        close();
        done(answer.sessionId);
      }, problem, (error) => (error instanceof Refusal ? error.message : inWords(error)));
    });
    onMachine();
    return form;
  }, { wide: true });
}

class Refusal extends Error {}

function complain(problem, text, focus) {
  problem.textContent = text;
  problem.hidden = false;
  focus();
}

export function refusalInWords({ code, message = "" }, { machine, agent }, path) {
  const name = machineName(machine);
  if (code === "agent_unavailable") return `${agentLabel(agent)} can't start on ${name}: ${plain(message)}`;
  if (code === "outside_workspace_roots") return `${name} only allows sessions in ${machine.metadata?.workspaceRoots?.join(", ") ?? "its workspace directories"}.`;
  if (code === "runner_upgrade_required") return `The runner on ${name} is too old to start sessions from here. Update it and try again.`;
  if (/^Directory creation requires approval/.test(message)) return `${path} does not exist on ${name}, and its runner does not create directories by itself.`;
  return plain(message) || "The machine could not start the session.";
}

function machineField(machines, wish, changed) {
  if (machines.length === 1) return h("p", { class: "on-machine" }, "on ", h("strong", null, machineName(machines[0])));
  const choice = h("select", { id: "spawn-machine" }, machines.map((machine) => h("option", { value: machine.id, selected: machine === wish.machine }, machineName(machine))));
  choice.addEventListener("change", () => { wish.machine = machines.find((machine) => machine.id === choice.value); changed(); });
  return h("div", { class: "field" }, h("label", { for: "spawn-machine" }, "Machine"), choice);
}

/** Directories of earlier sessions on `machine`, latest first. */
function recent(store, machine) {
  const mine = [...store.sessions.values()].filter((session) => session.metadata?.machineId === machine.id && session.metadata.path);
  const paths = mine.sort((one, other) => other.updatedAt - one.updatedAt).map((session) => session.metadata.worktree?.basePath ?? session.metadata.path);
  return [...new Set(paths)].slice(0, 4);
}

function agentField(node, agents, wish, changed) {
  const legend = h("legend", null, "Agent");
  if (!agents) {
    fill(node, legend, h("p", { class: "hint" }, "Asking the machine…"));
    return;
  }
  const ready = agents.filter((agent) => agent.available);
  const missing = agents.filter((agent) => !agent.available);
  if (!ready.some((agent) => agent.agent === wish.agent)) wish.agent = ready[0]?.agent ?? null;
  const pick = (name) => () => { wish.agent = name; changed(); };
  fill(node, legend,
    ready.length > 0
      ? h("div", { class: "choices" }, ready.map(({ agent }) => h("label", { class: "choice" },
        h("input", { type: "radio", name: "agent", value: agent, checked: agent === wish.agent, on: { change: pick(agent) } }),
        h("span", { class: "choice-face" }, h("span", { class: "choice-name" }, agentLabel(agent)), agent === "demo" && h("span", { class: "hint" }, "try HAPI without an agent")))))
      : h("p", { class: "problem" }, "No agent was found on this machine."),
    missing.length > 0 && h("details", { class: "missing" }, h("summary", null, `${plural(missing.length, ready.length ? "more agent" : "agent")} not available`),
      h("ul", { class: "agent-list" }, missing.map(({ agent, reason }) => h("li", { class: "off" }, h("span", null, agentLabel(agent)), h("span", { class: "muted" }, whyNot(reason)))))));
}

/** The fields below "Options"; returns a function that gives what was chosen as spawn parameters. */
function optionFields(node, agent) {
  const modes = agent ? permissionModes(agent) : [];
  const mode = h("select", { id: "spawn-mode" }, modes.filter((value) => value !== "yolo" && value !== "bypassPermissions").map((value, index) => h("option", { value: index ? value : "" }, modeLabel(value))));
  const yolo = h("input", { id: "spawn-yolo", type: "checkbox" });
  const model = h("input", { id: "spawn-model", autocomplete: "off", spellcheck: "false", placeholder: "the agent's default", list: knownModels(agent).length ? "spawn-models" : null });
  const worktree = h("input", { id: "spawn-worktree", type: "checkbox" });
  const name = h("input", { id: "spawn-worktree-name", autocomplete: "off", spellcheck: "false", placeholder: "a name for it (optional)", "aria-label": "Worktree name", hidden: true });
  yolo.addEventListener("change", () => { mode.disabled = yolo.checked; });
  worktree.addEventListener("change", () => { name.hidden = !worktree.checked; if (worktree.checked) name.focus(); });
  fill(node,
    modes.length > 0 && h("div", { class: "field" }, h("label", { for: "spawn-mode" }, "Permissions"), mode,
      h("label", { class: "check" }, yolo, h("span", null, "Allow everything without asking ", h("span", { class: "hint" }, "(“yolo”)")))),
    h("details", { class: "more" }, h("summary", null, "More options"), h("div", { class: "stack" },
      hasModel(agent) && h("div", { class: "field" }, h("label", { for: "spawn-model" }, "Model"), model,
        h("datalist", { id: "spawn-models" }, knownModels(agent).map((value) => h("option", { value })))),
      h("div", { class: "field" }, h("label", { class: "check" }, worktree, h("span", null, "Work in a new git worktree ", h("span", { class: "hint" }, "next to the repository"))), name))));
  return () => ({
    ...(model.value.trim() && { model: model.value.trim() }),
    ...(yolo.checked && modes.length > 0 ? { yolo: true } : mode.value && { permissionMode: mode.value }),
    ...(worktree.checked && { sessionType: "worktree", ...(name.value.trim() && { worktreeName: name.value.trim() }) }),
  });
}

function read(storage) {
  try {
    return JSON.parse(storage.getItem(LAST)) ?? {};
  } catch {
    return {};
  }
}
