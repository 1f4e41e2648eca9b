// The choices of a setting in a dialog, and on a phone all settings of the session in one sheet.

import { button, fill, h, icon, problemLine } from "../../../lib/dom.js";
import { openDialog, runBusy } from "../../../lib/dialog.js";
import { t } from "../../../lib/language.js";
import { currentName } from "../../../data/sessions/session-settings.js";

/** @import { OfferedChoice } from "../../../data/types.js" */
/** @import { SessionSetting } from "../../../data/sessions/session-settings.js" */

const SEARCHED_FROM = 9; // choices; fewer are seen at once
const MAX_SHOWN = 100; // of the choices that a search finds

/**
 * @param {SessionSetting} setting
 * @param {(value: string) => Promise<unknown>} set
 */
export function choiceDialog(setting, set) {
  openDialog(setting.label, (close) => {
    const problem = problemLine();
    const list = h("ul", { class: "setting-choices" });
    const search = h("input", {
      type: "search",
      "aria-label": t("Search {setting}", { setting: setting.label.toLowerCase() }),
      placeholder: t("Search"),
      hidden: setting.choices.length < SEARCHED_FROM,
    });
    const draw = () => {
      const wanted = search.value.trim().toLowerCase();
      const found = setting.choices.filter(({ id, name, description }) =>
        `${id}\n${name}\n${description}`.toLowerCase().includes(wanted),
      );
      fill(
        list,
        found.slice(0, MAX_SHOWN).map((choice) => h("li", null, choiceNode(choice))),
        found.length === 0 && h("li", { class: "hint" }, t("Nothing matches.")),
        found.length > MAX_SHOWN &&
          h(
            "li",
            { class: "hint" },
            t("Search to see the other {count}.", { count: found.length - MAX_SHOWN }),
          ),
      );
    };
    /** @param {HTMLButtonElement} control @param {string} value */
    const apply = (control, value) =>
      runBusy(control, problem, async () => {
        await set(value);
        close();
      });
    /** @param {OfferedChoice} choice */
    const choiceNode = ({ id, name, description, unrestricted }) => {
      const isCurrent = id === setting.current;
      const control = h(
        "button",
        { type: "button", class: "entry", "aria-pressed": String(isCurrent) },
        h(
          "span",
          { class: "entry-main" },
          h("span", { class: "choice-name" }, name),
          description && h("span", { class: "hint" }, description),
          unrestricted &&
            h(
              "span",
              { class: "hint caution" },
              t("The agent acts without asking for permission."),
            ),
        ),
        isCurrent && icon("check"),
      );
      control.addEventListener("click", () => apply(control, id));
      return control;
    };
    search.addEventListener("input", draw);
    draw();
    return [problem, search, list, setting.mayBeOther && otherValue(setting, problem, apply)];
  });
}

/**
 * A field for a value that is not among the choices.
 * @param {SessionSetting} setting
 * @param {HTMLElement} problem
 * @param {(control: HTMLButtonElement, value: string) => void} apply
 */
function otherValue(setting, problem, apply) {
  const isKnown = setting.choices.some(({ id }) => id === setting.current);
  const input = h("input", {
    id: "other-value",
    value: isKnown ? "" : (setting.current ?? ""),
    placeholder: t("Agent's default"),
    autocomplete: "off",
    spellcheck: "false",
  });
  const submit = button(t("Set"), { type: "submit" });
  const form = h(
    "form",
    { class: "field" },
    h("label", { for: "other-value" }, t("Another value")),
    h("div", { class: "with-button" }, input, submit),
  );
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    problem.hidden = true;
    apply(submit, input.value.trim());
  });
  return form;
}

/**
 * @param {SessionSetting[]} settings
 * @param {{ isRefused: (setting: SessionSetting) => boolean, open: (id: string) => void }} options
 */
export function settingsSheet(settings, { isRefused, open }) {
  openDialog(t("What the agent works with"), (close) =>
    h(
      "ul",
      { class: "setting-choices" },
      settings.map((setting) =>
        h(
          "li",
          null,
          h(
            "button",
            {
              type: "button",
              class: "entry",
              disabled: isRefused(setting),
              on: {
                click: () => {
                  close();
                  open(setting.id);
                },
              },
            },
            h(
              "span",
              { class: "entry-main" },
              h("span", { class: "hint" }, setting.label),
              h("span", { class: "choice-name" }, currentName(setting)),
            ),
          ),
        ),
      ),
    ),
  );
}
