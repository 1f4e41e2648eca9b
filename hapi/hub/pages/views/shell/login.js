// The first screen: give the access token.

import { h } from "../../lib/dom.js";
import { busy } from "../../lib/dialog.js";
import { inWords } from "../../lib/errors.js";

/** `login(token, keep)` throws when the hub refuses; `notice` is shown at once, e.g. why one is asked again. */
export function loginView({ login, notice = "" }) {
  const token = h("input", {
    id: "token", name: "token", type: "password", autocomplete: "current-password", autocapitalize: "off", spellcheck: "false", required: true,
    "aria-describedby": "token-hint login-problem",
  });
  const show = h("button", { type: "button", class: "link", "aria-pressed": "false", "aria-controls": "token" }, "Show");
  show.addEventListener("click", () => {
    token.type = token.type === "password" ? "text" : "password";
    show.textContent = token.type === "password" ? "Show" : "Hide";
    show.setAttribute("aria-pressed", String(token.type === "text"));
  });
  const keep = h("input", { id: "keep", type: "checkbox", checked: true });
  const problem = h("p", { id: "login-problem", class: "problem", role: "alert", hidden: !notice }, notice);
  const go = h("button", { type: "submit", class: "button primary large" }, "Log in");
  const form = h("form", { class: "login-card" },
    h("img", { src: "/icon.svg", alt: "", width: "56", height: "56" }),
    h("h1", null, "HAPI"),
    h("p", { class: "muted" }, "Your coding agents, from anywhere."),
    h("div", { class: "field" }, h("div", { class: "field-head" }, h("label", { for: "token" }, "Access token"), show), token,
      h("p", { id: "token-hint", class: "hint" }, "The hub printed it when it started. It is also in its settings.json, as “cliApiToken”.")),
    h("label", { class: "check" }, keep, "Stay logged in on this device"),
    problem,
    go,
  );
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    if (!token.value.trim()) return token.focus();
    return busy(go, () => login(token.value.trim(), keep.checked), problem, (error) => {
      token.focus();
      token.select();
      return loginProblem(error);
    });
  });
  return { node: h("main", { class: "login" }, form), focus: () => token.focus() };
}

export function loginProblem(error) {
  return error.status === 401 ? "The hub does not accept this token. Check for missing characters and try again." : inWords(error);
}
