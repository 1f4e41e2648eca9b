// Everything that waits for a person, over all sessions, one request at a time.

import { button, fill, followLink, h, iconButton, pathLabel } from "../../lib/dom.js";
import { toast } from "../../lib/dialog.js";
import { relativeTime } from "../../lib/format.js";
import { parts, t } from "../../lib/language.js";
import { stylesheet } from "../../lib/stylesheet.js";
import { sessionAddress } from "../../data/addresses.js";
import { machineName, shownPath, titleOf } from "../../data/sessions/sessions.js";
import { placeInQueue, SessionReads, waitingRequests } from "../../data/sessions/waiting.js";
import { SessionActions } from "../chat/actions.js";
import { drawBlock } from "../chat/blocks/block.js";

/**
 * @import { BlockContext, RequestBlock, View, ViewContext } from "../../data/types.js"
 * @import { WaitingRequest } from "../../data/sessions/waiting.js"
 */

const SETTLE_TIME = 500; // ms for which a request that has come by itself cannot be answered: a press may be for the one before
/** Keys that press the button with this look. @type {Record<string, string>} */
const ANSWER_KEYS = { a: ".primary", s: "[data-focus$='/session']", d: ".danger" };

await stylesheet(new URL("../../style/chat.css", import.meta.url).href);

/** @param {ViewContext} context @returns {View} */
export function view(context) {
  return new WaitingView(context);
}

/** @implements {View} */
export class WaitingView {
  /** @param {ViewContext} context */
  constructor(context) {
    this._options = context;
    /** @type {WaitingRequest[]} */
    this._requests = [];
    this._place = 0;
    /** @type {string | null} */
    this._key = null;
    this._shown = "";
    this._shownSince = 0; // ms of performance.now()
    /** @type {Map<string, SessionActions>} by session */
    this._actions = new Map();
    /** @type {BlockContext["expanded"]} */
    this._expanded = new Map();
    this._reads = new SessionReads();
    this._ended = new AbortController();
    this._count = h("p", { class: "muted", role: "status" });
    const { go } = context;
    this._previous = iconButton("up", t("Previous request"), {
      on: { click: () => this._step(-1) },
    });
    this._next = iconButton("down", t("Next request"), { on: { click: () => this._step(1) } });
    this._content = h("div", { class: "log waiting-log" });
    this._content.addEventListener("click", (event) => this._guard(event), { capture: true });
    this._listener = (/** @type {KeyboardEvent} */ event) => this._onKey(event);
    this.node = h(
      "main",
      { class: "main waiting-view" },
      h(
        "header",
        { class: "main-head" },
        iconButton("back", t("Back to sessions"), {
          class: "only-phone",
          on: { click: () => go("/") },
        }),
        h("div", { class: "head-main" }, h("h1", null, t("Waiting for you")), this._count),
        this._previous,
        this._next,
      ),
      this._content,
    );
  }

  start() {
    addEventListener("keydown", this._listener);
  }

  leave() {
    this._ended.abort();
    removeEventListener("keydown", this._listener);
    for (const actions of this._actions.values()) actions.close();
  }

  title() {
    return t("Waiting for you");
  }

  draw() {
    const { store } = this._options;
    const { requests, unread } = waitingRequests(store.sessions.values());
    for (const id of unread) this._read(id);
    const unknown = unread.filter((id) => this._reads.problem(id) === null);
    const isFirst = this._key === null && unknown.length > 0; // what has waited longest may be among them
    this._requests = isFirst ? [] : requests;
    this._place = placeInQueue(this._requests, this._key, this._place);
    const waiting = this._requests[this._place];
    this._previous.disabled = this._next.disabled = this._requests.length < 2;
    this._count.textContent =
      this._requests.length === 0
        ? ""
        : t("{place} of {count}", { place: this._place + 1, count: this._requests.length });
    const version = JSON.stringify([
      waiting?.key,
      waiting && [waiting.title, waiting.request, this._decisions(waiting)],
      unread.map((id) => [id, this._reads.problem(id)]),
      store.loaded,
    ]);
    if (version === this._shown) return;
    this._shown = version;
    if (waiting?.key !== this._key) this._shownSince = performance.now();
    this._key = waiting?.key ?? null;
    const failed = unread.filter((id) => this._reads.problem(id) !== null);
    const isLoading = unread.length > failed.length || !store.loaded;
    const isDone = !waiting && failed.length === 0;
    fill(
      this._content,
      failed.map((id) => this._failure(id)),
      waiting && this._card(waiting),
      isDone && this._empty(isLoading),
    );
  }

  /** @param {string} id of a session of which only the number of its requests is known */
  _read(id) {
    const { store } = this._options;
    if (!this._reads.begin(id, performance.now())) return;
    store
      .readSession(id)
      .then(
        () => this._reads.succeeded(id),
        (error) => {
          const delay = this._reads.failed(id, error, performance.now());
          const timer = setTimeout(() => this.draw(), delay);
          this._ended.signal.addEventListener("abort", () => clearTimeout(timer));
        },
      )
      .then(() => store.changed());
  }

  /** @param {string} id of a session that could not be read */
  _failure(id) {
    const { store, go } = this._options;
    const session = store.sessions.get(id);
    const address = sessionAddress(id);
    const again = () => {
      this._reads.hurry(id);
      this.draw();
    };
    return h(
      "div",
      { class: "waiting-failure", role: "alert" },
      h(
        "p",
        null,
        parts("What this session asks could not be read: {session}", {
          session: h(
            "a",
            { href: address, on: { click: followLink(go, address) } },
            session ? titleOf(session) : id,
          ),
        }),
      ),
      h("p", { class: "muted" }, this._reads.problem(id)),
      button(t("Try again"), { on: { click: again } }),
    );
  }

  /** @param {boolean} isLoading */
  _empty(isLoading) {
    const { go } = this._options;
    if (isLoading) return h("p", { class: "muted waiting-none" }, t("Loading…"));
    return h(
      "div",
      { class: "waiting-none" },
      h("p", null, t("Nothing is waiting for you.")),
      h("a", { href: "/", class: "link", on: { click: followLink(go, "/") } }, t("All sessions")),
    );
  }

  /** @param {WaitingRequest} waiting */
  _decisions({ session, requestId }) {
    return this._actions.get(session.id)?.decisions.get(requestId) ?? null;
  }

  /** @param {WaitingRequest} waiting */
  _card({ session, title, requestId, request }) {
    const { store, go } = this._options;
    const { flavor, machineId, path, host } = session.metadata ?? {};
    const machine = store.machines.get(machineId ?? "");
    const places = [store.catalog.label(flavor), machineName(machine) || host];
    const address = sessionAddress(session.id);
    /** @type {RequestBlock} */
    const block = {
      key: `request:${requestId}`,
      version: "",
      kind: "request",
      at: request.createdAt ?? 0,
      requestId,
      request,
    };
    return [
      h(
        "p",
        { class: "waiting-session" },
        h("a", { href: address, on: { click: followLink(go, address) } }, title),
        h(
          "span",
          { class: "muted waiting-places" },
          h("span", null, places.filter(Boolean).join(" · ")),
          path && pathLabel(shownPath(session, store.machines), path),
          request.createdAt && h("span", null, relativeTime(request.createdAt)),
        ),
      ),
      drawBlock(block, this._context(session.id, path)),
      h(
        "p",
        { class: "muted waiting-keys" },
        t(
          "Keys: A allows, S allows for the session, D denies, J and K go to the next and the previous request, O opens the session.",
        ),
      ),
    ];
  }

  /**
   * What the block of a request needs; those of messages are not shown here.
   * @param {string} id of a session
   * @param {string | undefined} directory
   */
  _context(id, directory) {
    const { store } = this._options;
    const actions = this._actionsOf(id);
    /** @type {Partial<BlockContext>} */
    const context = {
      active: true,
      directory,
      refusal: store.access.refusal("approve"),
      expanded: this._expanded,
      decisions: actions.decisions,
      decide: async (...decision) => {
        await actions.decide(...decision);
        this.draw();
      },
    };
    return /** @type {BlockContext} */ (context);
  }

  /** @param {string} id */
  _actionsOf(id) {
    const known = this._actions.get(id);
    if (known) return known;
    const { store, api, outbox, go, showStatus } = this._options;
    const made = new SessionActions({ store, api, outbox, id, go, showStatus, notify: toast });
    this._actions.set(id, made);
    return made;
  }

  /** @param {number} by */
  _step(by) {
    const { length } = this._requests;
    if (length < 2) return;
    const place = (this._place + by + length) % length;
    this._key = this._requests[place].key;
    this._shown = "";
    this.draw();
    this._shownSince = 0; // the person has asked for it
    this._content.scrollTop = 0;
  }

  get _isSettled() {
    return performance.now() - this._shownSince >= SETTLE_TIME;
  }

  /** @param {Event} event */
  _guard(event) {
    if (this._isSettled) return;
    event.preventDefault();
    event.stopPropagation();
  }

  /** @param {KeyboardEvent} event */
  _onKey(event) {
    const { target } = event;
    const isWriting =
      target instanceof Element && target.closest("input, textarea, select, dialog");
    if (isWriting || event.repeat || event.ctrlKey || event.metaKey || event.altKey) return;
    const key = event.key.toLowerCase();
    const waiting = this._requests[this._place];
    if (["j", "arrowright"].includes(key)) this._step(1);
    else if (["k", "arrowleft"].includes(key)) this._step(-1);
    else if (key === "o" && waiting) this._options.go(sessionAddress(waiting.session.id));
    else if (key in ANSWER_KEYS) this._press(ANSWER_KEYS[key]);
    else return;
    event.preventDefault();
  }

  /** @param {string} selector of a button of the request on screen */
  _press(selector) {
    const control = this._content.querySelector(`.permission-buttons ${selector}`);
    if (control instanceof HTMLButtonElement && this._isSettled) control.click();
  }
}
