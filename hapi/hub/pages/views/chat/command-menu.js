// The agent's slash commands above the composer, while a command is being typed.

import { fill, h } from "../../lib/dom.js";
import { matchingCommands } from "../../data/offer.js";

/** @import { OfferedChoice } from "../../data/types.js" */

const MAX_SHOWN = 8;

/**
 * @param {{ commands: () => OfferedChoice[], choose: (text: string) => void }} options `choose` puts a text into the box
 */
export function commandMenu({ commands, choose }) {
  const node = h("ul", {
    class: "command-menu",
    role: "listbox",
    hidden: true,
    id: "command-menu",
  });
  /** @type {OfferedChoice[]} */
  let shown = [];
  let selected = 0;

  function draw() {
    fill(
      node,
      shown.map(({ id, description }, index) =>
        h(
          "li",
          {
            role: "option",
            "aria-selected": String(index === selected),
            on: {
              pointerdown: (/** @type {Event} */ event) => {
                event.preventDefault(); // the box keeps the focus
                take(index);
              },
            },
          },
          h("span", { class: "command-name" }, `/${id}`),
          description && h("span", { class: "muted" }, description),
        ),
      ),
    );
    node.hidden = shown.length === 0;
  }

  /** @param {number} index */
  function take(index) {
    const { id = "" } = shown[index] ?? {};
    shown = [];
    draw();
    choose(`/${id} `);
  }

  return {
    node,
    /** @param {string} text of the box */
    update(text) {
      shown = matchingCommands(text, commands()).slice(0, MAX_SHOWN);
      selected = 0;
      draw();
    },
    /** Whether the key was for the menu. @param {KeyboardEvent} event */
    handles(event) {
      if (shown.length === 0 || event.isComposing) return false;
      if (event.key === "Tab" && !event.shiftKey) take(selected);
      else if (event.key === "Escape") shown = [];
      else if (event.key === "ArrowDown") selected = (selected + 1) % shown.length;
      else if (event.key === "ArrowUp") selected = (selected + shown.length - 1) % shown.length;
      else return false;
      draw();
      return true;
    },
  };
}
