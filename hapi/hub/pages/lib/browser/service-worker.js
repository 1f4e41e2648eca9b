// The page's service worker: registered once, and told the language of the page.

import { withBase } from "../base-path.js";
import { WANTED_LANGUAGE } from "../language.js";

/** @type {any} it makes the address of the worker and no other one */
let policy = null;
/** @type {Promise<ServiceWorkerRegistration | null> | null} */
let registration = null;

/** Whether this browser has service workers for this page: one with HTTPS, or on this machine. */
export const hasServiceWorker = () => "serviceWorker" in navigator;

/** The address in the form that `require-trusted-types-for` asks for where a browser knows it. */
function workerAddress() {
  const address = withBase("/service-worker.js");
  const { trustedTypes } = /** @type {any} */ (globalThis);
  if (!trustedTypes) return address;
  policy ??= trustedTypes.createPolicy("service-worker", { createScriptURL: () => address });
  return policy.createScriptURL("");
}

/**
 * The registration of the worker; null where there is none, as on a hub that serves no worker.
 * @returns {Promise<ServiceWorkerRegistration | null>}
 */
export function registerWorker() {
  if (!hasServiceWorker()) return Promise.resolve(null);
  registration ??= navigator.serviceWorker
    .register(workerAddress(), { scope: withBase("/"), updateViaCache: "none" })
    .then((made) => {
      void made.update().catch(() => {}); // browsers may put off the look at a known one for minutes
      void navigator.serviceWorker.ready.then(({ active }) =>
        active?.postMessage({ type: "language", language: WANTED_LANGUAGE }),
      );
      return made;
    })
    .catch(() => {
      registration = null; // the page works without it
      return null;
    });
  return registration;
}
