// Search over all conversations: a field, and what was found, each result a link to its place.

import {
  bySession,
  isSearchable,
  KIND_LABELS,
  partsOf,
  queryOf,
  resultAddress,
  searchAddress,
} from "../../data/records/search.js";
import { sessionAddress } from "../../data/addresses.js";
import { titleOf } from "../../data/sessions/sessions.js";
import { button, fill, followLink, h, icon, iconButton } from "../../lib/dom.js";
import { errorMessage } from "../../lib/errors.js";
import { dateAndTime, isoTime, ownValue } from "../../lib/format.js";
import { plural, t } from "../../lib/language.js";
import { stylesheet } from "../../lib/stylesheet.js";
import { marked, sessionMatches } from "./session-matches.js";

/** @import { SearchPage, SearchResult, View, ViewContext } from "../../data/types.js" */

const TYPING_PAUSE = 250; // ms without a key before the hub is asked

/** @param {ViewContext} context @returns {View} */
export function view(context) {
  stylesheet(new URL("../../style/records.css", import.meta.url).href);
  return new SearchView(context);
}

/** @implements {View} */
export class SearchView {
  /** @param {ViewContext} context */
  constructor({ api, store, go, query }) {
    this._api = api;
    this._store = store;
    this._go = go;
    this._text = query.get("q") ?? "";
    /** @type {SearchResult[]} */
    this._results = [];
    /** @type {number | null} */
    this._cursor = null;
    this._asking = new AbortController();
    /** @type {ReturnType<typeof setTimeout> | undefined} */
    this._typing = undefined;
    this._field = h("input", {
      type: "search",
      class: "wide-search",
      placeholder: t("Words, or “a phrase”"),
      "aria-label": t("Search all conversations"),
      enterkeyhint: "search",
      autocapitalize: "off",
      value: this._text,
      on: {
        input: () => this._onInput(),
        keydown: (/** @type {KeyboardEvent} */ event) => this._onKey(event),
      },
    });
    this._sessions = sessionMatches({ store, go });
    /** @type {SearchPage | null} the latest page of messages */
    this._page = null;
    this._summary = h("p", { class: "muted search-summary", role: "status" });
    this._list = h("div", { class: "found" });
    this._more = button(t("Show more"), { hidden: true, on: { click: () => this._readMore() } });
    this.node = h(
      "main",
      { class: "main" },
      h(
        "header",
        { class: "main-head" },
        iconButton("back", t("Back to sessions"), {
          class: "only-phone",
          on: { click: () => go("/") },
        }),
        h("h1", { class: "for-readers" }, t("Search")),
        h("div", { class: "search wide" }, icon("search"), this._field),
      ),
      h(
        "div",
        {
          class: "page search-page",
          on: { keydown: (/** @type {KeyboardEvent} */ event) => this._onArrow(event) },
        },
        this._sessions.node,
        this._summary,
        this._list,
        this._more,
      ),
    );
  }

  start() {
    return this._search();
  }

  focus() {
    if (this._text === "") this._field.focus();
  }

  title() {
    return this._text ? t("Search: {text}", { text: this._text }) : t("Search");
  }

  leave() {
    clearTimeout(this._typing);
    this._asking.abort();
  }

  draw() {
    const hasSessions = this._sessions.draw(this._text);
    if (this._page)
      this._summary.textContent = summaryOf(this._results.length, this._page, hasSessions);
  }

  /** @param {URLSearchParams} query */
  navigate(query) {
    const text = query.get("q") ?? "";
    if (text === this._text) return;
    this._text = text;
    this._field.value = text;
    this._search();
  }

  _onInput() {
    clearTimeout(this._typing);
    this._typing = setTimeout(() => this._take(), TYPING_PAUSE);
  }

  /** @param {KeyboardEvent} event */
  _onKey(event) {
    if (event.key === "Enter" && !event.isComposing) {
      clearTimeout(this._typing);
      this._take();
    } else if (event.key === "ArrowDown") {
      event.preventDefault();
      this._links()[0]?.focus();
    }
  }

  /** Arrow keys go from result to result. @param {KeyboardEvent} event */
  _onArrow(event) {
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    const links = this._links();
    const at = links.indexOf(/** @type {HTMLElement} */ (document.activeElement));
    if (step === undefined || at < 0) return;
    event.preventDefault();
    (links[at + step] ?? (step < 0 ? this._field : links[at])).focus();
  }

  /** @returns {HTMLElement[]} */
  _links() {
    return [...this.node.querySelectorAll("a.result")].filter(
      (node) => node instanceof HTMLElement,
    );
  }

  /** Search for what is in the field, and give it an address. */
  _take() {
    const text = this._field.value.trim();
    if (text === this._text) return;
    this._text = text;
    this._go(searchAddress(text), { replace: true });
    this._search();
  }

  async _search() {
    this._asking.abort();
    this._page = null;
    this.draw();
    const asking = (this._asking = new AbortController());
    if (!isSearchable(this._text)) {
      this._show([], null);
      this._summary.textContent = t(
        "Finds titles, directories, prompts, answers, tool calls and their outputs in all conversations.",
      );
      return;
    }
    this._summary.textContent = t("Searching…");
    await this._read(asking, null);
  }

  async _readMore() {
    this._more.disabled = true;
    await this._read(this._asking, this._cursor);
    this._more.disabled = false;
  }

  /** @param {AbortController} asking @param {number | null} cursor */
  async _read(asking, cursor) {
    try {
      const page = await this._api.search(queryOf(this._text), { cursor, signal: asking.signal });
      if (asking.signal.aborted) return;
      const before = cursor === null ? [] : this._results;
      this._show([...before, ...page.results], page.nextCursor);
      this._page = page;
      this.draw();
    } catch (error) {
      if (asking.signal.aborted) return;
      this._page = null;
      fill(this._summary, errorMessage(error));
    }
  }

  /** @param {SearchResult[]} results @param {number | null} cursor */
  _show(results, cursor) {
    this._results = results;
    this._cursor = cursor;
    this._more.hidden = cursor === null;
    fill(
      this._list,
      bySession(results).map((group) => this._group(group)),
    );
  }

  /** @param {{ sessionId: string, title: string, results: SearchResult[] }} group */
  _group({ sessionId, title, results }) {
    const session = this._store.sessions.get(sessionId);
    const shown = session ? titleOf(session) : title;
    const agent = session && this._store.catalog.label(session.metadata?.flavor);
    const address = sessionAddress(sessionId);
    return h(
      "section",
      { "aria-label": shown },
      h(
        "h2",
        { class: "found-session" },
        h("a", { href: address, on: { click: followLink(this._go, address) } }, shown),
        agent && h("span", { class: "muted" }, agent),
      ),
      h(
        "ul",
        null,
        results.map((result) => h("li", null, this._result(result))),
      ),
    );
  }

  /** @param {SearchResult} result */
  _result(result) {
    const address = resultAddress(result);
    return h(
      "a",
      { class: "result", href: address, on: { click: followLink(this._go, address) } },
      h(
        "span",
        { class: "result-head muted" },
        h("span", null, ownValue(KIND_LABELS, result.kind) ?? result.kind),
        h("time", { datetime: isoTime(result.time) }, dateAndTime(result.time)),
      ),
      h(
        "span",
        {
          class: `result-text ${result.kind === "output" || result.kind === "tool" ? "mono" : ""}`,
        },
        marked(partsOf(result.snippet)),
      ),
    );
  }
}

/** @param {number} count @param {SearchPage} page @param {boolean} hasSessions whether sessions were found by their names */
function summaryOf(count, { nextCursor, isPartial, indexing }, hasSessions) {
  const isNone = count === 0 && hasSessions;
  const sentences = [isNone ? t("No message was found.") : foundText(count, nextCursor === null)];
  if (isPartial) sentences.push(t("The search took too long and is not complete."));
  if (indexing)
    sentences.push(
      t("Older messages are still being indexed: {done} of {total}.", {
        done: indexing.done,
        total: indexing.total,
      }),
    );
  return sentences.join(" ");
}

/** @param {number} count @param {boolean} isAll */
function foundText(count, isAll) {
  if (count === 0) return t("Nothing found. Try other words, or fewer of them.");
  return isAll
    ? plural(count, "{count} message, the newest first.", "{count} messages, the newest first.")
    : plural(
        count,
        "{count} message so far, the newest first.",
        "{count} messages so far, the newest first.",
      );
}
