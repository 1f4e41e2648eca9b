// Settings of the page itself: appearance, log out.

import { button, h } from "../../lib/dom.js";
import { openDialog } from "../../lib/dialog.js";

/** @import { Go } from "../../data/types.js" */

const THEME_KEY = "hapi.theme";
const THEMES = { auto: "System default", light: "Light", dark: "Dark" };

/** @param {Storage} storage */
export function applyTheme(storage) {
  const theme = storage.getItem(THEME_KEY);
  if (theme === "light" || theme === "dark") document.documentElement.dataset.theme = theme;
  else delete document.documentElement.dataset.theme;
}

/** @param {{ storage: Storage, go: Go, logOut: () => void }} options */
export function menuDialog({ storage, go, logOut }) {
  openDialog("Settings", (close) => {
    const current = storage.getItem(THEME_KEY) ?? "auto";
    const theme = h(
      "select",
      { id: "theme" },
      Object.entries(THEMES).map(([value, label]) =>
        h("option", { value, selected: value === current }, label),
      ),
    );
    theme.addEventListener("change", () => {
      storage.setItem(THEME_KEY, theme.value);
      applyTheme(storage);
    });
    return [
      h("div", { class: "field" }, h("label", { for: "theme" }, "Appearance"), theme),
      h(
        "div",
        { class: "buttons" },
        button("Usage of tokens", {
          on: {
            click: () => {
              close();
              go("/usage");
            },
          },
        }),
        button("Notifications", {
          on: {
            click: () => {
              close();
              go("/settings/notifications");
            },
          },
        }),
        button("Log out", {
          on: {
            click: () => {
              close();
              logOut();
            },
          },
        }),
      ),
    ];
  });
}
