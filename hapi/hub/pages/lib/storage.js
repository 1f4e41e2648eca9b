// What the browser keeps for the page. Its storages belong to an origin, on which hubs may be served below several paths:
// below a path all keys begin with that path, so that no hub's page reads what another's has kept. This is no protection
// against those pages, which could read it; at the root of a host keys are as they are written.

import { BASE_PATH } from "./base-path.js";

/**
 * The name under which the browser keeps what the page calls `key`; a path has no space.
 * @param {string} key
 */
export const keptName = (key, base = BASE_PATH) => (base ? `${base} ${key}` : key);

/**
 * What the page calls `name`; null if that is none of this page's.
 * @param {string} name
 */
export function keyOf(name, base = BASE_PATH) {
  const start = keptName("", base);
  return name.startsWith(start) ? name.slice(start.length) : null;
}

/**
 * A storage with this page's keys alone: `key` is null in the places of others.
 * @param {() => Storage | undefined} found workers and unit tests have none
 * @returns {Storage}
 */
export function ownPart(found, base = BASE_PATH) {
  /** @type {Pick<Storage, "length" | "key" | "getItem" | "setItem" | "removeItem">} */
  const part = {
    get length() {
      return found()?.length ?? 0;
    },
    key: (at) => keyOf(found()?.key(at) ?? "", base),
    getItem: (key) => found()?.getItem(keptName(key, base)) ?? null,
    setItem: (key, value) => found()?.setItem(keptName(key, base), value),
    removeItem: (key) => found()?.removeItem(keptName(key, base)),
  };
  return /** @type {Storage} */ (part);
}

/** Outlives the tab. */
export const deviceStorage = ownPart(() => globalThis.localStorage);
/** Ends with the tab. */
export const tabStorage = ownPart(() => globalThis.sessionStorage);
