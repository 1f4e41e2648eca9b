// Texts that a person keeps to write: prompts that are saved for all devices, and what is parked beside one conversation.

import { button, fill, h, iconButton, problemLine } from "../../../lib/dom.js";
import { openDialog, runBusy, showProblem } from "../../../lib/dialog.js";
import { errorMessage } from "../../../lib/errors.js";
import { relativeTime } from "../../../lib/format.js";
import { t } from "../../../lib/language.js";

/**
 * @import { Api } from "../../../data/hub/api.js"
 * @import { Composer } from "./composer.js"
 * @import { SavedPrompt, ScratchEntry } from "../../../data/types.js"
 */

/**
 * @typedef {object} KeptTextOptions
 * @property {Api} api
 * @property {string} id of the session
 * @property {Composer} composer
 * @property {() => void} onPromptsChanged
 */

/**
 * A row of a list: the text, which is taken by a press, and what else can be done with it.
 * @param {string} title
 * @param {string} about
 * @param {() => void} take
 * @param {Node[]} more
 */
function row(title, about, take, more) {
  return h(
    "li",
    { class: "kept" },
    h(
      "button",
      { type: "button", class: "entry", on: { click: take } },
      h(
        "span",
        { class: "entry-main" },
        h("span", { class: "choice-name" }, title),
        about && h("span", { class: "hint" }, about),
      ),
    ),
    more,
  );
}

/** @param {KeptTextOptions} options */
export function savedPromptsDialog(options) {
  const { api, composer, onPromptsChanged } = options;
  openDialog(t("Saved prompts"), (close) => {
    const problem = problemLine();
    const list = h("ul", { class: "setting-choices" });
    const edit = (/** @type {SavedPrompt | null} */ prompt) => {
      close();
      promptDialog(options, prompt);
    };
    /** @param {SavedPrompt} prompt */
    const promptRow = (prompt) => {
      const { id, name, text } = prompt;
      const label = name || text.slice(0, 60);
      const remove = iconButton("close", t("Delete {label}", { label }));
      remove.addEventListener("click", () =>
        runBusy(remove, problem, async () => {
          await api.deletePrompt(id);
          onPromptsChanged();
          await read();
        }),
      );
      const take = () => {
        close();
        composer.insert(text);
      };
      const change = iconButton("edit", t("Edit {label}", { label }), {
        on: { click: () => edit(prompt) },
      });
      return row(label, name ? text.slice(0, 200) : "", take, [change, remove]);
    };
    const read = async () => {
      const prompts = await api.savedPrompts();
      fill(
        list,
        prompts.map(promptRow),
        prompts.length === 0 &&
          h("li", { class: "hint" }, t("A saved prompt is found here and by typing “/”.")),
      );
    };
    read().catch((error) => showProblem(problem, errorMessage(error)));
    return [
      problem,
      list,
      h(
        "div",
        { class: "buttons" },
        button(t("Save a prompt"), { class: "primary", on: { click: () => edit(null) } }),
      ),
    ];
  });
}

/** @param {KeptTextOptions} options @param {SavedPrompt | null} prompt null for a new one */
function promptDialog(options, prompt) {
  const { api, composer, onPromptsChanged } = options;
  openDialog(prompt ? t("Edit the prompt") : t("Save a prompt"), (close) => {
    const problem = problemLine();
    const name = h("input", {
      id: "prompt-name",
      maxlength: "100",
      value: prompt?.name ?? "",
      autocomplete: "off",
    });
    const text = h("textarea", {
      id: "prompt-text",
      rows: "6",
      maxlength: "20000",
      required: true,
      value: prompt?.text ?? composer.text,
    });
    const save = button(t("Save"), { type: "submit", class: "primary" });
    const form = h(
      "form",
      { class: "field" },
      h("label", { for: "prompt-name" }, t("Name (optional)")),
      name,
      h("label", { for: "prompt-text" }, t("Text")),
      text,
      problem,
      h("div", { class: "buttons" }, save),
    );
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      const written = { name: name.value.trim(), text: text.value };
      runBusy(save, problem, async () => {
        await (prompt ? api.changePrompt(prompt.id, written) : api.savePrompt(written));
        onPromptsChanged();
        close();
        savedPromptsDialog(options);
      });
    });
    return form;
  });
}

/** @param {KeptTextOptions} options */
export function parkedTextsDialog({ api, id, composer }) {
  openDialog(t("Parked beside this conversation"), (close) => {
    const problem = problemLine();
    const list = h("ul", { class: "setting-choices" });
    /** @param {ScratchEntry} entry */
    const entryRow = (entry) => {
      const { entryId, text, createdAt, attachments } = entry;
      const files = attachments.map(({ filename }) => filename).join(", ");
      const label = text.slice(0, 200) || files;
      const remove = iconButton("close", t("Delete {label}", { label: label.slice(0, 60) }));
      remove.addEventListener("click", () =>
        runBusy(remove, problem, async () => {
          await api.deleteScratch(id, entryId);
          await read();
        }),
      );
      const take = async () => {
        close();
        composer.insert(text);
        if (attachments.length === 0) await api.deleteScratch(id, entryId).catch(() => {}); // it stays in the list
      };
      const about = [relativeTime(createdAt), text && files].filter(Boolean).join(" · ");
      return row(label, about, take, [remove]);
    };
    const read = async () => {
      const entries = await api.scratchlist(id);
      fill(
        list,
        entries.map(entryRow),
        entries.length === 0 && h("li", { class: "hint" }, t("Nothing is parked here.")),
      );
    };
    const park = button(t("Park what is written"), {
      class: "primary",
      disabled: !composer.text.trim(),
    });
    park.addEventListener("click", () =>
      runBusy(park, problem, async () => {
        await api.addScratch(id, composer.text);
        composer.take();
        await read();
        close();
      }),
    );
    read().catch((error) => showProblem(problem, errorMessage(error)));
    return [problem, list, h("div", { class: "buttons" }, park)];
  });
}
