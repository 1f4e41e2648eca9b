// How many tokens were used, by day, agent and model, and how large the hub's database is.

import { button, fill, h, iconButton } from "../../lib/dom.js";
import { errorMessage } from "../../lib/errors.js";
import { fileSize } from "../../lib/format.js";
import { LOCALE, plural, t } from "../../lib/language.js";
import { stylesheet } from "../../lib/stylesheet.js";
import {
  compactCount,
  dayName,
  RANGES,
  withDaysBetween,
} from "../../data/records/usage-summary.js";

/** @import { UsageOf, UsageSummary, View, ViewContext } from "../../data/types.js" */

const DEFAULT_RANGE = "7d";

/** @param {ViewContext} context @returns {View} */
export function view({ api, store, go, query }) {
  stylesheet(new URL("../../style/records.css", import.meta.url).href);
  const timeZone = Intl.DateTimeFormat().resolvedOptions().timeZone;
  let range = rangeOf(query);
  /** @type {UsageSummary | null} */
  let summary = null;
  /** @type {unknown} the catalog whose names of agents are shown */
  let catalog = null;
  const content = h("div", { class: "stack" });
  const storage = h("p", { class: "muted" });
  const ranges = h("div", { class: "ranges", role: "group", "aria-label": t("Time") });
  const node = h(
    "main",
    { class: "main" },
    h(
      "header",
      { class: "main-head" },
      iconButton("back", t("Back to sessions"), {
        class: "only-phone",
        on: { click: () => go("/") },
      }),
      h("div", { class: "head-main" }, h("h1", null, t("Usage"))),
    ),
    h("div", { class: "page usage-page" }, ranges, content, storage),
  );

  function drawRanges() {
    fill(
      ranges,
      Object.entries(RANGES).map(([name, label]) =>
        button(label, {
          "aria-pressed": String(name === range),
          on: { click: () => go(`/usage?range=${name}`) },
        }),
      ),
    );
  }

  function drawSummary() {
    if (!summary) return;
    catalog = store.catalog;
    fill(
      content,
      summaryNodes(summary, (key) => store.catalog.label(key)),
    );
  }

  async function read() {
    const asked = range;
    drawRanges();
    try {
      const found = await api.usage(asked, timeZone);
      if (asked !== range) return;
      summary = found;
      drawSummary();
    } catch (error) {
      summary = null;
      fill(content, h("p", { class: "problem", role: "alert" }, errorMessage(error)));
    }
  }

  async function readStorage() {
    try {
      const { totalBytes, path } = await api.storage();
      storage.textContent = t("The hub’s database takes {size}: {path}", {
        size: fileSize(totalBytes),
        path,
      });
    } catch {
      storage.hidden = true; // only the owner of the hub may see it
    }
  }

  return {
    node,
    draw() {
      if (catalog !== store.catalog) drawSummary(); // the names of agents have come meanwhile
    },
    start: () => Promise.all([read(), readStorage()]),
    title: () => t("Usage"),
    navigate(next) {
      range = rangeOf(next);
      read();
    },
  };
}

/** @param {URLSearchParams} query */
function rangeOf(query) {
  const asked = query.get("range") ?? "";
  return Object.hasOwn(RANGES, asked) ? asked : DEFAULT_RANGE;
}

/** @param {UsageSummary} summary @param {(flavor: string) => string} label */
function summaryNodes({ totals, daily, byAgent, byModel, range }, label) {
  if (totals.requests === 0)
    return h(
      "p",
      { class: "empty-note" },
      t("No tokens were used in this time. Choose a longer one, or start a session."),
    );
  return [
    h(
      "div",
      { class: "figures" },
      figure(compactCount(totals.totalTokens), t("tokens")),
      figure(compactCount(totals.inputTokens), t("input")),
      figure(compactCount(totals.outputTokens), t("output")),
      figure(compactCount(totals.cacheReadTokens), t("read from cache")),
      figure(compactCount(totals.cacheCreationTokens), t("written to cache")),
      figure(String(totals.requests), plural(totals.requests, "request", "requests")),
      figure(String(totals.sessions), plural(totals.sessions, "session", "sessions")),
    ),
    bars(t("By day"), withDaysBetween(daily, range), dayName),
    bars(t("By agent"), byAgent, label),
    bars(t("By model"), byModel, (key) => key),
  ];
}

/** @param {string} value @param {string} name */
function figure(value, name) {
  return h("div", { class: "figure" }, h("b", null, value), h("span", null, name));
}

/** @param {string} title @param {UsageOf[]} rows @param {(key: string) => string} label */
function bars(title, rows, label) {
  const highest = Math.max(1, ...rows.map((row) => row.totalTokens));
  return h(
    "section",
    null,
    h("h2", null, title),
    h(
      "table",
      { class: "bars" },
      h(
        "tbody",
        null,
        rows.map((row) =>
          h(
            "tr",
            null,
            h("th", { scope: "row", class: "name", title: row.key }, label(row.key)),
            h(
              "td",
              { class: "bar" },
              h("meter", {
                min: 0,
                max: highest,
                value: row.totalTokens,
                "aria-label": t("{name}: {count} tokens", {
                  name: label(row.key),
                  count: row.totalTokens.toLocaleString(LOCALE),
                }),
              }),
            ),
            h(
              "td",
              {
                title: plural(
                  row.requests,
                  "{tokens} tokens, {count} request",
                  "{tokens} tokens, {count} requests",
                  { tokens: row.totalTokens.toLocaleString(LOCALE) },
                ),
              },
              compactCount(row.totalTokens),
            ),
          ),
        ),
      ),
    ),
  );
}
