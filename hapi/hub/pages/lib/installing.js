// Installing the page as an app: browsers offer it by an event that comes once, soon after the page was loaded.

/** @type {any} */
let offer = null;

/** Keep the browser's offer. Called once, when the page starts. */
export function watchForInstallation() {
  addEventListener("beforeinstallprompt", (event) => {
    event.preventDefault(); // no banner of the browser
    offer = event;
    dispatchEvent(new Event("hapi-installable"));
  });
  addEventListener("appinstalled", () => {
    offer = null;
  });
}

/** Whether the page runs as an app already. */
export function isInstalled() {
  const { standalone } = /** @type {any} */ (navigator);
  return standalone === true || matchMedia("(display-mode: standalone)").matches;
}

/** Whether the browser can install the page now. */
export const canInstall = () => offer !== null && !isInstalled();

/** Whether installing is up to the person: Safari on iPhone and iPad has no way for pages to offer it. */
export function needsHomeScreen() {
  const isTouchMac = navigator.userAgent.includes("Mac OS X") && navigator.maxTouchPoints > 1;
  return !isInstalled() && (/iPhone|iPad/.test(navigator.userAgent) || isTouchMac);
}

/** Ask the person. @returns {Promise<boolean>} whether they have installed it */
export async function install() {
  const event = offer;
  offer = null;
  if (!event) return false;
  await event.prompt();
  return (await event.userChoice).outcome === "accepted";
}
