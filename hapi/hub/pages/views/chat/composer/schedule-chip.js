// When the message is sent that is being written.

import { fill, h, iconButton } from "../../../lib/dom.js";
import { t } from "../../../lib/language.js";
import { sendingText } from "../../../data/composer/schedule.js";

/** @param {{ onChange: () => void }} options */
export function scheduleChip({ onChange }) {
  const node = h("p", { class: "schedule", hidden: true });
  /** @type {number | null} ms since the epoch; null: at once */
  let at = null;

  /** @param {number | null} time */
  function set(time) {
    at = time;
    node.hidden = time === null;
    fill(
      node,
      time !== null && [
        h("span", null, sendingText(time)),
        iconButton("close", t("Send at once instead"), { on: { click: () => set(null) } }),
      ],
    );
    onChange();
  }

  return {
    node,
    get at() {
      return at;
    },
    set,
    /** The time, which is that of the next message no longer. */
    take() {
      const taken = at;
      set(null);
      return taken;
    },
  };
}
