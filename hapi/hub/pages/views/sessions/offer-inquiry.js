// Asking an agent of which its machine does not know yet what it offers, when somebody looks at the options.

import { h } from "../../lib/dom.js";
import { expandHome } from "../../lib/paths.js";
import { t } from "../../lib/language.js";

/**
 * @import { Api } from "../../data/hub/api.js"
 * @import { Store } from "../../data/store/store.js"
 * @import { Choice } from "./spawn.js"
 */

/**
 * Ask once for each machine and agent, when the options in `more` are unfolded.
 * @param {{ api: Api, store: Store, choice: Choice }} parts `choice`: what is chosen at present
 * @param {HTMLElement} more
 * @param {() => string} path the directory in which the agent would work, as it is written
 * @param {() => void} draw draws the options anew
 */
export function askWhenUnfolded({ api, store, choice }, more, path, draw) {
  /** @type {Set<string>} */
  const asked = new Set();

  async function ask() {
    const { machine, agent } = choice;
    const known = store.agents.get(machine.id)?.find((each) => each.agent === agent);
    const question = `${machine.id} ${agent}`;
    if (!agent || !known?.available || known.offer || asked.has(question)) return;
    asked.add(question);
    const text = t("{agent} is asked what it offers…", { agent: store.catalog.label(agent) });
    const hint = h("p", { class: "hint", role: "status" }, text);
    more.append(hint);
    const cwd = expandHome(path(), machine.metadata?.homeDir) || "/";
    const answer = await api.machineModels(machine.id, agent, cwd).catch(() => null);
    if (answer?.success === true) await store.readAgents(machine.id);
    hint.remove();
    const isShown = more.isConnected && choice.machine === machine && choice.agent === agent;
    if (isShown && answer?.success === true) drawKeeping(more, draw);
  }

  more.addEventListener("toggle", () => ask(), true); // the event does not bubble
}

/**
 * Draw the options anew with what the person has chosen of them; not while a model is being typed.
 * @param {HTMLElement} more
 * @param {() => void} draw
 */
function drawKeeping(more, draw) {
  const fields = () =>
    /** @type {(HTMLInputElement | HTMLSelectElement)[]} */ ([
      ...more.querySelectorAll("input, select"),
    ]);
  const before = fields();
  if (before.some(({ id, value }) => id === "spawn-model" && value)) return;
  const focused = before.find((field) => field === document.activeElement)?.id;
  const isUnfolded = more.querySelector("details")?.open ?? false;
  draw();
  more.querySelector("details")?.toggleAttribute("open", isUnfolded);
  for (const field of fields()) {
    const former = before.find(({ id }) => id === field.id);
    if (former instanceof HTMLInputElement && field instanceof HTMLInputElement)
      field.checked = former.checked;
    if (former && field.tagName === former.tagName) field.value = former.value;
    field.dispatchEvent(new Event("change"));
    if (field.id === focused) field.focus();
  }
}
