// The line across the top while the hub can't be reached, or while something is under way.

import { fill, h, linkButton } from "../../lib/dom.js";

/** @import { Store } from "../../data/store.js" */

const UNREACHABLE =
  "The hub can't be reached. Your messages are kept and will be sent when it is back.";

/** @param {{ store: Pick<Store, "connection">, retry: () => void }} options */
export function banner({ store, retry }) {
  const node = h("div", { class: "banner", role: "alert", hidden: true });
  let shown = "";

  /** @param {string | null} status */
  function draw(status) {
    const isLost = store.connection.phase === "lost";
    const text = isLost ? (store.connection.reason ?? UNREACHABLE) : (status ?? "");
    if (text === shown) return;
    shown = text;
    node.hidden = !text;
    node.classList.toggle("calm", !isLost);
    fill(node, h("span", null, text), isLost && linkButton("Try now", retry));
  }

  return { node, draw };
}
