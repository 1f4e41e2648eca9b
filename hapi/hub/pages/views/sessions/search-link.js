// The way from a search for sessions to one through all conversations, which knows no filters.

import { fill, followLink, h, icon } from "../../lib/dom.js";
import { t } from "../../lib/language.js";

/** @import { Go } from "../../data/types.js" */

/** @param {Go} go */
export function searchLink(go) {
  const node = h("div", { hidden: true });

  /** @param {boolean} isFiltered whether the list shows some sessions only @param {string} text that they have */
  function draw(isFiltered, text) {
    node.hidden = !isFiltered;
    if (text === node.dataset.text) return;
    node.dataset.text = text;
    const address = text ? `/search?${new URLSearchParams({ q: text })}` : "/search";
    fill(
      node,
      h(
        "a",
        { class: "row machine", href: address, on: { click: followLink(go, address) } },
        icon("search"),
        h(
          "span",
          { class: "row-main" },
          text
            ? t("Search all conversations for “{text}”", { text })
            : t("Search all conversations"),
        ),
      ),
    );
  }

  return { node, draw };
}
