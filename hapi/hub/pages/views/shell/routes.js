// Which view each place of the page shows. The hub reads this table too and has the browser preload the module of the place
// that is visited, so each entry stays on a line of its own.

/** @import { ViewModule } from "../../data/types.js" */

/** @type {Record<string, (() => Promise<ViewModule>) | undefined>} by place, see `PLACES`; a place without a view shows the start screen */
export const VIEWS = {
  "sessions/*": () => import("../chat/chat.js"),
  "sessions/*/changes": () => import("../work/changes.js"),
  "sessions/*/files": () => import("../work/files.js"),
  "sessions/*/history": () => import("../work/history.js"),
  "sessions/*/terminal": () => import("../terminal/terminal.js"),
  "machines/*": () => import("../machine/machine.js"),
  search: () => import("../search/search.js"),
  waiting: () => import("../waiting/waiting.js"),
  usage: () => import("../usage/usage.js"),
  settings: () => import("../settings/settings.js"),
  "settings/notifications": () => import("../notifications/notifications.js"),
};
