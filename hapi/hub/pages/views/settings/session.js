// Settings of one session: name, permission mode, model; resume, archive, delete.

import { button, factList, fill, h, problemLine } from "../../lib/dom.js";
import { openDialog, runBusy, showProblem, toast } from "../../lib/dialog.js";
import { abbreviateHome, dateAndTime } from "../../lib/format.js";
import { choicesOf, currentMode, offerOf, sessionModes } from "../../data/offer.js";
import { sessionAddress } from "../../data/addresses.js";
import { rulesOf, ruleText } from "../../data/permissions.js";
import { machineName, titleOf } from "../../data/sessions.js";
import { describeUsage } from "../../data/usage.js";
import { archiveDialog, deleteDialog } from "../sessions/actions.js";

/**
 * @import { Api } from "../../data/api.js"
 * @import { Store } from "../../data/store.js"
 * @import { Go, OfferedChoice, PermissionRule, Session } from "../../data/types.js"
 */

/**
 * @typedef {object} SettingsOptions
 * @property {Api} api
 * @property {Store} store
 * @property {string} id of the session
 * @property {Go} go
 * @property {() => Promise<void>} resume
 */

/** @param {SettingsOptions} options */
export function settingsDialog(options) {
  const { store, id } = options;
  const session = store.sessions.get(id);
  if (!session) return;
  openDialog("Session", (close) => [
    nameSection(session, options),
    permissionSection(session, options),
    rulesSection(session, options),
    store.catalog.hasModel(session.metadata?.flavor) && modelSection(session, options),
    session.active && offeredSections(session, options),
    factSection(session, store),
    recordSection(session, options, close),
    endSection(session, options, close),
  ]);
}

/** @param {Session} session @param {SettingsOptions} options */
function nameSection(session, { api, store: { access } }) {
  const disabled = !access.allows("chat");
  const name = h("input", {
    id: "session-name",
    maxlength: "255",
    value: session.metadata?.name ?? titleOf(session),
    required: true,
    disabled,
    "data-first": true,
  });
  const save = button("Save", { type: "submit", disabled });
  const problem = problemLine();
  const form = h(
    "form",
    { class: "field" },
    h("label", { for: "session-name" }, "Name"),
    h("div", { class: "with-button" }, name, save),
    problem,
  );
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    const wanted = name.value.trim();
    if (wanted) {
      runBusy(save, problem, async () => {
        await api.renameSession(session.id, wanted);
        toast("Session renamed");
      });
    } else {
      showProblem(problem, "The name can't be blank."); // the browser itself refuses an empty field
      name.focus();
    }
  });
  return form;
}

/**
 * A setting that is one of several choices.
 * @param {object} options
 * @param {string} options.id
 * @param {string} options.label
 * @param {OfferedChoice[]} options.choices
 * @param {string | null | undefined} options.current
 * @param {boolean} [options.disabled]
 * @param {string} options.done the sentence when it is set
 * @param {(value: string) => Promise<unknown>} options.set
 */
function choiceSection({ id, label, choices, current, disabled = false, done, set }) {
  const known = choices.some((choice) => choice.id === current);
  const options = choices.map(({ id: value, name }) =>
    h("option", { value, selected: value === current }, name),
  );
  if (!known)
    options.unshift(h("option", { value: current ?? "", selected: true }, current ?? "–"));
  const select = h("select", { id, disabled }, options);
  const hint = h("p", { class: "hint" });
  const problem = problemLine();
  let applied = current ?? "";
  const describe = () => {
    const choice = choices.find((each) => each.id === select.value);
    const caution = choice?.unrestricted === true;
    hint.className = caution ? "hint caution" : "hint";
    hint.textContent = [
      choice?.description,
      caution && "The agent acts without asking for permission.",
    ]
      .filter(Boolean)
      .join(" ");
    hint.hidden = !hint.textContent;
  };
  describe();
  select.addEventListener("change", () => {
    describe();
    runBusy(select, problem, async () => {
      try {
        await set(select.value);
        applied = select.value;
      } finally {
        select.value = applied; // what was refused is not shown as the one in use
        describe();
      }
      toast(done);
    });
  });
  return h("div", { class: "field" }, h("label", { for: id }, label), select, hint, problem);
}

/** What is allowed without asking; nothing if there is no such rule. @param {Session} session @param {SettingsOptions} options */
function rulesSection(session, { api, store: { access } }) {
  const node = h("div", { class: "field" });
  const problem = problemLine();
  /** @param {PermissionRule[]} rules */
  const draw = (rules) => {
    node.hidden = rules.length === 0;
    fill(
      node,
      h("p", { class: "field-title", id: "session-rules" }, "Allowed for this session"),
      h(
        "ul",
        { class: "rules", "aria-labelledby": "session-rules" },
        rules.map((rule) => ruleRow(rule, access.allows("approve") ? remove : null)),
      ),
      problem,
    );
  };
  /** @param {PermissionRule} rule @param {HTMLButtonElement} control */
  const remove = (rule, control) =>
    runBusy(control, problem, async () => {
      await api.removePermissionRule(session.id, rule.id);
      shown = shown.filter((other) => other !== rule);
      draw(shown);
    });
  let shown = rulesOf(session.metadata);
  draw(shown);
  return node;
}

/** @param {PermissionRule} rule @param {((rule: PermissionRule, control: HTMLButtonElement) => void) | null} remove */
function ruleRow(rule, remove) {
  const { label, value } = ruleText(rule);
  const control = button("Remove", { "aria-label": `Remove: ${label} ${value}`.trim() });
  control.hidden = remove === null;
  control.addEventListener("click", () => remove?.(rule, control));
  return h(
    "li",
    null,
    h("div", null, h("span", { class: "hint" }, label), value && h("code", null, value)),
    control,
  );
}

/** @param {Session} session @param {SettingsOptions} options */
function permissionSection(session, { api, store: { access, catalog } }) {
  const choices = sessionModes(session, catalog);
  if (choices.length === 0) return null;
  return choiceSection({
    id: "session-mode",
    label: "Permissions",
    choices,
    current: currentMode(session) ?? choices[0]?.id,
    disabled: !access.allows("approve"),
    done: "Permission mode changed",
    set: (mode) => api.setPermissionMode(session.id, mode),
  });
}

/** @param {Session} session @param {SettingsOptions} options */
function modelSection(session, options) {
  const { models, model } = offerOf(session);
  const choices = choicesOf(models);
  if (choices.length === 0) return modelInput(session, options);
  return choiceSection({
    id: "session-model",
    label: "Model",
    choices,
    current: typeof model === "string" ? model : null,
    disabled: !session.active || !options.store.access.allows("chat"),
    done: "Model changed",
    set: (value) => options.api.setModel(session.id, value),
  });
}

/** The settings besides permission mode and model that the agent offers. @param {Session} session @param {SettingsOptions} options */
function offeredSections(session, { api, store: { access } }) {
  const offer = offerOf(session);
  const effortPath = offer.effortSetting === "effort" ? "effort" : "model-reasoning-effort";
  const lists = [
    ["effort", "Reasoning effort", "efforts", effortPath, offer.effortSetting],
    ["collaborationMode", "Collaboration", "collaborationModes", "collaboration-mode", "mode"],
    ["serviceTier", "Speed", "serviceTiers", "service-tier", "serviceTier"],
    ["agentMode", "Agent mode", "agentModes", "copilot-agent-mode", "mode"],
  ];
  const named = lists.map(([key = "", label = "", list = "", path = "", field = ""]) => ({
    id: `session-${path}`,
    label,
    choices: choicesOf(offer[list]),
    current: offer[key],
    disabled: !access.allows(path.endsWith("-mode") ? "approve" : "chat"),
    /** @param {string} value */
    set: (value) => api.setSetting(session.id, path, { [field]: value }),
  }));
  const others = (Array.isArray(offer.options) ? offer.options : [])
    .filter((option) => typeof option?.id === "string")
    .map((option) => ({
      id: `session-option-${option.id}`,
      label: String(option.name ?? option.id),
      choices: choicesOf(option.choices),
      current: option.current,
      disabled: !access.allows("approve"),
      /** @param {string} value */
      set: (value) => api.setSetting(session.id, "option", { id: option.id, value }),
    }));
  return [...named, ...others]
    .filter(({ choices }) => choices.length > 0)
    .map((section) =>
      choiceSection({
        ...section,
        disabled: !session.active || section.disabled,
        done: `${section.label} changed`,
      }),
    );
}

/** The model of a session that lists none. @param {Session} session @param {SettingsOptions} options */
function modelInput(session, { api, store: { access, catalog } }) {
  const current = typeof session.model === "object" ? session.model?.modelId : session.model;
  const suggestions = catalog.models(session.metadata?.flavor);
  const disabled = !session.active || !access.allows("chat");
  const model = h("input", {
    id: "session-model",
    value: current ?? "",
    placeholder: "Agent's default",
    autocomplete: "off",
    spellcheck: "false",
    list: suggestions.length > 0 ? "known-models" : null,
    disabled,
  });
  const save = button("Set", { type: "submit", disabled });
  const problem = problemLine();
  const form = h(
    "form",
    { class: "field" },
    h("label", { for: "session-model" }, "Model"),
    h("div", { class: "with-button" }, model, save),
    suggestions.length > 0 &&
      h(
        "datalist",
        { id: "known-models" },
        suggestions.map((value) => h("option", { value })),
      ),
    problem,
  );
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    runBusy(save, problem, async () => {
      await api.setModel(session.id, model.value.trim() || null);
      toast("Model changed");
    });
  });
  return form;
}

/** @param {Session} session @param {Store} store */
function factSection(session, store) {
  const meta = session.metadata ?? {};
  const { worktree } = meta;
  return factList([
    ["Agent", store.catalog.label(meta.flavor)],
    ["Machine", machineName(store.machines.get(meta.machineId ?? "")) || meta.host],
    ["Directory", abbreviateHome(meta.path, meta.homeDir)],
    [
      "Worktree",
      worktree &&
        [worktree.name, worktree.branch && `(${worktree.branch})`].filter(Boolean).join(" "),
    ],
    [
      "Usage",
      describeUsage(meta.usage)
        ?.details.map((row) => row.join(": "))
        .join(" · "),
    ],
    ["Started by", meta.startedBy],
    ["Created", session.createdAt && dateAndTime(session.createdAt)],
    ["Agent's session ID", meta.agentSessionId ?? meta[`${meta.flavor}SessionId`]],
    ["Session ID", session.id],
  ]);
}

/** Saving and sharing the conversation. @param {Session} session @param {SettingsOptions} options @param {() => void} close */
function recordSection(session, { api, store, go }, close) {
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
  const share = button("Share…", { hidden: !store.access.allows("admin") });
  share.addEventListener("click", () =>
    runBusy(share, problem, async () => {
      const { shareDialog } = await import("../share/dialog.js");
      close();
      shareDialog({ api, id: session.id });
    }),
  );
  const canFork = session.metadata?.capabilities?.conversationHistory?.forkCurrent === true;
  const fork = button("Fork", {
    hidden: !canFork || !session.active || !store.access.allows("spawn"),
    title: "Go on in another session that remembers this conversation",
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
    h("p", { class: "field-title" }, "Conversation"),
    problem,
    h(
      "div",
      { class: "buttons start" },
      fork,
      share,
      exportButton("Export Markdown", "markdown"),
      exportButton("Export JSON", "json"),
    ),
  );
}

/** @param {Session} session @param {SettingsOptions} options @param {() => void} close */
function endSection(session, { api, store, go, resume }, close) {
  const current = () => store.sessions.get(session.id) ?? session; // it may have been renamed meanwhile
  const isRunning = session.active || session.metadata?.lifecycleState === "running";
  const problem = problemLine();
  const archive = button("Archive", {
    hidden: !isRunning || !store.access.allows("spawn"),
    on: {
      click: () => {
        close();
        archiveDialog(current(), api);
      },
    },
  });
  const remove = button("Delete…", {
    class: "danger",
    hidden: session.active || !store.access.allows("admin"),
    on: {
      click: () => {
        close();
        deleteDialog(current(), api, () => go("/"));
      },
    },
  });
  const again = button("Resume", {
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
