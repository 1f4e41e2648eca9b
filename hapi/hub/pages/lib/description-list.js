// A description list (`dl`).

import { h } from "./dom.js";

/** @import { Child } from "./dom.js" */

/**
 * A term and its description for each row that has a value.
 * @param {[string, Child][]} rows
 */
export function descriptionList(rows) {
  const known = rows.filter(([, value]) => value);
  return h(
    "dl",
    { class: "facts" },
    known.map(([label, value]) => [h("dt", null, label), h("dd", null, value)]),
  );
}
