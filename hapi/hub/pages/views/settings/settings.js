// The settings of the page and of the person's devices, and what is running here.

import { withBase } from "../../lib/base-path.js";
import { button, fill, h, iconButton, linkButton, problemLine } from "../../lib/dom.js";
import { descriptionList } from "../../lib/description-list.js";
import { confirmDialog, openDialog, runBusy, toast } from "../../lib/dialog.js";
import { dateAndTime, fileSize } from "../../lib/format.js";
import { copyText } from "../../lib/browser/clipboard.js";
import { LANGUAGE_KEY, LANGUAGE_NAMES, t } from "../../lib/language.js";
import { loopbackHint } from "../../lib/loopback.js";
import { deviceStorage } from "../../lib/storage.js";
import { stylesheet } from "../../lib/stylesheet.js";
import { applyTheme, FONT_SIZE_KEY, FONT_SIZES, THEME_KEY, THEMES } from "./appearance.js";
import { scopeText, tokenName } from "./token-text.js";

/** @import { Json, View, ViewContext } from "../../data/types.js" */

await stylesheet(new URL("../../style/settings.css", import.meta.url).href);

const DEVICE_SCOPES = ["read", "chat", "approve", "spawn"]; // of a token for another device

/** @param {ViewContext} context @returns {View} */
export function view(context) {
  const { go } = context;
  const about = h("section", { class: "settings-part" });
  const devices = h("section", { class: "settings-part" });
  const node = h(
    "main",
    { class: "main" },
    h(
      "header",
      { class: "main-head" },
      iconButton("back", t("Back to sessions"), { on: { click: () => go("/") } }),
      h("div", { class: "head-main" }, h("h1", null, t("Settings"))),
    ),
    h(
      "div",
      { class: "page" },
      appearanceSection(),
      linkSection(context),
      pairingSection(context),
      devices,
      about,
    ),
  );
  const drawAbout = aboutSection(about, context);
  return {
    node,
    title: () => t("Settings"),
    draw: drawAbout,
    start: () => Promise.all([drawTokens(devices, context), drawAbout()]),
  };
}

function appearanceSection() {
  /** @param {string} id @param {string} label @param {string} key @param {Record<string, string>} choices @param {string} standard */
  const field = (id, label, key, choices, standard) => {
    const current = deviceStorage.getItem(key) ?? standard;
    const select = h(
      "select",
      { id },
      Object.entries(choices).map(([value, text]) =>
        h("option", { value, selected: value === current }, text),
      ),
    );
    select.addEventListener("change", () => {
      deviceStorage.setItem(key, select.value);
      applyTheme(deviceStorage);
    });
    return h("div", { class: "field" }, h("label", { for: id }, label), select);
  };
  return h(
    "section",
    { class: "settings-part" },
    h("h2", null, t("Appearance")),
    languageField(),
    field("theme", t("Theme"), THEME_KEY, THEMES, "auto"),
    field("font-size", t("Font size"), FONT_SIZE_KEY, FONT_SIZES, "100"),
  );
}

/** Each language has its own name; another one is spoken after the page has been loaded anew. */
function languageField() {
  const chosen = deviceStorage.getItem(LANGUAGE_KEY) ?? "";
  const names = Object.entries(LANGUAGE_NAMES).map(([id, { name }]) => [id, name]);
  const select = h(
    "select",
    { id: "language" },
    [["", t("System default")], ...names].map(([value, name]) =>
      h("option", { value, selected: value === chosen }, name),
    ),
  );
  select.addEventListener("change", () => {
    if (select.value === "") deviceStorage.removeItem(LANGUAGE_KEY);
    else deviceStorage.setItem(LANGUAGE_KEY, select.value);
    location.reload();
  });
  return h("div", { class: "field" }, h("label", { for: "language" }, t("Language")), select);
}

/** @param {ViewContext} context */
function linkSection({ go, logOut }) {
  return h(
    "section",
    { class: "settings-part" },
    h("h2", null, t("More")),
    h(
      "div",
      { class: "buttons start" },
      button(t("Notifications"), { on: { click: () => go("/settings/notifications") } }),
      button(t("Usage of tokens"), { on: { click: () => go("/usage") } }),
      button(t("Log out"), { on: { click: logOut } }),
    ),
  );
}

// --- another device ---

/** @param {ViewContext} context */
function pairingSection(context) {
  const problem = problemLine();
  const show = button(t("Show QR code"), { class: "primary" });
  show.addEventListener("click", () => runBusy(show, problem, () => pair(context)));
  return h(
    "section",
    { class: "settings-part" },
    h("h2", null, t("Pair a device")),
    loopbackHint() ??
      h(
        "p",
        { class: "muted" },
        t("Scan the code with the camera of a phone to open this page there, logged in."),
      ),
    problem,
    h("div", { class: "buttons start" }, show),
  );
}

/**
 * Show the code. An administrator gives the device a token of its own, which can be revoked; anybody else their own.
 * @param {Pick<ViewContext, "api" | "store" | "identity">} context
 */
export async function pair({ api, store, identity }) {
  const { qrCode } = await import("./qr-code.js");
  const isOwn = store.access.allows("admin");
  const made = isOwn ? await newToken(api) : null;
  const token = made?.token ?? identity.accessToken ?? "";
  const text = `${new URL(withBase("/"), location.origin).href}#token=${encodeURIComponent(token)}`;
  const code = await qrCode(text, t("QR code that opens this page on another device"));
  openDialog(t("Pair a device"), () => [
    loopbackHint(),
    code,
    h(
      "p",
      { class: "hint" },
      made
        ? t(
            "The code holds an access token of its own, “{name}”, which you can revoke in the settings. Whoever scans it can use your sessions.",
            { name: made.name },
          )
        : t("The code holds your access token. Whoever scans it can use your sessions."),
    ),
    h(
      "div",
      { class: "buttons" },
      button(t("Copy link"), {
        on: {
          click: async () => {
            if (await copyText(text)) toast(t("Link copied"));
            else toast(t("The browser does not allow copying."), { tone: "bad" });
          },
        },
      }),
    ),
  ]);
}

/** @param {ViewContext["api"]} api */
function newToken(api) {
  const name = t("Device paired {value}", {
    value: new Date().toISOString().slice(0, 23).replace("T", " "),
  });
  return api.request("POST", "/api/tokens", { name, scopes: DEVICE_SCOPES });
}

// --- tokens ---

/** @param {HTMLElement} node @param {ViewContext} context */
async function drawTokens(node, context) {
  const { api, store } = context;
  node.hidden = !store.access.allows("admin");
  if (node.hidden) return;
  /** @type {Json[] | null} */
  const tokens = await api.request("GET", "/api/tokens").then(
    (answer) => answer.tokens,
    () => null, // a hub that has no tokens besides its own
  );
  node.hidden = tokens === null;
  fill(
    node,
    h("h2", null, t("Access tokens")),
    tokens?.length === 0 && h("p", { class: "muted" }, t("No device has a token of its own.")),
    h(
      "ul",
      { class: "token-list" },
      (tokens ?? []).map((token) => tokenRow(token, () => drawTokens(node, context), context)),
    ),
  );
}

/** @param {Json} token @param {() => void} changed @param {ViewContext} context */
function tokenRow(token, changed, { api }) {
  const name = tokenName(String(token.name));
  const used = token.lastUsedAt
    ? t("last used {time}", { time: dateAndTime(token.lastUsedAt) })
    : t("never used");
  return h(
    "li",
    null,
    h(
      "div",
      null,
      h("strong", null, name),
      h("p", { class: "hint" }, `${scopeText(token.scopes)} · ${used}`),
    ),
    linkButton(
      t("Revoke…"),
      () =>
        confirmDialog({
          title: t("Revoke this token?"),
          text: t("“{name}” will no longer open this hub.", { name }),
          action: t("Revoke"),
          act: async () => {
            await api.request("DELETE", `/api/tokens/${encodeURIComponent(token.id)}`);
            changed();
          },
        }),
      { "aria-label": t("Revoke {name}", { name }) },
    ),
  );
}

// --- about ---

/**
 * What draws the facts of the hub, with those of the page's sessions and machines as far as it has read them.
 * @param {HTMLElement} node
 * @param {ViewContext} context
 */
function aboutSection(node, { api, store }) {
  /** @param {string} path @returns {Promise<Json>} */
  const read = (path) => api.request("GET", path).catch(() => ({}));
  const facts = Promise.all([
    read("/health"),
    read("/api/hub-status"), // for the owner of the hub only
    read("/api/storage/sqlite"),
  ]);
  return async () => {
    const [health, status, storage] = await facts;
    const versions = [...store.machines.values()]
      .map(({ metadata }) => metadata?.happyCliVersion)
      .filter(Boolean);
    fill(
      node,
      h("h2", null, t("About")),
      descriptionList([
        [t("Hub"), status.version],
        [t("Protocol"), health.protocolVersion],
        [t("Runners"), [...new Set(versions)].join(", ")],
        [t("Sessions"), store.loaded && String(store.sessions.size)],
        [t("Database"), storage.totalBytes && fileSize(storage.totalBytes)],
        [t("Address"), location.host],
      ]),
    );
  };
}
