// The notifications of this device: its push subscription, and what the hub knows of it.

import { t } from "../../lib/language.js";
import { hasServiceWorker, registerWorker } from "../../lib/browser/service-worker.js";

/**
 * @import { Api } from "./api.js"
 * @import { NotificationSettings, NotifiedDevice } from "../types.js"
 */

const DEVICE_KEY = "hapi.notifications"; // {id, endpoint} of this device at the hub
const READY_TIMEOUT = 10_000; // ms

/** @typedef {"unsupported" | "blocked" | "off" | "on"} PushState */

export class PushDevice {
  /** @param {Api} api @param {Storage} storage */
  constructor(api, storage) {
    this._api = api;
    this._storage = storage;
  }

  /** The id of this device at the hub; null while it gets no notifications. */
  get id() {
    return this._known()?.id ?? null;
  }

  /** @returns {PushState} */
  get state() {
    if (!hasServiceWorker() || !("PushManager" in globalThis) || !("Notification" in globalThis))
      return "unsupported";
    if (Notification.permission === "denied") return "blocked";
    return this.id !== null && Notification.permission === "granted" ? "on" : "off";
  }

  /** @returns {Promise<NotifiedDevice[]>} */
  async devices() {
    return (await this._api.request("GET", "/api/notifications/devices")).devices;
  }

  /** Ask the person, subscribe, and tell the hub. Throws what went wrong, in words. */
  async turnOn() {
    const permission = await Notification.requestPermission();
    if (permission !== "granted")
      throw new Error(t("The browser does not allow notifications of this page."));
    const subscription = await this._subscription();
    await this._tell(subscription, deviceName(navigator.userAgent));
  }

  /** Send nothing more to this device. */
  async turnOff() {
    const known = this._known();
    this._storage.removeItem(DEVICE_KEY);
    const registration = await registerWorker();
    const subscription = await registration?.pushManager.getSubscription();
    const endpoint = subscription?.endpoint ?? known?.endpoint;
    await subscription?.unsubscribe();
    if (endpoint) await this._api.request("DELETE", "/api/push/subscribe", { endpoint });
  }

  /** Tell the hub the subscription again if this device has notifications: either may have lost it. */
  async refresh() {
    if (this.state !== "on") return;
    await this._tell(await this._subscription());
  }

  /** @param {string} id @param {Partial<NotificationSettings>} change @returns {Promise<NotifiedDevice>} */
  change(id, change) {
    return this._api.request("PATCH", devicePath(id), change);
  }

  /** @param {string} id */
  async remove(id) {
    if (id === this.id) await this.turnOff();
    else await this._api.request("DELETE", devicePath(id));
  }

  /** @param {string} id */
  test(id) {
    return this._api.request("POST", `${devicePath(id)}/test`, {});
  }

  /** A subscription for the hub's key; one for another key is given up. */
  async _subscription() {
    const registration = await registerWorker();
    if (!registration) throw new Error(t("This page cannot receive notifications."));
    await withTimeout(navigator.serviceWorker.ready);
    const { publicKey } = await this._api.request("GET", "/api/push/vapid-public-key");
    const key = bytesOf(publicKey);
    const current = await registration.pushManager.getSubscription();
    if (current && sameBytes(current.options.applicationServerKey, key)) return current;
    await current?.unsubscribe();
    return registration.pushManager
      .subscribe({ userVisibleOnly: true, applicationServerKey: key })
      .catch((/** @type {Error} */ error) => {
        throw new Error(
          t("The browser's push service cannot be reached ({message}).", {
            message: error.message,
          }),
        );
      });
  }

  /** @param {PushSubscription} subscription @param {string} [label] */
  async _tell(subscription, label) {
    const { endpoint, keys } = subscription.toJSON();
    const body = { endpoint, keys, ...(label && { label }) };
    const { id } = await this._api.request("POST", "/api/push/subscribe", body);
    this._storage.setItem(DEVICE_KEY, JSON.stringify({ id, endpoint }));
  }

  /** @returns {{ id: string, endpoint: string } | null} */
  _known() {
    try {
      return JSON.parse(this._storage.getItem(DEVICE_KEY) ?? "null");
    } catch {
      return null;
    }
  }
}

/** @param {string} id */
const devicePath = (id) => `/api/notifications/devices/${encodeURIComponent(id)}`;

/** @param {string} text base64url */
export function bytesOf(text) {
  const binary = atob(text.replaceAll("-", "+").replaceAll("_", "/"));
  return Uint8Array.from(binary, (character) => character.charCodeAt(0));
}

/** @param {ArrayBuffer | null} buffer @param {Uint8Array} bytes */
function sameBytes(buffer, bytes) {
  if (!buffer) return false;
  const given = new Uint8Array(buffer);
  return given.length === bytes.length && given.every((byte, index) => byte === bytes[index]);
}

/**
 * What people call the device that a browser runs on, e.g. "Firefox on Android".
 * @param {string} agent the User-Agent
 */
export function deviceName(agent) {
  const browsers = [
    ["Edg", "Edge"],
    ["Firefox", "Firefox"],
    ["SamsungBrowser", "Samsung Internet"],
    ["Chrome", "Chrome"],
    ["Safari", "Safari"],
  ];
  const systems = [
    ["iPhone", "iPhone"],
    ["iPad", "iPad"],
    ["Android", "Android"],
    ["Windows", "Windows"],
    ["Mac OS", "Mac"],
    ["CrOS", "Chromebook"],
    ["Linux", "Linux"],
  ];
  const browser = browsers.find(([mark]) => agent.includes(mark))?.[1] ?? t("Browser");
  const system = systems.find(([mark]) => agent.includes(mark))?.[1];
  return system ? t("{browser} on {system}", { browser, system }) : browser;
}

/** @template T @param {Promise<T>} promise @returns {Promise<T>} */
function withTimeout(promise) {
  return new Promise((resolve, reject) => {
    const late = () => reject(new Error(t("The service worker of this page does not start.")));
    const timer = setTimeout(late, READY_TIMEOUT);
    promise.then(resolve, reject).finally(() => clearTimeout(timer));
  });
}
