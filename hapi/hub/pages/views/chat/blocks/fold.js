// A long text, of which the beginning is shown until a person wants all of it.

import { h, linkButton } from "../../../lib/dom.js";
import { plural, t } from "../../../lib/language.js";

/** @import { BlockContext } from "../../../data/types.js" */

/**
 * What `draw` makes of the text, with the button that shows all of it or less.
 * @param {string} key of the fold in `context`
 * @param {string} text
 * @param {BlockContext} context
 * @param {(isCut: boolean) => HTMLElement} draw
 * @returns {HTMLElement}
 */
export function foldable(key, text, context, draw) {
  const open = context.expanded.get(key) ?? false;
  const whole = h(
    "div",
    { class: "foldable" },
    draw(!open),
    linkButton(open ? t("Show less") : t("Show all ({size})", { size: sizeOf(text) }), toggle, {
      class: "link fold",
      "aria-expanded": String(open),
    }),
  );

  function toggle() {
    context.expanded.set(key, !open);
    const redrawn = foldable(key, text, context, draw);
    whole.replaceWith(redrawn);
    const fold = redrawn.querySelector(".fold");
    if (!(fold instanceof HTMLElement)) return;
    fold.focus({ preventScroll: true });
    if (open) fold.scrollIntoView({ block: "nearest" }); // what was read below is gone
  }

  return whole;
}

/** @param {string} text */
function sizeOf(text) {
  const lines = text.split("\n").length;
  return lines > 1
    ? plural(lines, "{count} line", "{count} lines")
    : t("{count} characters", { count: text.length });
}
