// Style sheets that belong to views which are loaded on demand.

/** @type {Map<string, Promise<void>>} */
const loading = new Map();

/**
 * Load the style sheet at `address`, once. Resolves when it applies, and also when it could not be loaded: the view is
 * readable without it.
 * @param {string} address
 * @returns {Promise<void>}
 */
export function stylesheet(address) {
  const known = loading.get(address);
  if (known) return known;
  const link = document.createElement("link");
  link.rel = "stylesheet";
  link.href = address;
  /** @type {Promise<void>} */
  const loaded = new Promise((resolve) => {
    link.addEventListener("load", () => resolve());
    link.addEventListener("error", () => resolve());
  });
  loading.set(address, loaded);
  document.head.append(link);
  return loaded;
}
