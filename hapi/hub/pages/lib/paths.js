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
