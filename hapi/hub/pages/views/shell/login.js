// The first screen: enter the access token.

import { button, fill, h, linkButton, problemLine } from "../../lib/dom.js";
import { runBusy } from "../../lib/dialog.js";
import { ApiError, errorMessage, statusOf } from "../../lib/errors.js";
import { t } from "../../lib/language.js";

/**
 * @param {object} options
 * @param {(token: string, keep: boolean) => Promise<void>} options.login throws when the hub refuses the token
 * @param {string} [options.notice] why a token is needed again
 */
export function loginView({ login, notice = "" }) {
  const token = h("input", {
    id: "token",
    name: "token",
    type: "password",
    autocomplete: "current-password",
    autocapitalize: "off",
    spellcheck: "false",
    required: true,
    "aria-describedby": "token-hint login-problem",
  });
  const show = linkButton(t("Show"), toggle, { "aria-pressed": "false", "aria-controls": "token" });
  const keep = h("input", { id: "keep", type: "checkbox", checked: true });
  const problem = problemLine({ id: "login-problem", hidden: !notice });
  fill(problem, notice);
  const submit = button(t("Log in"), { type: "submit", class: "primary large" });
  const hint = t(
    "The hub keeps the token in its settings.json as “cliApiToken”. A hub that is started in a terminal also prints a link with it.",
  );
  const form = h(
    "form",
    { class: "login-card" },
    h("img", { src: "/icon.svg", alt: "", width: "56", height: "56" }),
    h("h1", null, "HAPI"),
    h("p", { class: "muted" }, t("Your coding agents, from anywhere.")),
    h(
      "div",
      { class: "field" },
      h("div", { class: "field-head" }, h("label", { for: "token" }, t("Access token")), show),
      token,
      h("p", { id: "token-hint", class: "hint" }, hint),
    ),
    h("label", { class: "check" }, keep, t("Stay logged in on this device")),
    problem,
    submit,
  );

  function toggle() {
    const isHidden = token.type === "password";
    token.type = isHidden ? "text" : "password";
    show.textContent = isHidden ? t("Hide") : t("Show");
    show.setAttribute("aria-pressed", String(isHidden));
  }

  form.addEventListener("submit", (event) => {
    event.preventDefault();
    const entered = token.value.trim();
    if (!entered) token.focus();
    else
      runBusy(
        submit,
        problem,
        () => login(entered, keep.checked),
        (error) => {
          token.focus();
          token.select();
          return loginProblem(error);
        },
      );
  });
  return { node: h("main", { class: "login" }, form), focus: () => token.focus() };
}

/** @param {unknown} error */
export function loginProblem(error) {
  const refusal = error instanceof ApiError ? error : null;
  if (refusal?.code === "too_many_wrong_tokens")
    return t("The hub rejected this token. {message}.", { message: refusal.message });
  const reason = refusal?.message.split("Invalid access token: ")[1];
  if (reason) return t("The hub rejected this token: {reason}.", { reason });
  if (statusOf(error) === 401)
    return t("The hub rejected this token. Check it for missing characters and try again.");
  return errorMessage(error);
}
