// What the events of a session say to people. Pure.

import { ownValue } from "../../lib/format.js";
import { t } from "../../lib/language.js";
import { lineText } from "../json.js";

/** @import { Json } from "../types.js" */

/** What sessions report in short, for people. @type {Record<string, string>} */
const STATUS_TEXTS = { "Session aborted": t("The agent was stopped.") };

/** The line for an event; null if it shows nothing. @param {Json} data @returns {string | null} */
export function eventText(data) {
  switch (data.type) {
    case "message":
      return ownValue(STATUS_TEXTS, data.message) ?? lineText(data.message);
    case "error":
      return lineText(data.message);
    case "switch":
      return data.mode === "local"
        ? t("Control moved to the terminal")
        : t("Control moved to the web page");
    case "permission-mode-changed":
      return t("Permission mode changed to {mode}", { mode: lineText(data.mode) });
    case "title-changed":
      return t("Title changed to “{title}”", { title: lineText(data.title) });
    case "limit-reached":
      return t("The agent's usage limit has been reached");
    default:
      return null;
  }
}

/** Whether an event tells that something went wrong. @param {Json} data @param {string} text as people read it */
export function isFailure(data, text) {
  return (
    ["error", "limit-reached"].includes(data.type) ||
    (data.type === "message" && /failed|error/i.test(text))
  );
}
