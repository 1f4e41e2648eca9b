// Settings of one session: its name, what its agent works with, what is allowed, and facts.

import { button, fill, h, problemLine } from "../../lib/dom.js";
import { descriptionList } from "../../lib/description-list.js";
import { openDialog, runBusy, showProblem, toast } from "../../lib/dialog.js";
import { dateAndTime } from "../../lib/format.js";
import { t } from "../../lib/language.js";
import { AgentSettings } from "../../data/store/agent-settings.js";
import { rulesOf, ruleText } from "../../data/sessions/permissions.js";
import { machineName, shownPath, titleOf } from "../../data/sessions/sessions.js";
import { describeUsage } from "../../data/sessions/usage.js";
import { conversationSection, endSection } from "./session-actions.js";

/**
 * @import { Api } from "../../data/hub/api.js"
 * @import { SessionSetting } from "../../data/sessions/session-settings.js"
 * @import { Store } from "../../data/store/store.js"
 * @import { Go, PermissionRule, Session } from "../../data/types.js"
 */

/**
 * @typedef {object} SettingsOptions
 * @property {Api} api
 * @property {Store} store
 * @property {string} id of the session
 * @property {Go} go
 * @property {() => Promise<void>} resume
 */

const MAX_NAME = 255; // characters

/** @param {SettingsOptions} options */
export function settingsDialog(options) {
  const { store, id } = options;
  const session = store.sessions.get(id);
  if (!session) return;
  openDialog(t("Session"), (close) => [
    nameField(session, options),
    agentFields(session, options),
    rulesSection(session, options),
    factSection(session, store),
    conversationSection(session, options, close),
    endSection(session, options, close),
  ]);
}

/** What is written applies when the field is left or Enter is pressed. @param {Session} session @param {SettingsOptions} options */
function nameField(session, { api, store: { access } }) {
  const name = h("input", {
    id: "session-name",
    maxlength: MAX_NAME,
    value: session.metadata?.name ?? titleOf(session),
    disabled: !access.allows("chat"),
    "data-first": true,
  });
  const problem = problemLine();
  name.addEventListener("change", () => {
    const wanted = name.value.trim();
    if (wanted)
      runBusy(name, problem, async () => {
        await api.renameSession(session.id, wanted);
        toast(t("Session renamed"));
      });
    else showProblem(problem, t("The name can't be blank."));
  });
  return h(
    "div",
    { class: "field" },
    h("label", { for: "session-name" }, t("Name")),
    name,
    problem,
  );
}

/** Permission mode, model, effort and whatever else the agent offers; drawn anew when its lists have come. @param {Session} session @param {SettingsOptions} options */
function agentFields(session, { api, store, id }) {
  const node = h("div", { class: "fields" });
  const settings = new AgentSettings({ api, store, id });
  let isTouched = false; // drawn anew, a field would show what it had before
  /** @param {SessionSetting} setting */
  const field = (setting) => {
    const isOff = settings.isRefused(setting) || (!session.active && setting.id !== "mode");
    /** @param {string} value */
    const set = async (value) => {
      isTouched = true;
      await settings.set(setting, value);
      toast(t("{label} changed", { label: setting.label }));
    };
    return setting.mayBeOther ? textField(setting, isOff, set) : choiceField(setting, isOff, set);
  };
  const draw = () => fill(node, settings.all().map(field));
  draw();
  settings.readLists(session).then(() => {
    if (!isTouched && !node.contains(document.activeElement)) draw();
  });
  return node;
}

/**
 * A setting that is one of several choices.
 * @param {SessionSetting} setting
 * @param {boolean} disabled
 * @param {(value: string) => Promise<void>} set
 */
function choiceField({ id: name, label, choices, current }, disabled, set) {
  const id = `session-${name}`;
  const known = choices.some((choice) => choice.id === current);
  const options = choices.map(({ id: value, name: text }) =>
    h("option", { value, selected: value === current }, text),
  );
  if (!known)
    options.unshift(
      h("option", { value: current ?? "", selected: true }, current ?? t("Agent's default")),
    );
  const select = h("select", { id, disabled }, options);
  const hint = h("p", { class: "hint" });
  const caution = h(
    "p",
    { class: "hint caution" },
    t("The agent acts without asking for permission."),
  );
  const problem = problemLine();
  let applied = current ?? "";
  const describe = () => {
    const choice = choices.find((each) => each.id === select.value);
    fill(hint, choice?.description ?? "");
    hint.hidden = !hint.textContent;
    caution.hidden = choice?.unrestricted !== true;
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
    });
  });
  return h(
    "div",
    { class: "field" },
    h("label", { for: id }, label),
    select,
    hint,
    caution,
    problem,
  );
}

/**
 * A setting that may be any text: it applies when the field is left or Enter is pressed.
 * @param {SessionSetting} setting
 * @param {boolean} disabled
 * @param {(value: string) => Promise<void>} set
 */
function textField({ id: name, label, choices, current }, disabled, set) {
  const id = `session-${name}`;
  const input = h("input", {
    id,
    value: current ?? "",
    placeholder: t("Agent's default"),
    autocomplete: "off",
    spellcheck: "false",
    list: choices.length > 0 ? `${id}-known` : null,
    disabled,
  });
  const known = h(
    "datalist",
    { id: `${id}-known` },
    choices.map(({ id: value }) => h("option", { value })),
  );
  const problem = problemLine();
  input.addEventListener("change", () => runBusy(input, problem, () => set(input.value.trim())));
  return h("div", { class: "field" }, h("label", { for: id }, label), input, known, problem);
}

/** What is allowed without asking; nothing if there is no such rule. @param {Session} session @param {SettingsOptions} options */
function rulesSection(session, { api, store: { access, machines } }) {
  const node = h("div", { class: "field" });
  const problem = problemLine();
  const short = (/** @type {string} */ path) => shownPath(session, machines, path);
  /** @param {PermissionRule[]} rules */
  const draw = (rules) => {
    node.hidden = rules.length === 0;
    fill(
      node,
      h("p", { class: "field-title", id: "session-rules" }, t("Allowed for this session")),
      h(
        "ul",
        { class: "rules", "aria-labelledby": "session-rules" },
        rules.map((rule) => ruleRow(rule, short, access.allows("approve") ? remove : null)),
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

/**
 * @param {PermissionRule} rule
 * @param {(path: string) => string} short
 * @param {((rule: PermissionRule, control: HTMLButtonElement) => void) | null} remove
 */
function ruleRow(rule, short, remove) {
  const { label, value } = ruleText(rule, short);
  const control = button(t("Remove"), {
    "aria-label": t("Remove: {label} {value}", { label, value }).trim(),
  });
  control.hidden = remove === null;
  control.addEventListener("click", () => remove?.(rule, control));
  return h(
    "li",
    null,
    h("div", null, h("span", { class: "hint" }, label), value && h("code", null, value)),
    control,
  );
}

/** @param {Session} session @param {Store} store */
function factSection(session, store) {
  const meta = session.metadata ?? {};
  const { worktree } = meta;
  const machine = store.machines.get(meta.machineId ?? "");
  return descriptionList([
    [t("Agent"), store.catalog.label(meta.flavor)],
    [t("Machine"), machineName(machine) || meta.host],
    [t("Directory"), shownPath(session, store.machines)],
    [
      t("Worktree"),
      worktree &&
        [worktree.name, worktree.branch && `(${worktree.branch})`].filter(Boolean).join(" "),
    ],
    [
      t("Usage"),
      describeUsage(meta.usage)
        ?.details.map((row) => row.join(": "))
        .join(" · "),
    ],
    [t("Started by"), meta.startedBy],
    [t("Created"), session.createdAt && dateAndTime(session.createdAt)],
  ]);
}
