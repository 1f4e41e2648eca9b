// The way to what waits for a person, below the list of sessions.

import { followLink, h, icon } from "../../lib/dom.js";
import { plural } from "../../lib/language.js";

/** @import { Go } from "../../data/types.js" */

/** @param {Go} go */
export function waitingLink(go) {
  const text = h("span", null);
  const node = h(
    "a",
    {
      class: "waiting-link",
      href: "/waiting",
      hidden: true,
      on: { click: followLink(go, "/waiting") },
    },
    icon("shield"),
    text,
  );
  return {
    node,
    /** @param {number} count of sessions that wait */
    draw(count) {
      node.hidden = count === 0;
      text.textContent = plural(
        count,
        "{count} session is waiting for you",
        "{count} sessions are waiting for you",
      );
    },
  };
}
