// The start of the page: a person who is logged in sees their sessions, anyone else the login.

import { fill } from "./lib/dom.js";
import { deviceStorage, tabStorage } from "./lib/storage.js";
import { Identity, takeTokenFromAddress } from "./data/hub/identity.js";
import { applyTheme } from "./views/settings/appearance.js";
import { loginProblem, loginView } from "./views/shell/login.js";
import { Shell } from "./views/shell/shell.js";

const root = /** @type {HTMLElement} */ (document.getElementById("app"));
const identity = new Identity(deviceStorage, tabStorage);
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
  const isMiniApp =
    location.hash.includes("tgWebAppData=") || tabStorage.getItem("hapi.telegram") !== null;
  if (isMiniApp && !shell) {
    const { beginMiniApp } = await import("./data/hub/telegram.js");
    const page = {
      identity,
      showShell,
      showLogin,
      go: (/** @type {string} */ path) => shell?.go(path),
    };
    const miniApp = await beginMiniApp(page);
    logIn = (accessToken) => miniApp.bind(identity, accessToken);
    return;
  }
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
applyTheme(deviceStorage);
addEventListener("hashchange", begin); // a link with a token was pasted into an open page
begin();
