// The line across the top while the hub is out of reach.

import { fill, h } from "../../lib/dom.js";

export function banner({ store, retry }) {
  const node = h("div", { class: "banner", role: "alert", hidden: true });
  const again = h("button", { type: "button", class: "link", on: { click: retry } }, "Try now");
  let shown = "";
  function draw(note) {
    const lost = store.connection.phase === "lost";
    const text = lost ? "The hub is out of reach. What you write is kept and sent when it is back." : note ?? "";
    if (text === shown) return;
    shown = text;
    node.hidden = !text;
    node.classList.toggle("calm", !lost);
    fill(node, h("span", null, text), lost && again);
  }
  return { node, draw };
}
