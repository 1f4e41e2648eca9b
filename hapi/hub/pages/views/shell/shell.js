// The frame of the page: the side pane, the main pane with one view at a time, and what keeps them current.

import { routeOf, sessionAddress, sessionOf } from "../../data/addresses.js";
import { Api } from "../../data/hub/api.js";
import { Drafts } from "../../data/composer/drafts.js";
import { EventStream } from "../../data/hub/events.js";
import { Outbox } from "../../data/store/outbox.js";
import { forgetPrompts } from "../../data/composer/recent-prompts.js";
import { SeenSessions } from "../../data/sessions/seen.js";
import { pendingCount } from "../../data/sessions/sessions.js";
import { Store } from "../../data/store/store.js";
import { withBase, withoutBase } from "../../lib/base-path.js";
import { fill, h } from "../../lib/dom.js";
import { closeTopmost, dismissToasts, keepToasts, toast } from "../../lib/dialog.js";
import { errorMessage, isTemporary } from "../../lib/errors.js";
import { visible } from "../../lib/format.js";
import { t } from "../../lib/language.js";
import { deviceStorage, keyOf } from "../../lib/storage.js";
import { homeView } from "../machine/home.js";
import { SessionsView } from "../sessions/sessions.js";
import { waitingLink } from "../waiting/link.js";
import { banner } from "./banner.js";
import { loaded, loadingView, watchImports } from "./loading.js";
import { VIEWS } from "./routes.js";
import { pageTitle } from "./title.js";

/**
 * @import { Identity } from "../../data/hub/identity.js"
 * @import { Route, Toast, View, ViewModule } from "../../data/types.js"
 */

const REFRESH_RETRY_DELAY = 2000; // ms
const PERMISSION_TOAST = "Permission Request"; // the title of the hub's notice, a word of the wire
const REDRAW_INTERVAL = 30_000; // ms; relative times grow older
const WORKER_DELAY = 1500; // ms; the page is shown first
const REMOVED_DELAY = 1000; // ms; a session that was removed may just have got another id

// These parts are loaded when they are first needed.
const loadSessionSettings = () => import("../settings/session.js");
const loadSpawn = () => import("../sessions/spawn.js");

export class Shell {
  /**
   * @param {Identity} identity
   * @param {(notice?: string) => void} onLoggedOut
   */
  constructor(identity, onLoggedOut) {
    this._identity = identity;
    this._onLoggedOut = onLoggedOut;
    this._api = new Api(identity);
    this._outbox = new Outbox(this._api, deviceStorage, navigator.locks ?? null);
    this._store = new Store(this._api, this._outbox, new SeenSessions(deviceStorage));
    this._store.access = identity.access;
    this._drafts = new Drafts(deviceStorage);
    this._stream = new EventStream(this._api, {
      onEvent: (event) => this._store.receive(event),
      onStatus: (status) => {
        this._store.connection = status;
        this._store.changed();
      },
      liveSession: () => this._store.openId,
      onOpen: (resumed) => {
        this._outbox.retryAll();
        if (!resumed) this._readAll(this._stream.status.since);
      },
    });
    /** @type {View | null} */
    this._view = null;
    /** @type {Route | null} what is on screen */
    this._shown = null;
    this._address = ""; // of what is on screen
    /** @type {Map<string, ViewModule>} those that are loaded, by place */
    this._modules = new Map();
    /** @type {string | null} */
    this._status = null;
    this._readNumber = 0; // of the latest read of everything
    this._ended = new AbortController();
    this.go = this.go.bind(this);
    this._banner = banner({ store: this._store, retry: () => this._retryNow() });
    this._side = new SessionsView({
      store: this._store,
      api: this._api,
      go: this.go,
      storage: deviceStorage,
      newSession: (machineId, directory) => this._newSession(machineId, directory),
      openMenu: () => this.go("/settings"),
    });
    this._waiting = waitingLink(this.go);
    this._side.node.append(this._waiting.node);
    this._panes = h("div", { class: "shell" });
    this.nodes = [this._banner.node, this._panes];
  }

  start() {
    const { signal } = this._ended;
    const redraw = () => this._draw();
    const unwatch = this._store.watch(redraw);
    const ticking = setInterval(redraw, REDRAW_INTERVAL);
    signal.addEventListener("abort", () => {
      unwatch();
      clearInterval(ticking);
    });
    document.addEventListener("visibilitychange", () => this._onVisibility(), { signal });
    document.addEventListener("resume", () => this._stream.check(), { signal }); // of a page that was frozen
    addEventListener("pageshow", () => this._stream.check(), { signal });
    addEventListener("online", () => this._stream.check(), { signal });
    addEventListener("popstate", () => this._onBack(), { signal });
    watchImports(signal);
    addEventListener("storage", (event) => this._onStorage(event), { signal });
    this._api.onRefused = () =>
      this._logOut(t("Your access token is no longer valid. Log in again."));
    this._api.onUnreachable = () => this._stream.doubt();
    this._store.onLiveMissed = () => this._readLive();
    this._store.onToast = (message) => this._showToast(message);
    this._store.onRemoved = (id) => this._onRemoved(id);
    this._route();
    this._stream.start();
    setTimeout(() => this._startWorker(signal), WORKER_DELAY);
    setTimeout(() => this._showHints(signal), WORKER_DELAY);
  }

  /** What the page does not need at first: the service worker, and what it opens. @param {AbortSignal} signal */
  async _startWorker(signal) {
    if (signal.aborted) return;
    const module = await import("../notifications/device.js").catch(() => null); // at the next visit, then
    if (module && !signal.aborted)
      module.startDevice({ api: this._api, store: this._store, go: this.go, signal });
  }

  /** @param {AbortSignal} signal */
  async _showHints(signal) {
    if (signal.aborted || deviceStorage.getItem("hapi.hints.dismissed") !== null) return;
    const module = await import("../sessions/hints.js").catch(() => null); // at the next visit, then
    const { _api: api, _store: store, _identity: identity } = this;
    if (module && !signal.aborted)
      this._side.append(module.hints({ api, store, identity, storage: deviceStorage, signal }));
  }

  stop() {
    this._ended.abort();
    this._stream.stop();
    this._view?.leave?.();
    this._view = null;
  }

  /** @param {string} path @param {{ replace?: boolean }} [options] */
  go(path, { replace = false } = {}) {
    const address = withBase(path);
    if (address !== location.pathname + location.search)
      history[replace ? "replaceState" : "pushState"](null, "", address);
    this._route();
  }

  /** The browser's Back closes what lies above the page, or ends a selection; only then it leaves the view. */
  _onBack() {
    if (closeTopmost() || this._side.endSelection()) history.pushState(null, "", this._address);
    else this._route();
  }

  /** Another tab has changed what this device keeps. @param {StorageEvent} event */
  _onStorage(event) {
    const change = { key: keyOf(event.key ?? ""), newValue: event.newValue };
    this._drafts.onStorage(change);
    this._outbox.onStorage(change);
  }

  _retryNow() {
    this._stream.retryNow();
    this._outbox.retryAll();
  }

  /** Read everything; again when that fails, while the same connection lives. @param {number} since */
  _readAll(since) {
    this._readNumber += 1;
    const number = this._readNumber; // a stream that is made anew at once begins another read, which goes on alone
    this._store.refresh().catch((error) => {
      this._store.readProblem = errorMessage(error);
      this._store.changed();
      setTimeout(() => {
        const { status } = this._stream;
        const isCurrent = number === this._readNumber && status.since === since;
        if (status.phase === "live" && isCurrent) this._readAll(since);
      }, REFRESH_RETRY_DELAY);
    });
  }

  _route() {
    const route = routeOf(withoutBase(location.pathname), location.search);
    const isSame = route.place === this._shown?.place && route.id === this._shown.id;
    this._shown = route;
    this._address = location.pathname + location.search;
    dispatchEvent(new Event("hapi-route"));
    if (isSame && this._view?.navigate) {
      this._view.navigate(route.query);
      this._draw();
      return;
    }
    this._view?.leave?.();
    this._store.open(sessionOf(route));
    dismissToasts((topic) => topic.startsWith("session:") && this._isOnScreen(topic.slice(8)));
    this._readLive();
    this._open(route);
  }

  /** Ask for the live text of the session on screen. A stream that begins asks by itself. */
  _readLive() {
    const { subscriptionId, hasLive, status } = this._stream;
    const id = this._store.openId;
    if (!hasLive || !subscriptionId || status.phase !== "live") return;
    this._api.readLive(subscriptionId, id).catch((error) => {
      if (!isTemporary(error)) return; // the stream or the session is gone
      setTimeout(() => {
        if (id !== null && id === this._store.openId) this._readLive();
      }, REFRESH_RETRY_DELAY);
    });
  }

  /** @param {View} view */
  _show(view) {
    this._view = view;
    fill(this._panes, this._side.node, view.node);
    this._draw();
    view.start?.();
    view.focus?.();
  }

  /** @param {Route} route */
  async _open(route) {
    const load = VIEWS[route.place];
    this._panes.dataset.pane = load ? "main" : "list";
    if (!load) {
      const { go, _store: store } = this;
      this._show(homeView({ store, go, newSession: () => this._newSession() }));
      return;
    }
    let module = this._modules.get(route.place) ?? null;
    if (!module) {
      const placeholder = loadingView();
      this._show(placeholder);
      const mayReload = () => this._view === placeholder && this._outbox.isEmpty; // drafts are kept
      module = await loaded(load, mayReload);
      if (!module || this._view !== placeholder) return;
      this._modules.set(route.place, module);
    }
    this._show(
      module.view({
        store: this._store,
        api: this._api,
        outbox: this._outbox,
        drafts: this._drafts,
        identity: this._identity,
        go: this.go,
        id: route.id,
        query: route.query,
        showStatus: (text) => this._showStatus(text),
        logOut: () => this._logOut(),
        newSession: (machineId) => this._newSession(machineId),
        openSettings: (id, resume) => this._openSettings(id, resume),
      }),
    );
  }

  /** @param {string} id @param {() => Promise<void>} resume */
  async _openSettings(id, resume) {
    const module = await loaded(loadSessionSettings);
    module?.settingsDialog({ api: this._api, store: this._store, id, go: this.go, resume });
  }

  /** @param {string} [machineId] @param {string} [directory] */
  async _newSession(machineId, directory) {
    const module = await loaded(loadSpawn);
    module?.spawnDialog({
      api: this._api,
      store: this._store,
      machineId,
      directory,
      storage: deviceStorage,
      done: (id) => this.go(sessionAddress(id)),
    });
  }

  /** @param {string | null} text */
  _showStatus(text) {
    this._status = text;
    this._draw();
  }

  _draw() {
    const store = this._store;
    const open = store.openId === null ? undefined : store.sessions.get(store.openId);
    if (open && document.visibilityState === "visible") store.seen.mark(open.id, open.updatedAt);
    this._banner.draw(this._status);
    this._side.draw();
    this._view?.draw?.();
    keepToasts();
    const asking = [...store.sessions.values()].filter(
      (session) => pendingCount(session) > 0,
    ).length;
    this._waiting.draw(asking);
    document.title = visible(pageTitle(this._view?.title?.() ?? "", asking));
  }

  _onVisibility() {
    const { subscriptionId } = this._stream;
    if (document.visibilityState === "visible") this._stream.check();
    else if (subscriptionId) this._api.reportVisibility(subscriptionId, "hidden").catch(() => {}); // the next connection reports it too
    this._draw();
  }

  /** @param {Toast} message */
  async _showToast({ title, body, sessionId }) {
    if (sessionId && this._isOnScreen(sessionId)) return;
    const isAsking = sessionId && title === PERMISSION_TOAST;
    if (isAsking && (await this._showRequest(sessionId).catch(() => false))) return;
    if (sessionId && this._isOnScreen(sessionId)) return; // by now
    const text = [title, body].filter(Boolean).join(": ");
    toast(text, {
      action: sessionId ? [t("Open"), () => this.go(sessionAddress(sessionId))] : null,
      topic: sessionId ? `session:${sessionId}` : "",
    });
  }

  /** Whether what a session asks is shown by the view itself. @param {string} id */
  _isOnScreen(id) {
    return id === this._store.openId || this._shown?.place === "waiting";
  }

  /** Show what a session asks, with the answers. @param {string} id */
  async _showRequest(id) {
    const { requestToast } = await import("./request-toast.js");
    const { go, _store: store, _api: api, _outbox: outbox } = this;
    return requestToast(id, { store, api, outbox, go, isOnScreen: () => this._isOnScreen(id) });
  }

  /** @param {string} id */
  _onRemoved(id) {
    const isOpen = () => id === this._store.openId;
    if (isOpen())
      setTimeout(() => {
        if (isOpen() && !this._ended.signal.aborted) this.go("/");
      }, REMOVED_DELAY);
  }

  /** @param {string} [notice] why the person has to log in again; what was written then stays */
  async _logOut(notice) {
    if (notice === undefined)
      await import("../notifications/device.js")
        .then((module) => module.forgetDevice(this._api))
        .catch(() => {}); // the hub drops the device when its push service does
    this._identity.forget();
    if (notice === undefined) {
      this._outbox.clear();
      this._drafts.clear();
      forgetPrompts(deviceStorage);
      history.replaceState(null, "", withBase("/"));
    }
    this._onLoggedOut(notice);
  }
}
