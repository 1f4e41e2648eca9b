// The start screen: what to do next, and all machines.

import { button, fill, followLink, h, icon } from "../../lib/dom.js";
import { t } from "../../lib/language.js";
import { machineAddress } from "../../data/addresses.js";
import { machineName } from "../../data/sessions/sessions.js";

/**
 * @import { Store } from "../../data/store/store.js"
 * @import { Go, Machine, MachineHealth, View } from "../../data/types.js"
 */

/** @param {{ store: Store, go: Go, newSession: () => void }} options @returns {View} */
export function homeView({ store, go, newSession }) {
  const node = h("main", { class: "main home" });
  let shown = "";

  function draw() {
    const machines = [...store.machines.values()];
    const version = JSON.stringify([
      machines.map((machine) => [machine, agentLine(machine, store)]),
      store.loaded,
    ]);
    if (version === shown) return;
    shown = version;
    fill(
      node,
      h(
        "div",
        { class: "home-inner" },
        h("img", { src: "/icon.svg", alt: "", width: "64", height: "64" }),
        h("h1", null, t("What do you want to work on?")),
        machines.length > 0 ? start(machines) : store.loaded && withoutMachines(),
      ),
    );
  }

  /** @param {Machine[]} machines */
  function start(machines) {
    return [
      h(
        "p",
        { class: "muted" },
        t("Start a session on one of your machines, or select one from the list."),
      ),
      button([icon("plus"), t("New session")], {
        class: "primary large",
        disabled: store.access.refusal("spawn") !== null,
        on: { click: newSession },
      }),
      h("p", { class: "hint" }, store.access.refusal("spawn")),
      h(
        "div",
        { class: "cards" },
        machines.map((machine) => machineCard(machine, store, go)),
      ),
    ];
  }

  return { node, draw };
}

function withoutMachines() {
  return [
    h("p", { class: "muted" }, t("No machine is online. On the machine with your code, run:")),
    h("pre", { class: "copy-me" }, "hapi runner start"),
    h("p", { class: "muted" }, t("The machine will then appear here.")),
  ];
}

/** @param {Machine} machine @param {Store} store @param {Go} go */
function machineCard(machine, store, go) {
  const path = machineAddress(machine.id);
  return h(
    "a",
    { class: "card", href: path, on: { click: followLink(go, path) } },
    h(
      "span",
      { class: "card-title" },
      h("span", { class: `dot ${machine.active ? "active" : "ended"}` }),
      machineName(machine),
    ),
    h("span", { class: "muted" }, machine.active ? healthLine(machine.health) : t("offline")),
    h("span", { class: "muted" }, agentLine(machine, store)),
  );
}

/** The agents that a machine can start. @param {Machine} machine @param {Store} store */
function agentLine(machine, store) {
  const ready = (store.agents.get(machine.id) ?? []).filter((agent) => agent.available);
  return ready.length > 0
    ? ready.map(({ agent, label }) => label || store.catalog.label(agent)).join(", ")
    : t("no agents found");
}

/** @param {MachineHealth | null | undefined} health */
export function healthLine(health) {
  const { cpuPercent, memoryPercent } = health ?? {};
  const parts = [];
  if (typeof cpuPercent === "number")
    parts.push(t("CPU {percent} %", { percent: Math.round(cpuPercent) }));
  if (typeof memoryPercent === "number")
    parts.push(t("memory {percent} %", { percent: Math.round(memoryPercent) }));
  return parts.join(" · ") || t("online");
}
