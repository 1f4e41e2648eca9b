// The filters of the list of sessions.

import { button, h } from "../../lib/dom.js";
import { t } from "../../lib/language.js";
import { stylesheet } from "../../lib/stylesheet.js";
import { NO_FILTERS } from "../../data/sessions/session-list.js";
import { isWorthListing, machineName } from "../../data/sessions/sessions.js";

/**
 * @import { Filters } from "../../data/sessions/session-list.js"
 * @import { Store } from "../../data/store/store.js"
 */

await stylesheet(new URL("../../style/list-actions.css", import.meta.url).href);

/** @typedef {[value: string, label: string][]} Choices */

/** @type {Choices} */
const STATES = [
  ["", t("Any state")],
  ["waiting", t("Waiting for me")],
  ["working", t("Working")],
  ["active", t("Ready")],
  ["ended", t("Ended")],
];
/** @type {Choices} */
const DAYS = [
  ["0", t("Any time")],
  ["1", t("Last 24 hours")],
  ["7", t("Last 7 days")],
  ["30", t("Last 30 days")],
];

/**
 * The form with one control for each filter; what is chosen applies at once.
 * @param {{ store: Store, current: () => Filters, set: (filters: Filters) => void }} options
 */
export function filterForm({ store, current, set }) {
  const sessions = [...store.sessions.values()].filter(isWorthListing);
  const agents = [...new Set(sessions.map(({ metadata }) => metadata?.flavor ?? "claude"))];
  /** @type {Choices} */
  const agentChoices = agents.sort().map((agent) => [agent, store.catalog.label(agent)]);
  /** @type {Choices} */
  const machineChoices = [...store.machines.values()].map((each) => [each.id, machineName(each)]);
  const { state, agent, machine, days, unread } = current();
  const unreadBox = h("input", {
    type: "checkbox",
    checked: unread,
    on: { change: () => set({ ...current(), unread: unreadBox.checked }) },
  });
  const form = h(
    "form",
    { class: "filter-form", "aria-label": t("Filters"), on: { submit: stay, reset: clear } },
    select(t("State"), STATES, state, (value) => ({
      state: /** @type {Filters["state"]} */ (value),
    })),
    select(t("Agent"), [["", t("Any agent")], ...agentChoices], agent, (value) => ({
      agent: value,
    })),
    select(t("Machine"), [["", t("Any machine")], ...machineChoices], machine, (value) => ({
      machine: value,
    })),
    select(t("Last change"), DAYS, String(days), (value) => ({ days: Number(value) })),
    h("label", { class: "check" }, unreadBox, t("Only unread")),
    button(t("Clear filters"), { type: "reset" }),
  );

  /** @param {string} label @param {Choices} choices @param {string} chosen @param {(value: string) => Partial<Filters>} change */
  function select(label, choices, chosen, change) {
    const node = h(
      "select",
      { "aria-label": label },
      choices.map(([value, text]) => h("option", { value, selected: value === chosen }, text)),
    );
    node.addEventListener("change", () => set({ ...current(), ...change(node.value) }));
    return node;
  }

  /** @param {Event} event */
  function stay(event) {
    event.preventDefault();
  }

  /** @param {Event} event the browser's own reset would bring back what was chosen when the form was opened */
  function clear(event) {
    event.preventDefault();
    for (const node of form.querySelectorAll("select")) node.selectedIndex = 0;
    unreadBox.checked = false;
    set({ ...NO_FILTERS, text: current().text });
  }

  return form;
}
