// One machine: whether it is online, how loaded it is, which agents it has.

import { button, fill, h, icon, iconButton } from "../../lib/dom.js";
import { descriptionList } from "../../lib/description-list.js";
import { nameDialog, orToast } from "../../lib/dialog.js";
import { errorMessage } from "../../lib/errors.js";
import { relativeTime } from "../../lib/format.js";
import { unavailableReason } from "../../data/sessions/agent-availability.js";
import { plural, t } from "../../lib/language.js";
import { machineName, shownRoots } from "../../data/sessions/sessions.js";

/**
 * @import { Api } from "../../data/hub/api.js"
 * @import { Store } from "../../data/store/store.js"
 * @import { AgentAvailability, Go, Machine, MachineHealth, View } from "../../data/types.js"
 */

/**
 * @param {{ store: Store, api: Api, go: Go, newSession: (machineId: string) => void, id: string }} options
 * @returns {View}
 */
export function view({ store, api, go, newSession, id }) {
  const node = h("main", { class: "main" });
  let shown = "";
  const restart = restartSection(api, id);

  function draw() {
    const machine = store.machines.get(id);
    const agents = labelledAgents(store.agents.get(id), store);
    const version = JSON.stringify([machine, agents, store.loaded]);
    if (version === shown) return;
    shown = version;
    fill(
      node,
      machine
        ? [
            head(
              h(
                "div",
                { class: "head-main" },
                h("h1", null, machineName(machine)),
                h("p", { class: "muted" }, machine.active ? t("Online") : t("Offline")),
              ),
              button(t("Rename"), {
                hidden: !store.access.allows("admin"),
                on: { click: () => renameDialog(machine, api, store) },
              }),
            ),
            h(
              "div",
              { class: "page" },
              button([icon("plus"), t("New session here")], {
                class: "primary",
                disabled: !machine.active || !store.access.allows("spawn"),
                on: { click: () => newSession(id) },
              }),
              h("p", { class: "hint" }, store.access.refusal("spawn")),
              healthSection(machine.health),
              agentSection(agents),
              factSection(machine),
              canRestart(machine, store) && restart,
            ),
          ]
        : [
            head(h("h1", null, t("Machine"))),
            h(
              "p",
              { class: "empty-note" },
              store.loaded ? t("This machine is not connected.") : t("Loading…"),
            ),
          ],
    );
  }

  /** @param {...Node} content */
  function head(...content) {
    return h(
      "header",
      { class: "main-head" },
      iconButton("back", t("Back to sessions"), {
        class: "only-phone",
        on: { click: () => go("/") },
      }),
      content,
    );
  }

  return { node, draw };
}

/** @param {Machine} machine @param {Api} api @param {Store} store */
function renameDialog(machine, api, store) {
  nameDialog({
    title: t("Rename machine"),
    label: t("Name"),
    value: machine.metadata?.displayName ?? "",
    limit: 64,
    optional: true,
    async save(name) {
      await api.renameMachine(machine.id, name);
      await orToast(() => store.readMachines());
    },
  });
}

/** Whether the runner can be restarted from here. @param {Machine} machine @param {Store} store */
function canRestart({ active, metadata }, store) {
  const isPossible =
    metadata?.supervisedRestart === true || metadata?.capabilities?.includes("runner-handoff");
  return active && isPossible === true && store.access.allows("admin");
}

/** One for as long as the view is shown: it outlasts that the machine is offline for a moment. @param {Api} api @param {string} id */
function restartSection(api, id) {
  const outcome = h("p", { class: "hint", role: "status" });
  const restart = button(t("Restart runner"), { on: { click: begin } });

  async function begin() {
    restart.disabled = true;
    outcome.textContent = t("The runner is being restarted. Its sessions keep running.");
    try {
      await api.restartRunner(id);
      outcome.textContent = t("The runner has been restarted.");
    } catch (error) {
      fill(outcome, errorMessage(error));
    } finally {
      restart.disabled = false;
    }
  }

  return h("section", null, restart, outcome);
}

/** @param {MachineHealth | null | undefined} health */
function healthSection(health) {
  if (!health) return null;
  const { cpuPercent, memoryPercent, cpuCount, load1m, uptimeSeconds } = health;
  const facts = [
    cpuCount && plural(cpuCount, "{count} core", "{count} cores"),
    typeof load1m === "number" && t("load {load}", { load: load1m.toFixed(1) }),
    uptimeSeconds && t("up for {time}", { time: relativeTime(0, uptimeSeconds * 1000) }),
  ];
  return h(
    "section",
    null,
    h("h2", null, t("Health")),
    meter("CPU", cpuPercent),
    meter(t("Memory"), memoryPercent),
    h("p", { class: "muted" }, facts.filter(Boolean).join(" · ")),
  );
}

/** @param {string} label @param {number | undefined} percent */
function meter(label, percent) {
  if (typeof percent !== "number") return null;
  return h(
    "div",
    { class: "meter" },
    h("span", null, label),
    h("meter", { value: percent, min: "0", max: "100", high: "85", "aria-label": label }),
    h("span", { class: "muted" }, `${Math.round(percent)} %`),
  );
}

/** The agents of a machine, available ones first. @param {AgentAvailability[] | undefined} agents @param {Store} store */
function labelledAgents(agents, store) {
  const labelled = agents?.map((agent) => ({
    ...agent,
    label: agent.label || store.catalog.label(agent.agent),
  }));
  return labelled?.sort(
    (one, other) =>
      Number(other.available) - Number(one.available) || one.label.localeCompare(other.label),
  );
}

/** @param {ReturnType<typeof labelledAgents>} agents */
function agentSection(agents) {
  if (!agents)
    return h(
      "section",
      null,
      h("h2", null, t("Agents")),
      h("p", { class: "muted" }, t("The runner on this machine does not report its agents.")),
    );
  return h(
    "section",
    null,
    h("h2", null, t("Agents")),
    h(
      "ul",
      { class: "agent-list" },
      agents.map(({ label, available, reason }) =>
        h(
          "li",
          { class: available ? "" : "off" },
          icon(available ? "check" : "cross"),
          h("span", null, label),
          h("span", { class: "muted" }, available ? t("ready") : unavailableReason(reason)),
        ),
      ),
    ),
  );
}

/** @param {Machine} machine */
function factSection(machine) {
  const { metadata, runnerState } = machine;
  return h(
    "section",
    null,
    h("h2", null, t("About")),
    descriptionList([
      [t("Host"), metadata?.host],
      [t("System"), metadata?.platform],
      [t("Runner version"), metadata?.happyCliVersion],
      [t("Runner state"), runnerState?.status],
      [t("Home directory"), metadata?.homeDir],
      [t("Workspace roots"), shownRoots(machine)],
    ]),
  );
}
