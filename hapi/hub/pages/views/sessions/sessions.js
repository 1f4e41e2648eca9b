// The side pane: sessions by project, those that need a person first, and machines.

import { button, fill, followLink, h, icon, iconButton } from "../../lib/dom.js";
import { orToast } from "../../lib/dialog.js";
import { t } from "../../lib/language.js";
import { rowList } from "../../lib/lists/row-list.js";
import { Folds } from "../../data/sessions/folds.js";
import { filterCount, isUnread, listItems, NO_FILTERS } from "../../data/sessions/session-list.js";
import { isWorthListing } from "../../data/sessions/sessions.js";
import { drawMachines } from "./machine-list.js";
import { ROW_HEIGHTS, rowOf, rowVersion } from "./rows.js";
import { searchLink } from "./search-link.js";

/**
 * @import { Api } from "../../data/hub/api.js"
 * @import { Filters, Item } from "../../data/sessions/session-list.js"
 * @import { Store } from "../../data/store/store.js"
 * @import { Go, Session } from "../../data/types.js"
 * @import { RowContext } from "./rows.js"
 */

const MIN_SEARCHABLE = 7; // sessions; with fewer a search field is of no help

// These parts are loaded when they are first needed.
const loadActions = () => import("./actions.js");
const loadGestures = () => import("./gestures.js");
const loadFilters = () => import("./filters.js");
const loadSelection = () => import("./selection.js");

/**
 * @typedef {object} SideOptions
 * @property {Store} store
 * @property {Api} api
 * @property {Go} go
 * @property {Storage} storage of this device
 * @property {(machineId?: string, directory?: string) => void} newSession
 * @property {() => void} openMenu
 */

export class SessionsView {
  /** @param {SideOptions} options */
  constructor(options) {
    this._options = options;
    this._folds = new Folds(options.storage);
    /** @type {Filters} */
    this._filters = { ...NO_FILTERS };
    /** @type {Set<string> | null} ids of selected sessions; null while nothing is being selected */
    this._selected = null;
    this._lastToggled = ""; // id of a session
    this._rem = 15; // px
    this._search = this._searchField();
    this._filterButton = iconButton("filter", t("Filter sessions"), {
      "aria-expanded": "false",
      "aria-controls": "session-filters",
      on: { click: () => this._toggleFilters() },
    });
    this._searchRow = h(
      "div",
      { class: "search", hidden: true },
      h("div", { class: "search-field" }, icon("search"), this._search),
      this._filterButton,
    );
    this._filterPanel = h("div", { id: "session-filters", class: "filters", hidden: true });
    this._selectionBar = h("div", { class: "selection", hidden: true });
    this._elsewhere = searchLink(options.go);
    this._clear = button(t("Clear filters"), {
      hidden: true,
      on: { click: () => this._clearFilters() },
    });
    this._empty = h("p", { class: "empty-note", hidden: true });
    this._machines = h("div", { class: "machine-rows" });
    this._scroller = h("nav", {
      class: "side-scroll",
      "aria-label": t("Sessions"),
      tabindex: "-1",
    });
    this._list = this._makeList();
    /** @type {ReturnType<typeof import("./gestures.js").listGestures> | null} */
    this._gestures = null; // until the list is first used
    this._loadGestures();
    this._scroller.append(
      this._list.node,
      this._empty,
      this._clear,
      this._elsewhere.node,
      h("h2", { class: "group-title" }, t("Machines")),
      this._machines,
    );
    this.node = h(
      "aside",
      { class: "side", "aria-label": t("Sessions and machines") },
      sideHead(options),
      this._searchRow,
      this._filterPanel,
      this._selectionBar,
      this._scroller,
    );
  }

  /** Show something below the list. @param {HTMLElement} node */
  append(node) {
    this._scroller.append(node);
  }

  _searchField() {
    const node = h("input", {
      type: "search",
      placeholder: t("Search sessions"),
      "aria-label": t("Search sessions"),
    });
    node.addEventListener("input", () => this._setFilters({ ...this._filters, text: node.value }));
    node.addEventListener("keydown", ({ key }) => {
      if (key === "ArrowDown") this._gestures?.focusFirst();
    });
    return node;
  }

  _makeList() {
    /** @type {RowContext} */
    const context = {
      ...this._options,
      selected: () => this._selected,
      toggle: (id, isRange) => this._toggle(id, isRange),
      fold: (key, isOpen) => this._fold(key, isOpen),
      openMenu: (item, target) => this._openMenu(item, target),
    };
    return rowList({
      scroller: this._scroller,
      key: (/** @type {Item} */ item) => item.key,
      height: (item) => ROW_HEIGHTS[item.kind] * this._rem,
      version: (item) => rowVersion(item, context),
      draw: (item) => rowOf(item, context),
      drawn: () => this._gestures?.drawn(),
    });
  }

  /** Load what answers to long presses and keys when the list is first touched, clicked or focused. */
  _loadGestures() {
    /** @type {Event | null} the first one, or a wish for a menu that came after it */
    let first = null;
    /** @param {Event} event */
    const load = async (event) => {
      if (this._gestures) return;
      const isMenu = event.type === "contextmenu";
      if (isMenu) event.preventDefault();
      const isBegun = first !== null;
      if (isMenu || !isBegun) first = event;
      if (isBegun) return;
      const gestures = await orToast(loadGestures);
      this._gestures ??=
        gestures?.listGestures(this._list, this._scroller, this._answers()) ?? null;
      this._gestures?.begin(/** @type {Event} */ (first));
      first = null;
    };
    for (const type of ["pointerdown", "focusin", "contextmenu"])
      this._list.node.addEventListener(type, load);
  }

  _answers() {
    return {
      fold: (/** @type {string} */ key, /** @type {boolean} */ isOpen) => this._fold(key, isOpen),
      act: async (/** @type {Item} */ item, /** @type {"rename" | "end"} */ action) => {
        const actions = await orToast(loadActions);
        actions?.actOn(this._actionContext(), item, action);
      },
      openMenu: (/** @type {Item} */ item, /** @type {HTMLElement} */ target) =>
        this._openMenu(item, target),
      toggle: (/** @type {string} */ id) => {
        if (this._selected !== null) this._toggle(id, false);
      },
      leave: () => {
        if (this._selected !== null) this._select(null);
      },
    };
  }

  draw() {
    const { store, go } = this._options;
    const { fontSize } = getComputedStyle(document.documentElement);
    this._rem = parseFloat(fontSize) || this._rem;
    const items = listItems({
      sessions: store.sessions,
      machines: store.machines,
      catalog: store.catalog,
      seen: store.seen,
      openId: store.openId,
      filters: this._filters,
      foldOf: (key) => this._folds.get(key),
      now: Date.now(),
    });
    const hasFilters = filterCount(this._filters) > 0;
    const isFiltered = this._filters.text.trim() !== "" || hasFilters;
    this._searchRow.hidden = !isFiltered && this._filterPanel.hidden && !hasMany(store.sessions);
    this._list.show(items);
    this._empty.hidden = items.length > 0;
    if (!store.loaded) this._empty.textContent = t("Loading…");
    else this._empty.textContent = isFiltered ? t("No matching sessions.") : t("No sessions yet.");
    this._clear.hidden = items.length > 0 || !store.loaded || !hasFilters;
    this._elsewhere.draw(isFiltered, this._filters.text.trim());
    drawMachines(this._machines, store, go);
    if (this._selected !== null) this._drawSelection();
  }

  /** Show all sessions again that the text lets pass. */
  _clearFilters() {
    if (!this._filterPanel.hidden) this._toggleFilters();
    this._setFilters({ ...NO_FILTERS, text: this._filters.text });
    this._search.focus();
  }

  /** @param {string} key @param {boolean} isOpen */
  _fold(key, isOpen) {
    this._folds.set(key, isOpen);
    this.draw();
  }

  // --- filters ---

  /** @param {Filters} next */
  _setFilters(next) {
    this._filters = next;
    const count = filterCount(next);
    const label = count > 0 ? t("Filter sessions ({count} set)", { count }) : t("Filter sessions");
    this._filterButton.classList.toggle("is-set", count > 0);
    this._filterButton.setAttribute("aria-label", label);
    this._scroller.scrollTop = 0;
    this.draw();
  }

  async _toggleFilters() {
    const isShown = this._filterPanel.hidden;
    if (isShown) {
      const filters = await orToast(loadFilters);
      if (!filters) return;
      const form = filters.filterForm({
        store: this._options.store,
        current: () => this._filters,
        set: (next) => this._setFilters(next),
      });
      fill(this._filterPanel, form);
    }
    this._filterPanel.hidden = !isShown;
    this._filterButton.setAttribute("aria-expanded", String(isShown));
  }

  // --- what can be done with sessions ---

  _actionContext() {
    const { store } = this._options;
    return {
      ...this._options,
      select: (/** @type {Iterable<string> | null} */ ids) => this._select(ids),
      isUnread: (/** @type {Session} */ session) => isUnread(session, store),
    };
  }

  /** @param {Item} item @param {HTMLElement} target */
  async _openMenu(item, target) {
    const actions = await orToast(loadActions);
    actions?.openMenu(this._actionContext(), item, target);
  }

  /** @param {Iterable<string> | null} ids null: nothing is being selected any more */
  _select(ids) {
    this._selected = ids === null ? null : new Set(ids);
    this._lastToggled = [...(ids ?? [])].at(-1) ?? "";
    this._selectionBar.hidden = ids === null;
    this.draw();
  }

  /** @param {string} id @param {boolean} isRange whether all rows from the one before it change with it */
  _toggle(id, isRange) {
    const list = this._list;
    const isAdded = !this._selected?.has(id);
    const [one, other] = [list.numberOf(this._lastToggled), list.numberOf(id)];
    const [from, to] = isRange && one >= 0 ? [Math.min(one, other), Math.max(one, other)] : [0, -1];
    const range = list.items().slice(from, to + 1);
    const ids = range.flatMap((item) => (item.kind === "session" ? [item.key] : []));
    for (const each of [...ids, id]) {
      if (isAdded) this._selected?.add(each);
      else this._selected?.delete(each);
    }
    this._lastToggled = id;
    this.draw();
  }

  /** @returns {boolean} whether sessions were being selected */
  endSelection() {
    if (this._selected === null) return false;
    this._select(null);
    return true;
  }

  async _drawSelection() {
    const selection = await orToast(loadSelection);
    if (this._selected === null) return;
    selection?.drawSelectionBar(this._selectionBar, this._actionContext(), this._selected);
  }
}

/** @param {SideOptions} options */
function sideHead({ store, go, newSession, openMenu }) {
  return h(
    "header",
    { class: "side-head" },
    h(
      "a",
      { class: "brand", href: "/", on: { click: followLink(go, "/") } },
      h("img", { src: "/icon.svg", alt: "", width: "28", height: "28" }),
      "HAPI",
    ),
    h("span", { class: "spring" }),
    iconButton("search", t("Search all conversations"), { on: { click: () => go("/search") } }),
    iconButton("sliders", t("Settings"), { on: { click: openMenu } }),
    button([icon("plus"), t("New session")], {
      class: "primary",
      hidden: !store.access.allows("spawn"),
      on: { click: () => newSession() },
    }),
  );
}

/** Whether there are so many sessions that one has to search. @param {Map<string, Session>} sessions */
function hasMany(sessions) {
  let count = 0;
  for (const session of sessions.values()) {
    if (isWorthListing(session)) count += 1;
    if (count >= MIN_SEARCHABLE) return true;
  }
  return false;
}
