// What was written last on this device, as suggestions for the next session.

const KEY = "hapi.recent-prompts";
const MAX_KEPT = 4;
const MAX_LENGTH = 200; // characters; longer texts are about one thing only

/** @param {Storage} storage @returns {string[]} the latest first */
export function recentPrompts(storage) {
  try {
    const listed = JSON.parse(storage.getItem(KEY) ?? "[]");
    return listed.filter((/** @type {unknown} */ text) => typeof text === "string");
  } catch {
    return []; // cut off: as if there were none
  }
}

/** @param {Storage} storage @param {string} text */
export function keepPrompt(storage, text) {
  const written = text.trim();
  if (!written || written.length > MAX_LENGTH || written.startsWith("/")) return;
  const others = recentPrompts(storage).filter((other) => other !== written);
  try {
    storage.setItem(KEY, JSON.stringify([written, ...others].slice(0, MAX_KEPT)));
  } catch {
    // The storage is full or forbidden: there are fewer suggestions.
  }
}

/** @param {Storage} storage */
export function forgetPrompts(storage) {
  storage.removeItem(KEY);
}
