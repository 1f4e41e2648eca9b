// The start of the page: who is looking, what they know, which view is on screen.

import { Api } from "./data/api.js";
import { banner } from "./views/shell/banner.js";
import { Drafts } from "./data/drafts.js";
import { EventStream } from "./data/events.js";
import { fill, h } from "./lib/dom.js";
import { homeView, machineView } from "./views/machine/machine.js";
import { Identity, tokenFromAddress } from "./data/identity.js";
import { loginProblem, loginView } from "./views/shell/login.js";
import { menuDialog, useTheme } from "./views/settings/menu.js";
import { Outbox } from "./data/outbox.js";
import { Seen } from "./data/seen.js";
import { sessionsView } from "./views/sessions/sessions.js";
import { pendingCount, Store } from "./data/store.js";
import { loadingView } from "./views/shell/loading.js";
import { toast } from "./lib/dialog.js";

const RETRY = 2000; // ms
// Loaded when first needed; a module that was loaded once is at hand at once.
const chatModule = () => import("./views/chat/chat.js");
const spawnModule = () => import("./views/sessions/spawn.js");
const root = document.getElementById("app");
const identity = new Identity(localStorage, sessionStorage);
let leaveShell = null;

useTheme(localStorage);
begin();
addEventListener("hashchange", begin); // a link with a token, pasted into an open page

async function begin() {
  const token = tokenFromAddress(location, history);
  if (token === null) {
    if (!leaveShell) identity.accessToken ? showShell() : showLogin();
    return;
  }
  try {
    await identity.login(token, true);
    showShell();
  } catch (error) {
    showLogin(loginProblem(error));
  }
}

function showLogin(notice) {
  leaveShell?.();
  document.title = "HAPI";
  const view = loginView({ notice, login: async (token, keep) => { await identity.login(token, keep); showShell(); } });
  fill(root, view.node);
  view.focus();
}

function showShell() {
  leaveShell?.();
  const api = new Api(identity);
  const outbox = new Outbox(api, localStorage);
  const store = new Store(api, outbox, new Seen(localStorage));
  const drafts = new Drafts(sessionStorage);
  let view = null;
  let note = null;

  const stream = new EventStream(api, {
    onEvent: (event) => store.event(event),
    onStatus: (status) => { store.connection = status; store.changed(); },
    onOpen: (resumed) => {
      outbox.wake();
      if (!resumed) readAll(stream.status.since);
    },
  });
  const line = banner({ store, retry: () => stream.retryNow() });
  const side = sessionsView({ store, go, newSession, menu: () => menuDialog({ storage: localStorage, leave }) });
  const shell = h("div", { class: "shell" });

  /** Read everything; again when that fails while the same connection lives. */
  function readAll(since) {
    store.refresh().catch(() => setTimeout(() => stream.status.phase === "live" && stream.status.since === since && readAll(since), RETRY));
  }

  function go(path, { replace = false } = {}) {
    if (path !== location.pathname) history[replace ? "replaceState" : "pushState"](null, "", path);
    route();
  }

  async function newSession(machineId) {
    const module = await spawnModule().catch(offerReload);
    module?.spawnDialog({ api, store, machineId, storage: localStorage, done: (id) => go(`/sessions/${id}`) });
  }

  /** A module could not be loaded: the hub is out of reach, or it serves another build by now. */
  function offerReload() {
    toast("This part of the page could not be loaded.", { tone: "bad", action: ["Reload", () => location.reload()] });
  }

  function calm(words) {
    note = words;
    draw();
  }

  function route() {
    const [, kind, id] = /^\/(sessions|machines)\/([^/]+)\/?$/.exec(location.pathname) ?? [];
    view?.leave?.();
    store.openId = kind === "sessions" ? decodeURIComponent(id) : null;
    shell.dataset.pane = kind ? "main" : "list";
    show(kind === "sessions" ? openChat(store.openId)
      : kind === "machines" ? machineView({ store, api, go, newSession, id: decodeURIComponent(id) })
      : homeView({ store, go, newSession }));
  }

  function show(next) {
    view = next;
    fill(shell, side.node, view.node);
    draw();
    view.start?.();
    view.focus?.();
  }

  function openChat(id) {
    const placeholder = loadingView();
    chatModule().then(({ chatView }) => {
      if (view === placeholder) show(chatView({ store, api, outbox, go, id, drafts, calm }));
    }, offerReload);
    return placeholder;
  }

  function draw() {
    const open = store.sessions.get(store.openId);
    if (open && document.visibilityState === "visible") store.seen.mark(open.id, open.updatedAt);
    line.draw(note);
    side.draw();
    view?.draw?.();
    const asking = [...store.sessions.values()].filter((session) => pendingCount(session) > 0).length;
    document.title = [asking ? `(${asking})` : "", view?.title?.(), view?.title?.() ? "·" : "", "HAPI"].filter(Boolean).join(" ");
  }

  function leave(notice) {
    identity.forget();
    outbox.clear();
    history.replaceState(null, "", "/");
    showLogin(notice);
  }

  api.onRefused = () => leave("The hub does not accept your token any more. Please log in again.");
  store.onToast = ({ title, body, sessionId }) => {
    if (sessionId !== store.openId) toast([title, body].filter(Boolean).join(": "), { action: sessionId && ["Open", () => go(`/sessions/${sessionId}`)] });
  };
  store.onRemoved = (id) => { if (id === store.openId) setTimeout(() => { if (id === store.openId) go("/"); }, 1000); };

  const unwatch = store.watch(draw);
  const ticking = setInterval(draw, 30_000);
  const seeing = () => {
    if (document.visibilityState === "visible" && store.connection.phase === "lost") stream.retryNow();
    if (stream.subscriptionId) api.visibility(stream.subscriptionId, document.visibilityState === "visible" ? "visible" : "hidden").catch(() => {});
    draw();
  };
  const online = () => stream.retryNow();
  document.addEventListener("visibilitychange", seeing);
  addEventListener("online", online);
  addEventListener("popstate", route);

  leaveShell = () => {
    leaveShell = null;
    stream.stop();
    unwatch();
    clearInterval(ticking);
    document.removeEventListener("visibilitychange", seeing);
    removeEventListener("online", online);
    removeEventListener("popstate", route);
    view?.leave?.();
  };
  fill(root, line.node, shell);
  route();
  stream.start();
}
