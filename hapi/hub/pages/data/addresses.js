// The page's own addresses. Ids may hold any text, so each is encoded as one segment of the path.

/** @param {string} id @returns {string} */
export const sessionAddress = (id) => `/sessions/${encodeURIComponent(id)}`;

/** @param {string} id @returns {string} */
export const machineAddress = (id) => `/machines/${encodeURIComponent(id)}`;

/**
 * What an address of the page shows.
 * @param {string} pathname
 * @returns {{ kind: "home" } | { kind: "sessions" | "machines", id: string }}
 */
export function routeOf(pathname) {
  const match = /^\/(sessions|machines)\/([^/]+)\/?$/.exec(pathname);
  const id = match && decoded(match[2]);
  if (!match || id === null) return { kind: "home" };
  return { kind: match[1] === "sessions" ? "sessions" : "machines", id };
}

/** The text of a percent-encoded segment; null if it is malformed. @param {string} segment */
function decoded(segment) {
  try {
    return decodeURIComponent(segment);
  } catch {
    return null;
  }
}
