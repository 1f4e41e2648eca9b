// The path below which the page is served: "" at the root of a host, "/hapi" behind a proxy's `location /hapi/`.
//
// Everywhere else in the page a path begins at the page's own root, as "/sessions/ID" and "/api/sessions" do. The base
// path is added where a path leaves the page (links, pictures, requests, the address bar) and removed where one comes in.

/**
 * The base path of the page that loads a module: modules are served below `BASE/assets/BUILD/`, or below `BASE/`.
 * @param {string} module the URL of this module
 */
export function basePathOf(module) {
  const { protocol, pathname } = new URL("../", module);
  if (!protocol.startsWith("http")) return ""; // a unit test
  return pathname.replace(/\/assets\/[0-9a-f]+\/$/, "/").replace(/\/$/, "");
}

export const BASE_PATH = basePathOf(import.meta.url);

/** The build that an address or a document names; null if it names none. @param {string} text */
export const buildIn = (text) => /assets\/([0-9a-f]+)\//.exec(text)?.[1] ?? null;

/** The build of this page. */
export const BUILD = buildIn(import.meta.url);

/**
 * The path under which the browser finds what the page calls `path`.
 * @param {string} path
 */
export function withBase(path, base = BASE_PATH) {
  return path.startsWith("/") && !path.startsWith("//") ? base + path : path;
}

/**
 * The page's own path for the path in the address bar.
 * @param {string} pathname
 */
export function withoutBase(pathname, base = BASE_PATH) {
  return pathname.startsWith(`${base}/`) ? pathname.slice(base.length) : pathname;
}
