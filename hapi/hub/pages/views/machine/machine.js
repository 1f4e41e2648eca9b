// One machine: is it online, how is it, which agents does it have. Also the start screen, which shows all of them.

import { fill, h, icon, iconButton } from "../../lib/dom.js";
import { agentLabel } from "../../lib/flavors.js";
import { inWords } from "../../lib/errors.js";
import { nameDialog, toast } from "../../lib/dialog.js";
import { machineName } from "../../data/store.js";
import { follow } from "../sessions/sessions.js";
import { ago, plural, whyNot } from "../../lib/words.js";

/** What to see when no session is open. */
export function homeView({ store, go, newSession }) {
  const node = h("main", { class: "main home" });
  let shown = "";
  function draw() {
    const machines = [...store.machines.values()];
    const version = JSON.stringify([machines, [...store.agents], store.loaded]);
    if (version === shown) return;
    shown = version;
    fill(node, h("div", { class: "home-inner" },
      h("img", { src: "/icon.svg", alt: "", width: "64", height: "64" }),
      h("h1", null, "What shall we work on?"),
      machines.length > 0
        ? [h("p", { class: "muted" }, "Start a session on one of your machines, or pick one from the list."),
          h("button", { type: "button", class: "button primary large", on: { click: () => newSession() } }, icon("plus"), "New session"),
          h("div", { class: "cards" }, machines.map((machine) => machineCard(machine, store, go)))]
        : store.loaded && [h("p", { class: "muted" }, "No machine is online yet. On the machine with your code, run"), h("pre", { class: "copy-me" }, "hapi runner start"),
          h("p", { class: "muted" }, "It appears here by itself.")]));
  }
  return { node, draw };
}

function machineCard(machine, store, go) {
  const to = `/machines/${machine.id}`;
  const ready = (store.agents.get(machine.id) ?? []).filter((agent) => agent.available);
  return h("a", { class: "card", href: to, on: { click: follow(go, to) } },
    h("span", { class: "card-title" }, h("span", { class: `dot ${machine.active ? "active" : "ended"}` }), machineName(machine)),
    h("span", { class: "muted" }, machine.active ? healthLine(machine.health) : "offline"),
    h("span", { class: "muted" }, ready.length ? ready.map((agent) => agentLabel(agent.agent)).join(", ") : "no agents found"));
}

function healthLine(health) {
  if (!health) return "online";
  const parts = [];
  if (typeof health.cpuPercent === "number") parts.push(`CPU ${Math.round(health.cpuPercent)} %`);
  if (typeof health.memoryPercent === "number") parts.push(`memory ${Math.round(health.memoryPercent)} %`);
  return parts.join(" · ") || "online";
}

export function machineView({ store, api, go, newSession, id }) {
  const node = h("main", { class: "main" });
  let shown = "";
  function draw() {
    const machine = store.machines.get(id);
    const agents = store.agents.get(id);
    const version = JSON.stringify([machine, agents, store.loaded]);
    if (version === shown) return;
    shown = version;
    const back = iconButton("back", "Back to the list", { class: "only-phone", on: { click: () => go("/") } });
    if (!machine) {
      fill(node, h("header", { class: "main-head" }, back, h("h1", null, "Machine")), h("p", { class: "empty-note" }, store.loaded ? "This machine is not online." : "Loading…"));
      return;
    }
    fill(node,
      h("header", { class: "main-head" }, back, h("div", { class: "head-main" }, h("h1", null, machineName(machine)), h("p", { class: "muted" }, machine.active ? "Online" : "Offline")),
        h("button", { type: "button", class: "button", on: { click: () => rename(machine, api, store) } }, "Rename")),
      h("div", { class: "page" },
        h("button", { type: "button", class: "button primary", disabled: !machine.active, on: { click: () => newSession(id) } }, icon("plus"), "New session here"),
        healthSection(machine.health), agentSection(agents), factSection(machine)));
  }
  return { node, draw };
}

function rename(machine, api, store) {
  nameDialog({
    title: "Rename machine", label: "Name", value: machine.metadata?.displayName ?? "", limit: 64, optional: true,
    save: async (name) => {
      await api.renameMachine(machine.id, name);
      await store.readMachines().catch((error) => toast(inWords(error)));
    },
  });
}

function healthSection(health) {
  if (!health) return null;
  const meter = (label, percent) => typeof percent === "number" &&
    h("div", { class: "meter" }, h("span", null, label), h("meter", { value: percent, min: "0", max: "100", high: "85", "aria-label": label }), h("span", { class: "muted" }, `${Math.round(percent)} %`));
  return h("section", null, h("h2", null, "Health"), meter("CPU", health.cpuPercent), meter("Memory", health.memoryPercent),
    h("p", { class: "muted" }, [
      health.cpuCount && plural(health.cpuCount, "core"),
      typeof health.load1m === "number" && `load ${health.load1m.toFixed(1)}`,
      health.uptimeSeconds && `up for ${ago(0, health.uptimeSeconds * 1000)}`,
    ].filter(Boolean).join(" · ")));
}

function agentSection(agents) {
  if (!agents) return h("section", null, h("h2", null, "Agents"), h("p", { class: "muted" }, "This runner doesn't tell which agents it has."));
  const sorted = [...agents].sort((one, other) => other.available - one.available || one.agent.localeCompare(other.agent));
  return h("section", null, h("h2", null, "Agents"),
    h("ul", { class: "agent-list" }, sorted.map((agent) =>
      h("li", { class: agent.available ? "" : "off" }, icon(agent.available ? "check" : "cross"), h("span", null, agentLabel(agent.agent)),
        h("span", { class: "muted" }, agent.available ? "ready" : whyNot(agent.reason))))));
}

function factSection({ metadata, runnerState }) {
  const rows = [
    ["Host", metadata?.host], ["System", metadata?.platform], ["Runner", metadata?.happyCliVersion], ["Runner state", runnerState?.status],
    ["Home", metadata?.homeDir], ["Works in", metadata?.workspaceRoots?.join(", ")],
  ].filter(([, value]) => value);
  return h("section", null, h("h2", null, "About"), h("dl", { class: "facts" }, rows.map(([label, value]) => [h("dt", null, label), h("dd", null, value)])));
}
