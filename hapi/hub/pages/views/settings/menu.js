// The page's own menu: light or dark, log out.

import { h } from "../../lib/dom.js";
import { openDialog } from "../../lib/dialog.js";

const KEY = "hapi.theme";
const THEMES = { auto: "As the system", light: "Light", dark: "Dark" };

export function useTheme(storage) {
  const theme = storage.getItem(KEY);
  if (theme === "light" || theme === "dark") document.documentElement.dataset.theme = theme;
  else delete document.documentElement.dataset.theme;
}

export function menuDialog({ storage, leave }) {
  return openDialog("Settings", (close) => {
    const theme = h("select", { id: "theme" }, Object.entries(THEMES).map(([value, label]) => h("option", { value, selected: value === (storage.getItem(KEY) ?? "auto") }, label)));
    theme.addEventListener("change", () => { storage.setItem(KEY, theme.value); useTheme(storage); });
    return [
      h("div", { class: "field" }, h("label", { for: "theme" }, "Appearance"), theme),
      h("div", { class: "buttons" }, h("button", { type: "button", class: "button", on: { click: () => { close(); leave(); } } }, "Log out")),
    ];
  });
}
