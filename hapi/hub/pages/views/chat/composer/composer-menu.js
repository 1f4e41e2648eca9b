// What else can be done with the message that is being written.

import { button, h, problemLine } from "../../../lib/dom.js";
import { openDialog, showProblem } from "../../../lib/dialog.js";
import { dateAndTime } from "../../../lib/format.js";
import { t } from "../../../lib/language.js";
import { canSpeak, stopSpeaking } from "../../../lib/browser/speech.js";
import {
  enterChoice,
  readsAloud,
  setEnterChoice,
  setReadsAloud,
} from "../../../data/composer/preferences.js";
import { parkedTextsDialog, savedPromptsDialog } from "./kept-texts.js";
import { localDateTime, suggestedTimes, timeProblem } from "../../../data/composer/schedule.js";

/**
 * @import { Api } from "../../../data/hub/api.js"
 * @import { AttachedFiles } from "./attachments.js"
 * @import { Composer } from "./composer.js"
 */

/**
 * @typedef {object} ComposerMenuOptions
 * @property {Api} api
 * @property {string} id of the session
 * @property {() => void} onPromptsChanged
 * @property {Composer} composer
 * @property {{ set: (at: number | null) => void }} schedule
 * @property {AttachedFiles} files
 * @property {Storage} storage of the device
 */

/** @param {ComposerMenuOptions} options */
export function composerMenu(options) {
  const { composer, storage } = options;
  openDialog(t("This message"), (close) => {
    /** @param {string} label @param {string} about @param {() => void} run */
    const entry = (label, about, run) =>
      h(
        "li",
        null,
        h(
          "button",
          {
            type: "button",
            class: "entry",
            on: {
              click: () => {
                close();
                run();
              },
            },
          },
          h(
            "span",
            { class: "entry-main" },
            h("span", { class: "choice-name" }, label),
            h("span", { class: "hint" }, about),
          ),
        ),
      );
    return [
      h(
        "ul",
        { class: "setting-choices" },
        entry(t("Write on the whole screen"), t("There is more room for a long message."), () =>
          composer.setFullScreen(true),
        ),
        isHandheld() &&
          entry(t("Take a photo"), t("It is attached to the message."), () => composer.takePhoto()),
        entry(t("Send later"), t("The hub keeps the message until its time has come."), () =>
          sendLaterDialog(options),
        ),
        entry(t("Saved prompts"), t("Texts that you use again, on all your devices."), () =>
          savedPromptsDialog(options),
        ),
        entry(
          t("Parked texts"),
          t("Put a text aside for this session, and take it up later."),
          () => parkedTextsDialog(options),
        ),
      ),
      enterField(storage),
      canSpeak() && aloudField(storage),
    ];
  });
}

function isHandheld() {
  return matchMedia("(pointer: coarse)").matches;
}

/** @param {Storage} storage */
function aloudField(storage) {
  const box = h("input", { id: "read-aloud", type: "checkbox", checked: readsAloud(storage) });
  box.addEventListener("change", () => {
    setReadsAloud(storage, box.checked);
    if (!box.checked) stopSpeaking();
  });
  return h("label", { class: "check" }, box, h("span", null, t("Read answers aloud")));
}

/** @param {Storage} storage */
function enterField(storage) {
  const current = enterChoice(storage);
  const choices = [
    ["auto", t("Sends where there is a keyboard")],
    ["send", t("Always sends the message")],
    ["newline", t("Begins a new line")],
  ];
  const select = h(
    "select",
    { id: "enter-key" },
    choices.map(([value, label]) => h("option", { value, selected: value === current }, label)),
  );
  select.addEventListener("change", () => setEnterChoice(storage, select.value));
  return h(
    "div",
    { class: "field" },
    h("label", { for: "enter-key" }, t("The Enter key")),
    select,
    h("p", { class: "hint" }, t("Ctrl+Enter always sends, and Shift+Enter begins a new line.")),
  );
}

/** @param {ComposerMenuOptions} options */
function sendLaterDialog({ composer, schedule, files }) {
  openDialog(t("Send later"), (close) => {
    const problem = problemLine();
    if (!files.isEmpty)
      showProblem(problem, t("A message that is sent later cannot have files. Remove them first."));
    /** @param {number} at */
    const choose = (at) => {
      const reason = timeProblem(at, Date.now());
      if (reason) showProblem(problem, reason);
      else {
        schedule.set(at);
        close();
        composer.focus();
      }
    };
    const time = h("input", {
      id: "send-at",
      type: "datetime-local",
      min: localDateTime(Date.now()),
    });
    const form = h(
      "form",
      { class: "field" },
      h("label", { for: "send-at" }, t("Date and time")),
      h("div", { class: "with-button" }, time, button(t("Choose"), { type: "submit" })),
    );
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      choose(new Date(time.value).getTime());
    });
    return [
      h(
        "ul",
        { class: "setting-choices" },
        suggestedTimes(Date.now()).map(({ label, at }) =>
          h(
            "li",
            null,
            h(
              "button",
              { type: "button", class: "entry", on: { click: () => choose(at) } },
              h(
                "span",
                { class: "entry-main" },
                h("span", { class: "choice-name" }, label),
                h("span", { class: "hint" }, dateAndTime(at)),
              ),
            ),
          ),
        ),
      ),
      form,
      problem,
    ];
  });
}
