// Paths: what a person types, and how they are shown.

/**
 * The absolute form of a path that a person typed.
 * @param {string} path
 * @param {string | null | undefined} home
 */
export function expandHome(path, home) {
  const typed = path.trim();
  if (home && (typed === "~" || typed.startsWith("~/"))) return home + typed.slice(1);
  return typed.length > 1 ? typed.replace(/\/+$/, "") || "/" : typed;
}

/**
 * The directory in which a path that is being typed stands, and what is typed of its last name; null while it is not absolute.
 * @param {string} typed
 * @param {string | null | undefined} home
 * @returns {{ directory: string, name: string } | null}
 */
export function typedPlace(typed, home) {
  const isHome = home && /^~(?:$|\/)/.test(typed.trim());
  const path = isHome ? `${home}${typed.trim().slice(1) || "/"}` : typed.trim();
  if (!path.startsWith("/")) return null;
  const cut = path.lastIndexOf("/");
  return { directory: path.slice(0, cut).replace(/\/+$/, "") || "/", name: path.slice(cut + 1) };
}

/**
 * Whether `path` is absolute, on Unix or on Windows.
 * @param {string} path
 */
export function isAbsolute(path) {
  return /^(\/|[A-Za-z]:[\\/])/.test(path);
}

/**
 * The parts of a path, each with the separator after it: "/home/dev/shop" has "/home/", "dev/" and "shop".
 * @param {string} path
 */
export function pathParts(path) {
  const parts = /^[A-Za-z]:\\/.test(path) ? /[^\\/]+[\\/]*/g : /\/*[^/]+\/*/g;
  return path.match(parts) ?? [path];
}
