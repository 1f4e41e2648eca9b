// Files of other projects (vendor/list.json has them with their versions). Each is loaded when it is first needed.

/**
 * The address of a file below `vendor`.
 * @param {string} path
 */
export function vendoredAddress(path) {
  return new URL(`../vendor/${path}`, import.meta.url).href;
}

/** @type {Set<string>} */
const linked = new Set();

/**
 * Add a style sheet to the page, once.
 * @param {string} address
 */
export function addStyle(address) {
  if (linked.has(address)) return;
  linked.add(address);
  const link = document.createElement("link");
  link.rel = "stylesheet";
  link.href = address;
  document.head.append(link);
}
