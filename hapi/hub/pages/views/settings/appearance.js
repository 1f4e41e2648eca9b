// How the page looks on this device: theme and font size.

export const THEME_KEY = "hapi.theme";
export const FONT_SIZE_KEY = "hapi.fontSize";
/** @type {Record<string, string>} */
export const THEMES = { auto: "System default", light: "Light", dark: "Dark" };
/** In percent. @type {Record<string, string>} */
export const FONT_SIZES = {
  85: "Small",
  100: "Standard",
  115: "Large",
  130: "Larger",
  150: "Largest",
};
const STANDARD_SIZE = 15; // px; style/base.css has the same

/** @param {Storage} storage */
export function applyTheme(storage) {
  const root = document.documentElement;
  const theme = storage.getItem(THEME_KEY);
  if (theme === "light" || theme === "dark") root.dataset.theme = theme;
  else delete root.dataset.theme;
  const size = storage.getItem(FONT_SIZE_KEY) ?? "100";
  const isOther = size !== "100" && Object.hasOwn(FONT_SIZES, size);
  root.style.fontSize = isOther ? `${(STANDARD_SIZE * Number(size)) / 100}px` : "";
}
