// Modal dialogs and toasts. The browser's <dialog> traps the focus, closes on Escape and gives the focus back.

import {
  append,
  button,
  fill,
  h,
  hasFinePointer,
  iconButton,
  linkButton,
  problemLine,
} from "./dom.js";
import { errorMessage } from "./errors.js";
import { t } from "./language.js";

/** @import { Child } from "./dom.js" */

const TOAST_DURATION = 7000; // ms
const MAX_TOASTS = 3; // at a time; on a narrow screen fewer, which would cover it
const MAX_NARROW_TOASTS = 2;
const NARROW = "(max-width: 799px)";
const END_DISTANCE = 80; // px; a conversation that is closer to its end follows it

/** @type {HTMLElement | null} what holds the toasts */
let shelf = null;

/**
 * Open a dialog with the content that `build` creates.
 * @param {string} title
 * @param {(close: () => void) => Child} build
 */
export function openDialog(title, build, { wide = false } = {}) {
  const node = h("dialog", {
    class: wide ? "dialog wide" : "dialog",
    "aria-labelledby": "dialog-title",
  });
  const close = () => node.close();
  const body = h("div", { class: "dialog-body" });
  append(
    node,
    h(
      "header",
      { class: "dialog-head" },
      h("h2", { id: "dialog-title" }, title),
      iconButton("close", t("Close"), { on: { click: close } }),
    ),
    body,
  );
  node.addEventListener("close", () => {
    const hasToasts = shelf !== null && node.contains(shelf);
    node.remove();
    if (hasToasts) keepToasts();
  });
  // A press on the backdrop has the dialog itself as its target.
  node.addEventListener("mousedown", (event) => {
    if (event.target === node) close();
  });
  fill(body, build(close));
  document.body.append(node);
  node.showModal();
  const first = body.querySelector("[data-first]");
  // A field that takes the focus on a touch screen brings up the keyboard, which covers the dialog.
  const isField = first?.matches("input, textarea") === true;
  if (first instanceof HTMLElement && (!isField || hasFinePointer())) first.focus();
}

/** Close the dialog or menu that lies above the page. @returns {boolean} whether there was one */
export function closeTopmost() {
  const menu = document.querySelector(".menu:popover-open");
  const dialog = [...document.querySelectorAll("dialog[open]")].at(-1);
  if (menu instanceof HTMLElement) menu.hidePopover();
  else if (dialog instanceof HTMLDialogElement) dialog.close();
  else return false;
  return true;
}

/**
 * Ask for a confirmation. An error of `act` is shown in the dialog, which then stays open.
 * @param {{ title: string, text: string, action: string, danger?: boolean, act: () => unknown }} question
 */
export function confirmDialog({ title, text, action, danger = true, act }) {
  openDialog(title, (close) => {
    const problem = problemLine();
    const confirm = button(action, { class: danger ? "danger" : "primary" });
    confirm.addEventListener("click", () =>
      runBusy(confirm, problem, async () => {
        await act();
        close();
      }),
    );
    const cancel = button(t("Cancel"), { "data-first": true, on: { click: close } });
    return [h("p", null, text), problem, h("div", { class: "buttons" }, cancel, confirm)];
  });
}

/**
 * Ask for a name.
 * @param {{ title: string, label: string, value: string, limit: number, optional?: boolean, save: (name: string) => unknown }} question
 */
export function nameDialog({ title, label, value, limit, optional = false, save }) {
  openDialog(title, (close) => {
    const name = h("input", {
      id: "new-name",
      value,
      maxlength: limit,
      required: !optional,
      "data-first": true,
    });
    const submit = button(t("Save"), { type: "submit", class: "primary" });
    const problem = problemLine();
    const form = h(
      "form",
      { class: "field" },
      h("label", { for: "new-name" }, label),
      name,
      problem,
      h("div", { class: "buttons" }, button(t("Cancel"), { on: { click: close } }), submit),
    );
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      const wanted = name.value.trim();
      if (wanted || optional)
        runBusy(submit, problem, async () => {
          await save(wanted);
          close();
        });
    });
    return form;
  });
}

/**
 * Run `act` with `control` disabled and marked as busy; show an error in `problem`.
 * @param {HTMLButtonElement | HTMLInputElement | HTMLSelectElement} control
 * @param {HTMLElement} problem
 * @param {() => unknown} act
 * @param {(error: unknown) => string} message
 */
export async function runBusy(control, problem, act, message = errorMessage) {
  control.disabled = true;
  control.classList.add("is-busy");
  problem.hidden = true;
  try {
    await act();
  } catch (error) {
    showProblem(problem, message(error));
  } finally {
    control.disabled = false;
    control.classList.remove("is-busy");
  }
}

/**
 * @param {HTMLElement} problem
 * @param {string} text
 */
export function showProblem(problem, text) {
  fill(problem, text);
  problem.hidden = false;
}

/**
 * Give the toasts room of their own on what is on screen, so that they cover nothing, and so that nothing moves that a
 * person may be about to press: in a dialog, which makes all outside itself inert, below its head; in a pane below what
 * scrolls, or above it while the end of a conversation is in view.
 * @param {HTMLElement} toasts
 */
function placeToasts(toasts) {
  const dialog = [...document.querySelectorAll("dialog[open]")].at(-1);
  const pane = document.querySelector(visiblePane()) ?? document.body;
  if (dialog) dialog.querySelector(".dialog-head")?.after(toasts);
  else if (toasts.parentNode !== pane) {
    const scroller = scrollerOf(pane);
    if (!scroller) pane.append(toasts);
    else if (showsEndOfConversation(scroller)) scroller.before(toasts);
    else scroller.after(toasts);
  }
}

/** Show the toasts on the view that is on screen now, if there are any. */
export function keepToasts() {
  if (shelf?.childElementCount && !shelf.closest("dialog[open]")) placeToasts(shelf);
}

/** The selector of the pane that notices belong to. */
function visiblePane() {
  return matchMedia(NARROW).matches ? '.shell[data-pane="list"] > .side, .main' : ".main";
}

/** What scrolls in a pane: the tallest of its parts that do. @param {Element} pane */
function scrollerOf(pane) {
  return [...pane.children]
    .filter((part) => /auto|scroll/.test(getComputedStyle(part).overflowY))
    .sort((one, other) => other.clientHeight - one.clientHeight)
    .at(0);
}

/** @param {Element} scroller */
function showsEndOfConversation(scroller) {
  const below = scroller.scrollHeight - scroller.scrollTop - scroller.clientHeight;
  return scroller.matches(".chat > .log") && scroller.scrollTop > 0 && below < END_DISTANCE;
}

/**
 * Show a short notice at the edge of the screen. Returns what takes it away.
 * @param {string | Node} content
 * @param {{ tone?: "plain" | "bad", action?: ToastAction | null, actions?: ToastAction[], duration?: number, topic?: string }} [options]
 * `duration` in ms; `topic`: a later notice about the same topic takes the place of this one
 * @typedef {[label: string, run: () => void]} ToastAction
 */
export function toast(
  content,
  {
    tone = "plain",
    action = null,
    actions = action ? [action] : [],
    duration = TOAST_DURATION,
    topic = "",
  } = {},
) {
  shelf ??= h("div", { id: "toasts", class: "toasts", role: "status", "aria-live": "polite" });
  placeToasts(shelf);
  const text = content instanceof Node ? content : h("span", { class: "toast-text" }, content);
  const node = h("div", { class: `toast ${tone}`, "data-topic": topic || null }, text);
  const dismiss = () => node.remove();
  append(
    node,
    actions.map(([label, run]) =>
      linkButton(label, () => {
        dismiss();
        run();
      }),
    ),
    iconButton("close", t("Dismiss"), { on: { click: dismiss } }),
  );
  if (actions.length > 1) node.classList.add("asks");
  if (topic) dismissToasts((other) => other === topic);
  shelf.append(node);
  const most = matchMedia(NARROW).matches ? MAX_NARROW_TOASTS : MAX_TOASTS;
  while (shelf.children.length > most) shelf.firstElementChild?.remove();
  setTimeout(dismiss, duration);
  return dismiss;
}

/** Take away the notices about some topics. @param {(topic: string) => boolean} isGone */
export function dismissToasts(isGone) {
  for (const shown of document.querySelectorAll(".toast"))
    if (shown instanceof HTMLElement && isGone(shown.dataset.topic ?? "")) shown.remove();
}

/**
 * Run `act`; show an error as a toast. Returns what `act` returns, undefined after an error.
 * @template Result
 * @param {() => Promise<Result>} act
 * @returns {Promise<Result | undefined>}
 */
export async function orToast(act) {
  try {
    return await act();
  } catch (error) {
    toast(errorMessage(error), { tone: "bad" });
    return undefined;
  }
}
