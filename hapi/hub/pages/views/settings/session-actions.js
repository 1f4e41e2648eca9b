// What can be done with a session as a whole: save, share and fork its conversation; resume, archive, delete.

import { button, h, problemLine } from "../../lib/dom.js";
import { runBusy } from "../../lib/dialog.js";
import { t } from "../../lib/language.js";
import { sessionAddress } from "../../data/addresses.js";
import { titleOf } from "../../data/sessions/sessions.js";
import { archiveDialog, copyReference, deleteDialog } from "../sessions/actions.js";

/**
 * @import { Session } from "../../data/types.js"
 * @import { SettingsOptions } from "./session.js"
 */

/** Saving and sharing the conversation. @param {Session} session @param {SettingsOptions} options @param {() => void} close */
export function conversationSection(session, { api, store, go }, close) {
  const problem = problemLine();
  /** @param {string} label @param {"json" | "markdown"} format */
  const exportButton = (label, format) => {
    const control = button(label, {});
    control.addEventListener("click", () =>
      runBusy(control, problem, async () => {
        const { saveBlob } = await import("../share/save.js");
        const ending = format === "json" ? "json" : "md";
        saveBlob(await api.exportSession(session.id, format), `${titleOf(session)}.${ending}`);
      }),
    );
    return control;
  };
  const share = button(t("Share…"), { hidden: !store.access.allows("admin") });
  share.addEventListener("click", () =>
    runBusy(share, problem, async () => {
      const { shareDialog } = await import("../share/dialog.js");
      close();
      shareDialog({ api, id: session.id });
    }),
  );
  const canFork = session.metadata?.capabilities?.conversationHistory?.forkCurrent === true;
  const fork = button(t("Fork"), {
    hidden: !canFork || !session.active || !store.access.allows("spawn"),
    title: t("Go on in another session that remembers this conversation"),
  });
  fork.addEventListener("click", () =>
    runBusy(fork, problem, async () => {
      const { sessionId } = await api.forkSession(session.id);
      close();
      go(sessionAddress(sessionId));
    }),
  );
  return h(
    "div",
    { class: "field" },
    h("p", { class: "field-title" }, t("Conversation")),
    problem,
    h(
      "div",
      { class: "buttons start" },
      button(t("Copy reference"), { on: { click: () => copyReference(session) } }),
      fork,
      share,
      exportButton(t("Export Markdown"), "markdown"),
      exportButton(t("Export JSON"), "json"),
    ),
  );
}

/** @param {Session} session @param {SettingsOptions} options @param {() => void} close */
export function endSection(session, { api, store, go, resume }, close) {
  const current = () => store.sessions.get(session.id) ?? session; // it may have been renamed meanwhile
  const isRunning = session.active || session.metadata?.lifecycleState === "running";
  const problem = problemLine();
  const archive = button(t("Archive"), {
    hidden: !isRunning || !store.access.allows("spawn"),
    on: {
      click: () => {
        close();
        archiveDialog(current(), api);
      },
    },
  });
  const remove = button(t("Delete…"), {
    class: "danger",
    hidden: session.active || !store.access.allows("admin"),
    on: {
      click: () => {
        close();
        deleteDialog(current(), api, () => go("/"));
      },
    },
  });
  const again = button(t("Resume"), {
    class: "primary",
    hidden: session.active || !store.access.allows("spawn"),
  });
  again.addEventListener("click", () =>
    runBusy(again, problem, async () => {
      await resume();
      close();
    }),
  );
  const refusals = store.access.refusals(["chat", "approve", "spawn"]);
  return [
    refusals.map((text) => h("p", { class: "hint" }, text)),
    problem,
    h("div", { class: "buttons" }, remove, h("span", { class: "spring" }), archive, again),
  ];
}
