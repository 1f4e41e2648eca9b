// The start of the page: a person who is logged in sees their sessions, anyone else the login.

import { fill } from "./lib/dom.js";
import { withoutBase } from "./lib/base-path.js";
import { Identity, takeTokenFromAddress } from "./data/identity.js";
import { applyTheme } from "./views/settings/appearance.js";
import { loginProblem, loginView } from "./views/shell/login.js";
import { Shell } from "./views/shell/shell.js";

const root = /** @type {HTMLElement} */ (document.getElementById("app"));
const identity = new Identity(localStorage, sessionStorage);
/** @type {Shell | null} */
let shell = null;

/** Log in with an access token. @param {string} token @param {boolean} keep */
let logIn = (token, keep) => identity.login(token, keep);

/** @param {string} [notice] */
function showLogin(notice) {
  shell?.stop();
  shell = null;
  document.title = "HAPI";
  const view = loginView({
    notice,
    async login(token, keep) {
      await logIn(token, keep);
      showShell();
    },
  });
  fill(root, view.node);
  view.focus();
}

function showShell() {
  shell?.stop();
  shell = new Shell(identity, showLogin);
  fill(root, shell.nodes);
  shell.start();
}

/** Log in with the token of the address, if there is one. */
async function begin() {
  const token = takeTokenFromAddress(location, history);
  const isMiniApp = location.hash.includes("tgWebAppData=") || "hapi.telegram" in sessionStorage;
  if (isMiniApp && !shell && (await beginMiniApp())) return;
  if (token !== null) {
    try {
      await identity.login(token, true);
      showShell();
    } catch (error) {
      showLogin(loginProblem(error));
    }
  } else if (!shell) {
    if (identity.accessToken) showShell();
    else showLogin();
  }
}

/** Log in as the user of Telegram, in which this page is open. Whether that decides what is shown. */
async function beginMiniApp() {
  const { MiniApp } = await import("./data/telegram.js");
  const miniApp = MiniApp.find(location, sessionStorage);
  if (!miniApp) return false;
  miniApp.start({
    back: () => shell?.go(parentOf(withoutBase(location.pathname))),
    isHome: () => withoutBase(location.pathname) === "/",
  });
  logIn = (token) => miniApp.bind(identity, token);
  try {
    if (await miniApp.logIn(identity)) showShell();
    else
      showLogin("Enter your access token once: the hub does not know your Telegram account yet.");
  } catch (error) {
    showLogin(loginProblem(error));
  }
  return true;
}

/** The place that a part of a session belongs to; the start screen for all others. @param {string} path */
const parentOf = (path) => /^\/sessions\/[^/]+(?=\/)/.exec(path)?.[0] ?? "/";

/** The document's relative addresses count from the place where it was loaded, also when the page shows another one. */
function settleAddresses() {
  /** @type {NodeListOf<HTMLLinkElement>} */
  const links = document.querySelectorAll('link:not([rel="stylesheet"], [rel="modulepreload"])');
  for (const link of links) link.setAttribute("href", link.href);
}

settleAddresses();
addEventListener("beforeinstallprompt", (event) => {
  event.preventDefault(); // no banner of the browser
  Object.assign(window, { installOffer: event });
  dispatchEvent(new Event("hapi-installable"));
});
applyTheme(localStorage);
addEventListener("hashchange", begin); // a link with a token was pasted into an open page
begin();
