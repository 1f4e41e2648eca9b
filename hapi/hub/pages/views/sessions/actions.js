// What one can do with sessions in the list: the menus of a session and of a project, and the questions before what cannot be undone.

import { sessionAddress } from "../../data/addresses.js";
import { sessionReference } from "../../data/composer/completions.js";
import { canResume, titleOf } from "../../data/sessions/sessions.js";
import { withBase } from "../../lib/base-path.js";
import { copyText } from "../../lib/browser/clipboard.js";
import { confirmDialog, nameDialog, orToast, toast } from "../../lib/dialog.js";
import { errorMessage } from "../../lib/errors.js";
import { plural, t } from "../../lib/language.js";
import { isLoopback } from "../../lib/loopback.js";
import { openMenu as openMenuOf } from "../../lib/menu.js";
import { stylesheet } from "../../lib/stylesheet.js";

/**
 * @import { Api } from "../../data/hub/api.js"
 * @import { Item, Project } from "../../data/sessions/session-list.js"
 * @import { Store } from "../../data/store/store.js"
 * @import { Go, Session } from "../../data/types.js"
 * @import { MenuEntry } from "../../lib/menu.js"
 */

/**
 * @typedef {object} ActionContext
 * @property {Store} store
 * @property {Api} api
 * @property {Go} go
 * @property {(machineId?: string, directory?: string) => void} newSession
 * @property {(ids: Iterable<string> | null) => void} select
 * @property {(session: Session) => boolean} isUnread
 */

const MAX_NAME = 255; // characters
const PARALLEL = 4; // requests at a time

/** @param {ActionContext} context @param {Item} item @param {HTMLElement} target the row */
export async function openMenu(context, item, target) {
  await stylesheet(new URL("../../style/list-actions.css", import.meta.url).href);
  if (item.kind === "session")
    openMenuOf(target, titleOf(item.session), sessionEntries(context, item.session));
  if (item.kind === "project" || item.kind === "earlier")
    openMenuOf(target, item.project.name, projectEntries(context, item.project));
}

/** What a key does with a session. @param {ActionContext} context @param {Item} item @param {"rename" | "end"} action */
export function actOn(context, item, action) {
  if (item.kind !== "session") return;
  const { session } = item;
  const { access } = context.store;
  if (action === "rename") {
    if (access.allows("chat")) renameDialog(session, context.api);
  } else if (session.active) {
    if (access.allows("spawn")) archiveDialog(session, context.api);
  } else if (access.allows("admin")) {
    deleteDialog(session, context.api, leaveAfter(context, session));
  }
}

/** @param {ActionContext} context @param {Session} session @returns {(MenuEntry | false)[]} */
function sessionEntries(context, session) {
  const { store, api, select } = context;
  const { access } = store;
  const isUnread = context.isUnread(session);
  const isRunning = session.active || session.metadata?.lifecycleState === "running";
  /** @param {"none" | "project" | "global"} mode */
  const pin = (mode) => () => orToast(() => api.pinSession(session.id, mode));
  const mayChat = access.allows("chat");
  return [
    mayChat && { label: t("Rename…"), sign: "edit", run: () => renameDialog(session, api) },
    mayChat &&
      (session.globalPinned
        ? { label: t("Unpin"), sign: "pin", run: pin("none") }
        : { label: t("Pin to the top"), sign: "pin", run: pin("global") }),
    mayChat &&
      !session.globalPinned &&
      (session.pinned
        ? { label: t("Unpin in its project"), sign: "pin", run: pin("none") }
        : { label: t("Pin in its project"), sign: "pin", run: pin("project") }),
    {
      label: isUnread ? t("Mark as read") : t("Mark as unread"),
      sign: "check",
      run: () => markAs(context, [session], !isUnread),
    },
    { label: t("Copy link"), sign: "copy", run: () => orToast(() => copyLink(session)) },
    { label: t("Copy reference"), sign: "copy", run: () => copyReference(session) },
    { label: t("Select"), sign: "list", run: () => select([session.id]) },
    isRunning &&
      access.allows("spawn") && {
        label: t("Archive…"),
        sign: "folder",
        run: () => archiveDialog(session, api),
      },
    canResume(session) &&
      access.allows("spawn") && {
        label: t("Reopen"),
        sign: "up",
        run: () => reopen(context, session),
      },
    !session.active &&
      access.allows("admin") && {
        label: t("Delete…"),
        sign: "cross",
        danger: true,
        run: () => deleteDialog(session, api, leaveAfter(context, session)),
      },
  ];
}

/** @param {ActionContext} context @param {Project} project @returns {(MenuEntry | false)[]} */
function projectEntries(context, project) {
  const { store, newSession, select } = context;
  const { machineId, directory } = project;
  const sessions = [...project.others, ...project.sessions]; // as many as its head counts
  const running = sessions.filter((session) => session.active);
  const ended = sessions.filter(
    (session) => !session.active && !session.pinned && !session.globalPinned, // what is pinned is to be kept
  );
  const unread = sessions.filter(context.isUnread);
  const isOnline = store.machines.get(machineId)?.active === true;
  return [
    isOnline &&
      directory !== "" &&
      store.access.allows("spawn") && {
        label: t("New session here"),
        sign: "plus",
        run: () => newSession(machineId, directory),
      },
    unread.length > 0 && {
      label: t("Mark all as read"),
      sign: "check",
      run: () => markAs(context, unread, false),
    },
    {
      label: t("Select all"),
      sign: "list",
      run: () => select(sessions.map(({ id }) => id)),
    },
    running.length > 0 &&
      store.access.allows("spawn") && {
        label: plural(
          running.length,
          "Archive {count} running session…",
          "Archive {count} running sessions…",
        ),
        sign: "folder",
        run: () => archiveAllDialog(context, running),
      },
    ended.length > 0 &&
      store.access.allows("admin") && {
        label: plural(
          ended.length,
          "Delete {count} ended session…",
          "Delete {count} ended sessions…",
        ),
        sign: "cross",
        danger: true,
        run: () => deleteAllDialog(context, ended),
      },
  ];
}

/** @param {Session} session @param {Api} api */
export function renameDialog(session, api) {
  nameDialog({
    title: t("Rename session"),
    label: t("Name"),
    value: session.metadata?.name ?? titleOf(session),
    limit: MAX_NAME,
    save: async (name) => {
      await api.renameSession(session.id, name);
      toast(t("Session renamed"));
    },
  });
}

/** @param {Session} session @param {Api} api */
export function archiveDialog(session, api) {
  confirmDialog({
    title: t("Archive this session?"),
    text: t("“{title}” will be stopped. Its conversation is kept, and you can resume it later.", {
      title: titleOf(session),
    }),
    action: t("Archive"),
    danger: false,
    act: async () => {
      const { endedBy } = await api.archiveSession(session.id);
      if (endedBy === "runner")
        toast(t("The session did not respond. The runner of its machine has ended it."));
    },
  });
}

/** @param {Session} session @param {Api} api @param {() => void} done */
export function deleteDialog(session, api, done) {
  confirmDialog({
    title: t("Delete this session?"),
    text: t(
      "“{title}” and its conversation will be permanently deleted. Files in its directory are kept.",
      { title: titleOf(session) },
    ),
    action: t("Delete"),
    act: async () => {
      await api.deleteSession(session.id);
      done();
    },
  });
}

/** @param {ActionContext} context @param {Session[]} sessions @param {() => void} [done] called when they have been archived */
export function archiveAllDialog({ api }, sessions, done = () => {}) {
  const count = sessions.length;
  confirmDialog({
    title: plural(count, "Archive {count} session?", "Archive {count} sessions?"),
    text: plural(
      count,
      "{count} session will be stopped. The conversations are kept, and you can resume them later.",
      "{count} sessions will be stopped. The conversations are kept, and you can resume them later.",
    ),
    action: t("Archive"),
    danger: false,
    act: async () => {
      await forAll(
        sessions,
        ({ id }) => api.archiveSession(id),
        (ended) => plural(ended, "{count} session archived.", "{count} sessions archived."),
      );
      done();
    },
  });
}

/** @param {ActionContext} context @param {Session[]} sessions those that have ended @param {() => void} [done] called when they have been deleted */
export function deleteAllDialog({ api, store, go }, sessions, done = () => {}) {
  const count = sessions.length;
  confirmDialog({
    title: plural(count, "Delete {count} session?", "Delete {count} sessions?"),
    text: plural(
      count,
      "{count} session will be permanently deleted with its conversation. Files in its directory are kept.",
      "{count} sessions will be permanently deleted with their conversations. Files in their directories are kept.",
    ),
    action: t("Delete"),
    act: async () => {
      const open = store.openId;
      await forAll(
        sessions,
        ({ id }) => api.deleteSession(id),
        (deleted) => plural(deleted, "{count} session deleted.", "{count} sessions deleted."),
      );
      done();
      if (sessions.some(({ id }) => id === open)) go("/");
    },
  });
}

/** @param {ActionContext} context @param {Session[]} sessions @param {boolean} isUnread */
export function markAs({ store, go }, sessions, isUnread) {
  for (const session of sessions) {
    if (isUnread) store.seen.markUnread(session.id);
    else store.seen.mark(session.id, session.updatedAt);
  }
  // What is on screen counts as read.
  if (isUnread && sessions.some(({ id }) => id === store.openId)) go("/");
  store.changed();
}

/** @param {ActionContext} context @param {Session[]} sessions @param {"none" | "global"} mode */
export function pinAll({ api }, sessions, mode) {
  return forAll(
    sessions,
    ({ id }) => api.pinSession(id, mode),
    (done) =>
      mode === "none"
        ? plural(done, "{count} session unpinned.", "{count} sessions unpinned.")
        : plural(done, "{count} session pinned.", "{count} sessions pinned."),
  );
}

/**
 * Do the same with many sessions, some at a time, and say what became of it. One that fails does not keep the others.
 * @param {Session[]} sessions
 * @param {(session: Session) => Promise<unknown>} act
 * @param {(done: number) => string} sentence
 */
export async function forAll(sessions, act, sentence) {
  const waiting = [...sessions];
  /** @type {string[]} */
  const problems = [];
  const work = async () => {
    for (let next = waiting.shift(); next; next = waiting.shift()) {
      try {
        await act(next);
      } catch (error) {
        problems.push(`${titleOf(next)}: ${errorMessage(error)}`);
      }
    }
  };
  await Promise.all(Array.from({ length: PARALLEL }, work));
  const done = sentence(sessions.length - problems.length);
  if (problems.length === 0) toast(done);
  else
    toast(
      plural(
        problems.length,
        "{done} {count} session failed. {problem}",
        "{done} {count} sessions failed. {problem}",
        { done, problem: problems[0] },
      ),
      { tone: "bad" },
    );
}

/** @param {Session} session */
async function copyLink({ id }) {
  const address = new URL(withBase(sessionAddress(id)), location.origin).href;
  if (!(await copyText(address))) toast(t("The browser does not allow copying."), { tone: "bad" });
  else if (isLoopback(location.hostname)) toast(t("Link copied. It opens on this machine only."));
  else toast(t("Link copied"));
}

/** Copy what names a session to the agent of another one: the link that `@` writes. @param {Session} session */
export async function copyReference(session) {
  if (await copyText(sessionReference(session))) toast(t("Reference copied"));
  else toast(t("The browser does not allow copying."), { tone: "bad" });
}

/** @param {ActionContext} context @param {Session} session */
async function reopen({ api, store, go }, { id }) {
  await orToast(() =>
    store.keepDuring(id, async () => {
      const { sessionId } = await api.reopenSession(id);
      await store.readSession(sessionId);
      go(sessionAddress(sessionId));
    }),
  );
}

/** Leaves a session that is on screen. @param {ActionContext} context @param {Session} session */
function leaveAfter({ store, go }, session) {
  return () => {
    if (session.id === store.openId) go("/");
  };
}
