// Files of other projects (vendor/list.json has them with their versions). Each is loaded when it is first needed.

/**
 * The address of a file below `vendor`.
 * @param {string} path
 */
export function vendoredAddress(path) {
  return new URL(`../vendor/${path}`, import.meta.url).href;
}
