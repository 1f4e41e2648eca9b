// The machines below the list of sessions.

import { withoutBase } from "../../lib/base-path.js";
import { fill, h, keyed } from "../../lib/dom.js";
import { parts } from "../../lib/language.js";
import { machineAddress } from "../../data/addresses.js";
import { machineName } from "../../data/sessions/sessions.js";
import { machineRow } from "./rows.js";

/**
 * @import { Store } from "../../data/store/store.js"
 * @import { Go, Machine } from "../../data/types.js"
 */

/** @param {Element} parent @param {Store} store @param {Go} go */
export function drawMachines(parent, store, go) {
  const machines = [...store.machines.values()].sort(
    (one, other) =>
      Number(other.active) - Number(one.active) ||
      machineName(one).localeCompare(machineName(other)),
  );
  if (machines.length === 0) {
    fill(
      parent,
      store.loaded &&
        h(
          "p",
          { class: "empty-note" },
          parts("No machine is online. To connect one, run {command} on it.", {
            command: h("code", null, "hapi runner start"),
          }),
        ),
    );
    return;
  }
  /** @type {Map<string, number>} by machine */
  const running = new Map();
  for (const { active, metadata } of store.sessions.values()) {
    const id = metadata?.machineId ?? "";
    if (active) running.set(id, (running.get(id) ?? 0) + 1);
  }
  const place = withoutBase(location.pathname);
  /** @param {Machine} machine @returns {[running: number, isOpen: boolean]} */
  const facts = ({ id }) => [running.get(id) ?? 0, place === machineAddress(id)];
  keyed(
    parent,
    machines,
    (machine) => machine.id,
    (machine) => JSON.stringify([machineName(machine), machine.active, ...facts(machine)]),
    (machine) => machineRow(machine, ...facts(machine), go),
  );
}
