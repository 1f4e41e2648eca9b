// What a person has entered for an agent's request and not sent yet: kept on the device, so that it outlives a reload.

import { deviceStorage } from "../../lib/storage.js";
import { ANSWERS_KEY } from "./drafts.js";

const MAX_REQUESTS = 50; // of which what was entered is kept

/** @typedef {Record<string, string[]>} Entered by field of the form */

/** @param {Storage} storage @returns {Record<string, Entered>} by request, the one that was changed last at the end */
function stored(storage) {
  try {
    const found = JSON.parse(storage.getItem(ANSWERS_KEY) ?? "{}");
    return found !== null && typeof found === "object" ? found : {};
  } catch {
    return {}; // another program's, or cut off: as if nothing had been entered
  }
}

/**
 * What was entered in a field; undefined if nothing was.
 * @param {string} requestId
 * @param {string} field
 * @param {Storage} [storage]
 * @returns {string[] | undefined}
 */
export function enteredAnswer(requestId, field, storage = deviceStorage) {
  const request = stored(storage)[requestId];
  const values = request && Object.hasOwn(request, field) ? request[field] : undefined;
  return Array.isArray(values) ? values.map(String) : undefined;
}

/**
 * @param {string} requestId
 * @param {string} field
 * @param {string[]} values
 * @param {Storage} [storage]
 */
export function keepAnswer(requestId, field, values, storage = deviceStorage) {
  const { [requestId]: before, ...others } = stored(storage);
  const kept = Object.entries(others).slice(1 - MAX_REQUESTS);
  put(storage, Object.fromEntries([...kept, [requestId, { ...before, [field]: values }]]));
}

/** Forget what was entered for a request that is answered. @param {string} requestId @param {Storage} [storage] */
export function forgetAnswer(requestId, storage = deviceStorage) {
  const { [requestId]: answered, ...others } = stored(storage);
  if (answered !== undefined) put(storage, others);
}

/** @param {Storage} storage @param {Record<string, Entered>} entered */
function put(storage, entered) {
  try {
    storage.setItem(ANSWERS_KEY, JSON.stringify(entered));
  } catch {
    // The storage is full or forbidden: what is entered lives as long as the form.
  }
}
