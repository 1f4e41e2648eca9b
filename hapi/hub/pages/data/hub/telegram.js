// The page as a Mini App of Telegram: who opens it, its colours, its back button. What Telegram's clients and pages inside
// them tell each other is documented at https://core.telegram.org/api/web-events; Telegram's own script is not loaded.

import { withBase, withoutBase } from "../../lib/base-path.js";
import { errorMessage, problemOf, statusOf, Unreachable } from "../../lib/errors.js";
import { t } from "../../lib/language.js";
import { tabStorage } from "../../lib/storage.js";

/** @import { Identity } from "./identity.js" */

const STORAGE_KEY = "hapi.telegram"; // the parameters, for a reload: the address loses them
const CLIENT_ORIGIN = "https://web.telegram.org"; // of Telegram in a browser
const COLOUR = /^#[0-9a-f]{6}$/i;

/** Which of Telegram's colours the page takes. @type {Record<string, string[]>} */
const COLOURS = {
  "--page": ["secondary_bg_color", "bg_color"],
  "--surface": ["bg_color"],
  "--text": ["text_color"],
  "--accent-fill": ["button_color"],
  "--on-accent": ["button_text_color"],
};

export class MiniApp {
  /** @param {URLSearchParams} parameters */
  constructor(parameters) {
    this.initData = parameters.get("tgWebAppData") ?? "";
    this.theme = parsed(parameters.get("tgWebAppThemeParams"));
    this._isBackShown = false;
  }

  /**
   * The Mini App that the address or, after a reload, the tab says this page is; null if it is none.
   * @param {Pick<Location, "hash">} location
   * @param {Storage} storage of the tab
   */
  static find(location, storage) {
    const given = location.hash.includes("tgWebAppData=") ? location.hash.slice(1) : null;
    if (given !== null) storage.setItem(STORAGE_KEY, given);
    const kept = given ?? storage.getItem(STORAGE_KEY);
    return kept === null ? null : new MiniApp(new URLSearchParams(kept));
  }

  /**
   * Log in as the Telegram user. False if the hub does not know them yet.
   * @param {Identity} identity
   */
  async logIn(identity) {
    try {
      await identity.logInByTelegram(this.initData);
      return true;
    } catch (error) {
      if (statusOf(error) === 401 && error instanceof Error && error.message === "not_bound")
        return false;
      throw error;
    }
  }

  /**
   * Make the Telegram user known by an access token, and log in. Throws what the hub refuses.
   * @param {Identity} identity
   * @param {string} accessToken
   */
  async bind(identity, accessToken) {
    const response = await fetch(withBase("/api/bind"), {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify({ initData: this.initData, accessToken }),
    }).catch(() => {
      throw new Unreachable();
    });
    if (!response.ok) throw await problemOf(response);
    await identity.logInByTelegram(this.initData);
  }

  /**
   * Take over Telegram's look and its back button. @param {{ back: () => void, isHome: () => boolean }} page
   */
  start({ back, isHome }) {
    applyColours(this.theme);
    const receive = (/** @type {string} */ type, /** @type {any} */ data) => {
      if (type === "back_button_pressed") back();
      else if (type === "theme_changed") applyColours(data?.theme_params ?? {});
    };
    Object.assign(window, { Telegram: { WebView: { receiveEvent: receive } } });
    addEventListener("message", ({ data, origin }) => {
      if (origin !== CLIENT_ORIGIN || typeof data !== "string") return;
      const event = parsed(data);
      if (typeof event.eventType === "string") receive(event.eventType, event.eventData);
    });
    addEventListener("hapi-route", () => this._showBack(!isHome()));
    post("web_app_ready");
    post("web_app_expand");
    this._showBack(!isHome());
  }

  /** @param {boolean} isShown */
  _showBack(isShown) {
    if (isShown !== this._isBackShown) post("web_app_setup_back_button", { is_visible: isShown });
    this._isBackShown = isShown;
  }
}

/**
 * Log in as the user of Telegram, in which this page is open, and show what follows.
 * @param {{ identity: Identity, showShell: () => void, showLogin: (notice: string) => void, go: (path: string) => void }} page
 */
export async function beginMiniApp({ identity, showShell, showLogin, go }) {
  const miniApp = MiniApp.find(location, tabStorage) ?? new MiniApp(new URLSearchParams());
  const place = () => withoutBase(location.pathname);
  miniApp.start({ back: () => go(parentOf(place())), isHome: () => place() === "/" });
  try {
    if (await miniApp.logIn(identity)) showShell();
    else
      showLogin(
        t("Enter your access token once: the hub does not know your Telegram account yet."),
      );
  } catch (error) {
    showLogin(errorMessage(error));
  }
  return miniApp;
}

/** The session that a place is a part of; the start screen for all others. @param {string} path */
const parentOf = (path) => /^\/sessions\/[^/]+(?=\/)/.exec(path)?.[0] ?? "/";

/** Tell Telegram's client something, in the way of its kind. @param {string} type @param {object} [data] */
function post(type, data = {}) {
  const { TelegramWebviewProxy: proxy, external } = /** @type {any} */ (window);
  const event = JSON.stringify({ eventType: type, eventData: data });
  if (proxy) proxy.postEvent(type, JSON.stringify(data));
  else if (external && "notify" in external) external.notify(event);
  else if (window.parent !== window) window.parent.postMessage(event, CLIENT_ORIGIN);
}

/** @param {Record<string, unknown>} theme */
function applyColours(theme) {
  const { style, dataset } = document.documentElement;
  for (const [property, names] of Object.entries(COLOURS)) {
    const colour = names.map((name) => theme[name]).find(isColour);
    if (colour) style.setProperty(property, colour);
  }
  if (isColour(theme.bg_color)) dataset.theme = isDark(theme.bg_color) ? "dark" : "light";
}

/** @param {unknown} value @returns {value is string} */
const isColour = (value) => typeof value === "string" && COLOUR.test(value);

/** Whether white text is easier to read on a colour than black text. @param {string} colour as #rrggbb */
export function isDark(colour) {
  const [red, green, blue] = [1, 3, 5].map((at) => parseInt(colour.slice(at, at + 2), 16));
  return 0.299 * red + 0.587 * green + 0.114 * blue < 140; // ITU-R BT.601
}

/** @param {string | null} text @returns {Record<string, any>} */
function parsed(text) {
  try {
    return JSON.parse(text ?? "{}") ?? {};
  } catch {
    return {};
  }
}
