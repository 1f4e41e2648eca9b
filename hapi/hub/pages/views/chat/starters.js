// What a person may begin a conversation with: their last prompts, or examples, and the agent's commands.

import { fill, h } from "../../lib/dom.js";
import { t } from "../../lib/language.js";
import { recentPrompts } from "../../data/composer/recent-prompts.js";

const EXAMPLES = [
  t("Explain how this project is organised."),
  t("Run the tests and tell me what fails."),
  t("Review what was changed last."),
];

/**
 * @param {object} options
 * @param {Storage} options.storage of the device
 * @param {(text: string) => void} options.write puts a text into the box
 */
export function starters({ storage, write }) {
  const node = h("div", {
    class: "starters",
    role: "group",
    "aria-label": t("Suggestions for a first message"),
    hidden: true,
  });

  /** @param {string} text @param {string} [insert] */
  function chip(text, insert = text) {
    return h("button", { type: "button", class: "chip", on: { click: () => write(insert) } }, text);
  }

  return {
    node,
    /** @param {boolean} isWanted */
    draw(isWanted) {
      if (node.hidden === !isWanted) return;
      node.hidden = !isWanted;
      const recent = recentPrompts(storage);
      fill(
        node,
        (recent.length > 0 ? recent : EXAMPLES).map((text) => chip(text)),
        chip(t("Commands"), "/"),
      );
    },
  };
}
