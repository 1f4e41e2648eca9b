// How the list of sessions answers to keys, long presses and the context menu.

import { listKeys } from "./keys.js";
import { longPress } from "./long-press.js";

/**
 * @import { Item } from "../../data/sessions/session-list.js"
 * @import { rowList } from "../../lib/lists/row-list.js"
 */

/**
 * @typedef {object} Answers
 * @property {(key: string, isOpen: boolean) => void} fold
 * @property {(item: Item, action: "rename" | "end") => void} act
 * @property {(item: Item, target: HTMLElement) => void} openMenu
 * @property {(id: string) => void} toggle a session in the selection
 * @property {() => void} leave the selection
 */

/** @param {ReturnType<typeof rowList<Item>>} list @param {HTMLElement} scroller @param {Answers} answers */
export function listGestures(list, scroller, answers) {
  const keys = listKeys({ ...answers, list, scroller });
  const { press, show } = longPress(list.node, (target) => {
    const row = target.closest("li")?.querySelector("[data-key]");
    const item = row && list.items()[list.numberOf(row.getAttribute("data-key") ?? "")];
    if (item && row instanceof HTMLElement) answers.openMenu(item, row);
    return Boolean(item);
  });

  return {
    drawn: keys.drawn,
    focusFirst: keys.focusFirst,
    /** Answers to the event for which all this was loaded. @param {Event} event */
    begin(event) {
      const { target } = event;
      if (!(target instanceof Element) || !list.node.contains(target)) return;
      if (event instanceof PointerEvent && event.type === "pointerdown") press(event);
      else if (event.type === "contextmenu") show(target);
      if (document.activeElement) keys.adopt(document.activeElement);
    },
  };
}
