// Installing the page as an app: browsers offer it by an event that comes once, soon after the page was loaded.

/** The browser's offer, which the start of the page keeps. */
const theWindow = /** @type {any} */ (globalThis);

/** Whether the page runs as an app already. */
export function isInstalled() {
  const { standalone } = /** @type {any} */ (navigator);
  return standalone === true || matchMedia("(display-mode: standalone)").matches;
}

/** Whether the browser can install the page now. */
export const canInstall = () => Boolean(theWindow.installOffer) && !isInstalled();

/** Whether installing is up to the person: Safari on iPhone and iPad has no way for pages to offer it. */
export function needsHomeScreen() {
  const isTouchMac = navigator.userAgent.includes("Mac OS X") && navigator.maxTouchPoints > 1;
  return !isInstalled() && (/iPhone|iPad/.test(navigator.userAgent) || isTouchMac);
}

/** Ask the person. @returns {Promise<boolean>} whether they have installed it */
export async function install() {
  const event = theWindow.installOffer;
  theWindow.installOffer = null;
  if (!event) return false;
  await event.prompt();
  return (await event.userChoice).outcome === "accepted";
}
