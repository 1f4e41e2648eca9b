// The keyboard in the list of sessions: one row takes part in the tab order, arrows go on to the others.

/**
 * @import { Item } from "../../data/sessions/session-list.js"
 * @import { rowList } from "../../lib/lists/row-list.js"
 */

/** @type {Record<string, "rename" | "end">} */
const ACTIONS = { F2: "rename", Delete: "end" };
const PAGE = 10; // rows

/**
 * @param {object} options
 * @param {ReturnType<typeof rowList<Item>>} options.list
 * @param {HTMLElement} options.scroller
 * @param {(key: string, isOpen: boolean) => void} options.fold
 * @param {(item: Item, action: "rename" | "end") => void} options.act
 * @param {(id: string) => void} options.toggle a session in the selection
 * @param {() => void} options.leave the selection
 */
export function listKeys({ list, scroller, fold, act, toggle, leave }) {
  let current = ""; // the key of the row in the tab order
  let hasFocus = false; // the current row has the focus, or had it until it was scrolled out of sight

  /** @returns {HTMLElement[]} */
  const rows = () => [...list.node.querySelectorAll(/** @type {"div"} */ ("[data-key]"))];

  /** After rows were drawn: the tab order, and a focus that went with a row that left. */
  function drawn() {
    const shown = rows();
    const row = shown.find(({ dataset }) => dataset.key === current);
    const inOrder = row ?? shown[0];
    for (const each of shown) each.tabIndex = each === inOrder ? 0 : -1;
    if (!hasFocus) return;
    if (row && (document.activeElement === scroller || document.activeElement === document.body))
      row.focus({ preventScroll: true });
    else if (!row && document.activeElement === document.body)
      scroller.focus({ preventScroll: true });
  }

  /** @param {number} number @param {1 | -1} step where to look on when a row cannot take the focus */
  function focusRow(number, step) {
    const items = list.items();
    let next = Math.max(0, Math.min(items.length - 1, number));
    while (items[next]?.kind === "title") next += step;
    const item = items[next];
    if (!item) return;
    current = item.key;
    hasFocus = true;
    list.reveal(next);
    drawn();
    rows()
      .find(({ dataset }) => dataset.key === current)
      ?.focus({ preventScroll: true });
  }

  /** Opens or closes the head, or goes from a row to its head. @param {Item} item @param {number} number @param {boolean} isOpen */
  function foldAt(item, number, isOpen) {
    if (item.kind === "project" || item.kind === "earlier") {
      if (item.isOpen !== isOpen)
        fold(item.kind === "project" ? item.project.key : item.key, isOpen);
    } else if (!isOpen) {
      const head = list.items().findLastIndex(({ kind }, at) => at < number && kind !== "session");
      if (head >= 0) focusRow(head, 1);
    }
  }

  /** @param {KeyboardEvent} event @returns {boolean} whether the key was meant for the list */
  function handle({ key }) {
    const number = list.numberOf(current);
    const item = list.items()[number];
    if (key === "Home") focusRow(0, 1);
    else if (key === "End") focusRow(list.items().length - 1, -1);
    else if (key === "Escape") leave();
    else if (!item) return false;
    else if (key === "ArrowDown") focusRow(number + 1, 1);
    else if (key === "ArrowUp") focusRow(number - 1, -1);
    else if (key === "PageDown") focusRow(number + PAGE, 1);
    else if (key === "PageUp") focusRow(number - PAGE, -1);
    else if (key === "ArrowRight") foldAt(item, number, true);
    else if (key === "ArrowLeft") foldAt(item, number, false);
    else if (ACTIONS[key] && item.kind === "session") act(item, ACTIONS[key]);
    else if (key === " " && item.kind === "session") toggle(item.key);
    else return false;
    return true;
  }

  scroller.addEventListener("keydown", (event) => {
    const isRow =
      event.target === scroller || list.node.contains(/** @type {Node} */ (event.target));
    if (!isRow || event.altKey || event.ctrlKey || event.metaKey) return;
    if (handle(event)) event.preventDefault();
  });
  /** @param {EventTarget | null} target */
  function focused(target) {
    const key = target instanceof Element && target.getAttribute("data-key");
    if (!key) return;
    current = key;
    hasFocus = true;
    for (const each of rows()) each.tabIndex = each.dataset.key === key ? 0 : -1;
  }

  scroller.addEventListener("focusin", ({ target }) => focused(target));
  scroller.addEventListener("focusout", ({ relatedTarget }) => {
    if (relatedTarget instanceof Node && !scroller.contains(relatedTarget)) hasFocus = false;
  });

  return {
    drawn,
    focusFirst: () => focusRow(0, 1),
    /** A row had the focus before the keys were loaded. @param {Element} row */
    adopt: (row) => focused(row),
  };
}
