// Modal dialogs on the browser's own <dialog>: it traps the focus, closes on Escape and gives the focus back.

import { fill, h, iconButton } from "./dom.js";
import { inWords } from "./errors.js";

/** Open a dialog titled `title`; `build(close)` makes its content. Returns {node, close, body}. */
export function openDialog(title, build, { wide = false, onClose = () => {} } = {}) {
  const node = h("dialog", { class: wide ? "dialog wide" : "dialog", "aria-labelledby": "dialog-title" });
  const close = () => node.close();
  const body = h("div", { class: "dialog-body" });
  node.append(
    h("header", { class: "dialog-head" }, h("h2", { id: "dialog-title" }, title), iconButton("close", "Close", { on: { click: close } })),
    body,
  );
  node.addEventListener("close", () => {
    const shelf = node.querySelector("#toasts");
    node.remove();
    if (shelf) place(shelf);
    onClose();
  });
  node.addEventListener("mousedown", (event) => { if (event.target === node) close(); }); // the backdrop
  fill(body, build(close));
  document.body.append(node);
  node.showModal();
  body.querySelector("[data-first]")?.focus();
  return { node, body, close };
}

/** Ask before doing something that can't be undone; `act` may be async, its error stays readable in the dialog. */
export function confirmDialog({ title, text, action, danger = true, act }) {
  return openDialog(title, (close) => {
    const problem = h("p", { class: "problem", role: "alert", hidden: true });
    const go = h("button", { type: "button", class: danger ? "button danger" : "button primary" }, action);
    go.addEventListener("click", () => busy(go, async () => { await act(); close(); }, problem));
    return [
      h("p", null, text),
      problem,
      h("div", { class: "buttons" }, h("button", { type: "button", class: "button", "data-first": true, on: { click: close } }, "Cancel"), go),
    ];
  });
}

/** A dialog that asks for a name. */
export function nameDialog({ title, label, value, limit, optional = false, save }) {
  return openDialog(title, (close) => {
    const name = h("input", { id: "new-name", value, maxlength: limit, required: !optional, "data-first": true });
    const go = h("button", { type: "submit", class: "button primary" }, "Save");
    const problem = h("p", { class: "problem", role: "alert", hidden: true });
    const form = h("form", { class: "field" }, h("label", { for: "new-name" }, label), name, problem,
      h("div", { class: "buttons" }, h("button", { type: "button", class: "button", on: { click: close } }, "Cancel"), go));
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      if (name.value.trim() || optional) busy(go, async () => { await save(name.value.trim()); close(); }, problem, inWords);
    });
    return form;
  });
}

/** Run `act` with `button` disabled and marked busy; an error goes into the element `problem` (or is thrown on without one). */
export async function busy(button, act, problem, words = (error) => error.message) {
  button.disabled = true;
  button.classList.add("is-busy");
  if (problem) problem.hidden = true;
  try {
    return await act();
  } catch (error) {
    if (!problem) throw error;
    problem.textContent = words(error);
    problem.hidden = false;
    return undefined;
  } finally {
    button.disabled = false;
    button.classList.remove("is-busy");
  }
}

/** Put the toasts above everything and within reach: a modal dialog lets nothing outside itself be used. */
function place(shelf) {
  ([...document.querySelectorAll("dialog[open]")].at(-1) ?? document.body).append(shelf);
  shelf.showPopover();
}

/** A short notice at the edge of the screen; `action` = [label, function]. */
export function toast(text, { tone = "plain", action = null } = {}) {
  const shelf = document.getElementById("toasts") ?? h("div", { id: "toasts", class: "toasts", role: "status", "aria-live": "polite", popover: "manual" });
  place(shelf);
  const node = h("div", { class: `toast ${tone}` }, h("span", null, text));
  if (action) node.append(h("button", { type: "button", class: "link", on: { click: () => { node.remove(); action[1](); } } }, action[0]));
  node.append(iconButton("close", "Dismiss", { on: { click: () => node.remove() } }));
  shelf.append(node);
  setTimeout(() => node.remove(), 7000);
}
