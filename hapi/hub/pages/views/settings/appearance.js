// How the page looks on this device: theme and font size.

import { t } from "../../lib/language.js";

export const THEME_KEY = "hapi.theme";
export const FONT_SIZE_KEY = "hapi.fontSize";
/** @type {Record<string, string>} */
export const THEMES = { auto: t("System default"), light: t("Light"), dark: t("Dark") };
/** In percent. @type {Record<string, string>} */
export const FONT_SIZES = {
  85: t("Small"),
  100: t("Standard"),
  115: t("Large"),
  130: t("Larger"),
  150: t("Largest"),
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
