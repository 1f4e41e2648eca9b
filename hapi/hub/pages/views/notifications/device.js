// What keeps the notifications of this device current while a page is open.

import { PushDevice } from "../../data/hub/push.js";
import { pendingCount } from "../../data/sessions/sessions.js";
import { withBase } from "../../lib/base-path.js";
import { hasServiceWorker, registerWorker } from "../../lib/browser/service-worker.js";
import { deviceStorage } from "../../lib/storage.js";

/**
 * @import { Api } from "../../data/hub/api.js"
 * @import { Store } from "../../data/store/store.js"
 * @import { Go } from "../../data/types.js"
 */

const FORGET_TIMEOUT = 3000; // ms; logging out does not wait longer

/**
 * Register the service worker, tell the hub this device's subscription again, open what the worker asks for, and close
 * notifications of what is on screen.
 * @param {{ api: Api, store: Store, go: Go, signal: AbortSignal }} options
 */
export async function startDevice({ api, store, go, signal }) {
  const registration = await registerWorker();
  if (!registration || signal.aborted) return;
  navigator.serviceWorker.addEventListener(
    "message",
    ({ data, source }) => {
      const worker = /** @type {ServiceWorker | null} */ (source)?.scriptURL; // another hub's may be in charge of the root
      const isOwn = worker === new URL(withBase("/service-worker.js"), location.href).href;
      if (isOwn && data?.type === "open" && typeof data.path === "string") go(data.path);
    },
    { signal },
  );
  let shown = "";
  const closeSeen = () => {
    const session = store.openId === null ? undefined : store.sessions.get(store.openId);
    if (!session || document.visibilityState !== "visible") return;
    const isWaiting = pendingCount(session) > 0;
    const version = `${session.id} ${isWaiting} ${session.thinking}`;
    if (version === shown) return;
    shown = version;
    closeNotifications(registration, session.id, isWaiting);
  };
  signal.addEventListener("abort", store.watch(closeSeen));
  const whenVisible = () => {
    shown = "";
    closeSeen();
  };
  document.addEventListener("visibilitychange", whenVisible, { signal });
  closeSeen();
  await new PushDevice(api, deviceStorage).refresh().catch(() => {}); // at the next visit, then
}

/** @param {ServiceWorkerRegistration} registration @param {string} id @param {boolean} isWaiting */
async function closeNotifications(registration, id, isWaiting) {
  const notifications = await registration.getNotifications();
  for (const notification of notifications) {
    const { sessionId, type } = notification.data ?? {};
    if (sessionId === id && !(isWaiting && type === "permission-request")) notification.close();
  }
}

/** End the notifications of this device, as the person logs out. @param {Api} api */
export async function forgetDevice(api) {
  const device = new PushDevice(api, deviceStorage);
  if (!hasServiceWorker() || device.id === null) return;
  const late = new Promise((resolve) => {
    setTimeout(resolve, FORGET_TIMEOUT);
  });
  await Promise.race([device.turnOff(), late]);
}
