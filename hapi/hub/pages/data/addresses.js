// The page's own addresses. Ids may hold any text, so each is encoded as one segment of the path.

/** @import { Route } from "./types.js" */

/** What the page can show, by the shape of its path. A star stands for one segment of any text. */
export const PLACES = /** @type {const} */ ([
  "sessions/*",
  "sessions/*/changes",
  "sessions/*/files",
  "sessions/*/history",
  "sessions/*/terminal",
  "machines/*",
  "search",
  "usage",
  "waiting",
  "settings",
  "settings/notifications",
  "settings/*",
  "share/*",
]);
const HOME = "";

/** @param {string} id @returns {string} */
export const sessionAddress = (id) => `/sessions/${encodeURIComponent(id)}`;

/** @param {string} id @returns {string} */
export const machineAddress = (id) => `/machines/${encodeURIComponent(id)}`;

/**
 * The address of a part of a session, e.g. `/sessions/ID/files?path=src%2Fapp.py&line=12`.
 * @param {string} id
 * @param {"changes" | "files" | "history" | "terminal"} part
 * @param {Record<string, string | number | null | undefined>} [query] without those that are null or undefined
 */
export function sessionPartAddress(id, part, query = {}) {
  const given = Object.entries(query).flatMap(([name, value]) =>
    value === null || value === undefined ? [] : [[name, String(value)]],
  );
  const search = new URLSearchParams(given).toString();
  return `${sessionAddress(id)}/${part}${search && `?${search}`}`;
}

/**
 * What an address of the page shows. A path that names no place shows the start screen.
 * @param {string} pathname
 * @param {string} [search] with its question mark
 * @returns {Route}
 */
export function routeOf(pathname, search = "") {
  const segments = pathname.replace(/^\//, "").replace(/\/$/, "").split("/");
  const query = new URLSearchParams(search);
  const place = PLACES.find((shape) => isShape(shape.split("/"), segments));
  if (!place) return { place: HOME, id: "", query };
  const star = place.split("/").indexOf("*");
  const id = star < 0 ? "" : decoded(segments[star]);
  return id === null ? { place: HOME, id: "", query } : { place, id, query };
}

/** The session that a route is about; null if it is about none. @param {Route} route */
export function sessionOf({ place, id }) {
  return place.startsWith("sessions/") ? id : null;
}

/** @param {string[]} shape @param {string[]} segments */
function isShape(shape, segments) {
  return (
    shape.length === segments.length &&
    shape.every((part, index) => (part === "*" ? segments[index] !== "" : part === segments[index]))
  );
}

/** The text of a percent-encoded segment; null if it is malformed. @param {string} segment */
function decoded(segment) {
  try {
    return decodeURIComponent(segment);
  } catch {
    return null;
  }
}
