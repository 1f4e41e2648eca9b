// A menu of actions: beside its target with a mouse, at the lower edge of the screen on a phone.

import { h, icon } from "./dom.js";

/** @import { IconName } from "./dom.js" */

/** @typedef {{ label: string, sign: IconName, run: () => unknown, danger?: boolean }} MenuEntry */

const GAP = 4; // px between a menu and its target, and to the edge of the window
const MIN_WIDE_WINDOW = 800; // px; style/list-actions.css has the same

/**
 * Open a menu for `target`, which gets the focus back afterwards. Arrows go through the entries, Escape closes it.
 * @param {HTMLElement} target
 * @param {string} label what the menu is about
 * @param {(MenuEntry | null | false)[]} entries
 */
export function openMenu(target, label, entries) {
  const node = h("div", {
    class: "menu",
    role: "menu",
    "aria-label": label,
    popover: "manual",
    tabindex: "-1",
  });
  const items = entries.filter((entry) => entry !== null && entry !== false).map(itemOf);
  node.append(h("p", { class: "menu-title", "aria-hidden": "true" }, label), ...items);

  /** @param {MenuEntry} entry */
  function itemOf({ label: text, sign, run, danger }) {
    return h(
      "button",
      {
        type: "button",
        role: "menuitem",
        tabindex: "-1",
        class: danger ? "danger" : "",
        on: {
          click: () => {
            node.hidePopover();
            run();
          },
        },
      },
      icon(sign),
      text,
    );
  }

  node.addEventListener("keydown", (event) => {
    const index = items.indexOf(/** @type {HTMLButtonElement} */ (document.activeElement));
    const last = items.length - 1;
    /** @type {Record<string, number>} */
    const next = {
      ArrowDown: index === last ? 0 : index + 1,
      ArrowUp: index <= 0 ? last : index - 1,
      Home: 0,
      End: last,
    };
    if (event.key in next) {
      event.preventDefault();
      items[next[event.key]]?.focus();
    } else if (event.key === "Tab" || event.key === "Escape") {
      event.preventDefault();
      node.hidePopover();
    }
    event.stopPropagation();
  });
  // The finger of a long press is lifted while the menu is open already, which would close an "auto" popover.
  const ended = new AbortController();
  document.addEventListener(
    "pointerdown",
    (event) => {
      if (node.contains(/** @type {Node} */ (event.target))) return;
      node.hidePopover();
      swallowClick();
    },
    { capture: true, signal: ended.signal },
  );
  node.addEventListener("toggle", (event) => {
    if (/** @type {ToggleEvent} */ (event).newState !== "closed") return;
    ended.abort();
    const hadFocus =
      node.contains(document.activeElement) || document.activeElement === document.body;
    node.remove();
    if (hadFocus && target.isConnected) target.focus({ preventScroll: true });
  });
  document.body.append(node);
  node.showPopover();
  if (innerWidth >= MIN_WIDE_WINDOW) place(node, target);
  items[0]?.focus({ preventScroll: true });
}

/** What a person touches to close a menu does nothing else. */
function swallowClick() {
  const done = new AbortController();
  document.addEventListener(
    "click",
    (event) => {
      event.preventDefault();
      event.stopPropagation();
      done.abort();
    },
    { capture: true, signal: done.signal },
  );
  // A press that does not become a click, as one of another button, must not cost the next one.
  document.addEventListener("pointerup", () => setTimeout(() => done.abort(), 0), {
    once: true,
    signal: done.signal,
  });
}

/** @param {HTMLElement} node @param {HTMLElement} target */
function place(node, target) {
  const at = target.getBoundingClientRect();
  const { offsetWidth: width, offsetHeight: height } = node;
  const below = at.bottom + GAP;
  const top = below + height <= innerHeight ? below : Math.max(GAP, at.top - height - GAP);
  node.style.top = `${top}px`;
  node.style.left = `${Math.max(GAP, Math.min(at.left + 24, innerWidth - width - GAP))}px`;
}
