// Settings of one session: name, permission mode, model; resume, archive, delete.

import { h } from "../../lib/dom.js";
import { busy, confirmDialog, openDialog, toast } from "../../lib/dialog.js";
import { inWords } from "../../lib/errors.js";
import { agentLabel, hasModel, isUnbounded, knownModels, modeLabel, permissionModes } from "../../lib/flavors.js";
import { machineName, titleOf } from "../../data/store.js";
import { clock, day, tilde } from "../../lib/words.js";

export function settingsDialog({ api, store, id, go, resume }) {
  const session = store.sessions.get(id);
  if (!session) return undefined;
  return openDialog("Session", (close) => [
    nameSection(session, api),
    modeSection(session, api),
    hasModel(session.metadata?.flavor) && modelSection(session, api),
    factSection(session, store),
    endSection(session, { api, store, go, close, resume }),
  ]);
}

function saver(button, act, done) {
  const problem = h("p", { class: "problem", role: "alert", hidden: true });
  const run = () => busy(button, async () => { await act(); if (done) toast(done); }, problem, inWords);
  return [problem, run];
}

function nameSection(session, api) {
  const name = h("input", { id: "session-name", maxlength: "255", value: session.metadata?.name ?? titleOf(session), required: true, "data-first": true });
  const save = h("button", { type: "submit", class: "button" }, "Save");
  const [problem, run] = saver(save, () => api.rename(session.id, name.value.trim()), "Renamed");
  const form = h("form", { class: "field" }, h("label", { for: "session-name" }, "Name"), h("div", { class: "with-button" }, name, save), problem);
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    if (name.value.trim()) return run();
    problem.textContent = "Blanks alone are no name.";  // an empty field is told by the browser
    problem.hidden = false;
    return name.focus();
  });
  return form;
}

function modeSection(session, api) {
  const modes = permissionModes(session.metadata?.flavor);
  if (modes.length === 0) return null;
  const current = session.permissionMode ?? session.metadata?.preferredPermissionMode ?? modes[0];
  const choice = h("select", { id: "session-mode" }, modes.map((mode) => h("option", { value: mode, selected: mode === current }, modeLabel(mode))));
  const caution = h("p", { class: "hint caution", hidden: !isUnbounded(current) }, "The agent acts without asking you.");
  const [problem, run] = saver(choice, () => api.permissionMode(session.id, choice.value), "Permission mode changed");
  choice.addEventListener("change", () => { caution.hidden = !isUnbounded(choice.value); run(); });
  return h("div", { class: "field" }, h("label", { for: "session-mode" }, "Permissions"), choice, caution, problem);
}

function modelSection(session, api) {
  const current = typeof session.model === "object" && session.model ? session.model.modelId : session.model ?? "";
  const list = knownModels(session.metadata?.flavor);
  const model = h("input", { id: "session-model", value: current, placeholder: "the agent's default", autocomplete: "off", spellcheck: "false", list: list.length ? "known-models" : null, disabled: !session.active });
  const save = h("button", { type: "submit", class: "button", disabled: !session.active }, "Set");
  const [problem, run] = saver(save, () => api.model(session.id, model.value.trim() || null), "Model changed");
  const form = h("form", { class: "field" }, h("label", { for: "session-model" }, "Model"), h("div", { class: "with-button" }, model, save),
    list.length > 0 && h("datalist", { id: "known-models" }, list.map((value) => h("option", { value }))), problem);
  form.addEventListener("submit", (event) => { event.preventDefault(); run(); });
  return form;
}

function factSection(session, store) {
  const meta = session.metadata ?? {};
  const rows = [
    ["Agent", agentLabel(meta.flavor)], ["Machine", machineName(store.machines.get(meta.machineId)) || meta.host], ["Directory", tilde(meta.path, meta.homeDir)],
    ["Worktree", meta.worktree && `${meta.worktree.name ?? ""} (${meta.worktree.branch ?? "?"})`], ["Started by", meta.startedBy],
    ["Created", session.createdAt && `${day(session.createdAt)}, ${clock(session.createdAt)}`],
    ["Agent's session", meta.agentSessionId ?? meta[`${meta.flavor}SessionId`]], ["Session", session.id],
  ].filter(([, value]) => value);
  return h("dl", { class: "facts" }, rows.map(([label, value]) => [h("dt", null, label), h("dd", null, value)]));
}

function endSection(session, { api, store, go, close, resume }) {
  const renamed = () => store.sessions.get(session.id) ?? session;
  const archive = h("button", { type: "button", class: "button", hidden: !session.active && session.metadata?.lifecycleState !== "running" }, "Archive");
  archive.addEventListener("click", () => { close(); archiveDialog(renamed(), api); });
  const again = h("button", { type: "button", class: "button primary", hidden: session.active }, "Resume");
  const [problem, run] = saver(again, async () => { await resume(); close(); });
  again.addEventListener("click", run);
  const remove = h("button", { type: "button", class: "button danger", hidden: session.active }, "Delete…");
  remove.addEventListener("click", () => { close(); deleteDialog(renamed(), api, go); });
  return [problem, h("div", { class: "buttons" }, remove, h("span", { class: "spring" }), archive, again)];
}

export function archiveDialog(session, api) {
  return confirmDialog({
    title: "Archive this session?",
    text: `“${titleOf(session)}” stops working now. Its conversation stays, and it can be resumed later.`,
    action: "Archive",
    danger: false,
    act: () => api.archive(session.id).catch(spoken),
  });
}

function deleteDialog(session, api, go) {
  return confirmDialog({
    title: "Delete this session?",
    text: `“${titleOf(session)}” and its whole conversation will be gone for good. Files in its directory stay.`,
    action: "Delete",
    act: async () => { await api.remove(session.id).catch(spoken); go("/"); },
  });
}

function spoken(error) {
  throw new Error(inWords(error));
}
