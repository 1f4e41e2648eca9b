// The line across the top while the hub can't be reached or refuses to work, or while something is under way.

import { fill, h, linkButton } from "../../lib/dom.js";
import { sentence } from "../../lib/format.js";
import { t } from "../../lib/language.js";

/** @import { Store } from "../../data/store/store.js" */

const UNREACHABLE = t(
  "The hub can't be reached. Your messages are kept and will be sent when it is back.",
);

/**
 * What is wrong between the page and the hub; null if nothing.
 * @param {Pick<Store, "connection" | "readProblem"> & { outbox: { refusal: string | null } }} store
 */
export function hubProblem({ connection, outbox, readProblem }) {
  if (connection.phase === "lost") return connection.reason ?? UNREACHABLE;
  if (outbox.refusal !== null)
    return t("{problem} Your messages are kept here and sent again.", {
      problem: sentence(outbox.refusal),
    });
  return readProblem;
}

/** @param {{ store: Pick<Store, "connection" | "outbox" | "readProblem">, retry: () => void }} options */
export function banner({ store, retry }) {
  const node = h("div", { class: "banner", role: "alert", hidden: true });
  let shown = "";

  /** @param {string | null} status */
  function draw(status) {
    const problem = hubProblem(store);
    const text = problem ?? status ?? "";
    if (text === shown) return;
    shown = text;
    node.hidden = !text;
    node.classList.toggle("calm", problem === null);
    fill(node, h("span", null, text), problem !== null && linkButton(t("Try now"), retry));
  }

  return { node, draw };
}
