// What a person has chosen for this device.

const ENTER_KEY = "hapi.enter";

/** What the Enter key does in the composer; `auto`: it sends where there is a keyboard. @typedef {"auto" | "send" | "newline"} EnterChoice */

/** @param {Storage} storage @returns {EnterChoice} */
export function enterChoice(storage) {
  const chosen = storage.getItem(ENTER_KEY);
  return chosen === "send" || chosen === "newline" ? chosen : "auto";
}

/** @param {Storage} storage @param {string} choice */
export function setEnterChoice(storage, choice) {
  if (choice === "send" || choice === "newline") storage.setItem(ENTER_KEY, choice);
  else storage.removeItem(ENTER_KEY);
}

const ALOUD_KEY = "hapi.read-aloud";

/** Whether answers are read aloud as soon as a turn has ended. @param {Storage} storage */
export function readsAloud(storage) {
  return storage.getItem(ALOUD_KEY) === "yes";
}

/** @param {Storage} storage @param {boolean} isWanted */
export function setReadsAloud(storage, isWanted) {
  if (isWanted) storage.setItem(ALOUD_KEY, "yes");
  else storage.removeItem(ALOUD_KEY);
}

/**
 * Whether a press of Enter sends the message. With Ctrl or Cmd it always does, with Shift never.
 * @param {{ ctrlKey: boolean, metaKey: boolean, shiftKey: boolean }} event
 * @param {EnterChoice} choice
 * @param {boolean} hasKeyboard
 */
export function enterSends({ ctrlKey, metaKey, shiftKey }, choice, hasKeyboard) {
  if (ctrlKey || metaKey) return true;
  if (shiftKey) return false;
  return choice === "auto" ? hasKeyboard : choice === "send";
}
