// The sessions whose titles or directories have what is searched for: the hub searches messages only.

import { sessionAddress } from "../../data/addresses.js";
import { nameParts, wordsOf } from "../../data/records/search.js";
import { lastPart } from "../../data/sessions/session-list.js";
import { isWorthListing, titleOf } from "../../data/sessions/sessions.js";
import { button, fill, followLink, h } from "../../lib/dom.js";
import { dateAndTime, isoTime } from "../../lib/format.js";
import { t } from "../../lib/language.js";

/**
 * @import { Store } from "../../data/store/store.js"
 * @import { Go, Session } from "../../data/types.js"
 */

/** @typedef {{ text: string, isMatch: boolean }[]} Parts */
/** @typedef {{ session: Session, kind: "title" | "directory", parts: Parts }} SessionMatch */

const MAX_SHOWN = 5; // until all are asked for
/** @type {Record<SessionMatch["kind"], string>} */
const KIND_LABELS = { title: t("Title"), directory: t("Directory") };

/** @param {{ store: Store, go: Go }} context */
export function sessionMatches({ store, go }) {
  const node = h("div", { class: "found", hidden: true });
  let shownText = "";
  let shownVersion = "";
  let showsAll = false;

  /** @param {string} text that is searched for @returns {boolean} whether there are such sessions */
  function draw(text) {
    if (text !== shownText) showsAll = false;
    shownText = text;
    const found = matchesOf(store.sessions.values(), wordsOf(text));
    const shown = showsAll ? found : found.slice(0, MAX_SHOWN);
    const facts = shown.map(({ session, parts }) => [session.id, titleOf(session), parts]);
    const version = JSON.stringify([facts, found.length]);
    if (version !== shownVersion) drawResults(shown, found.length);
    shownVersion = version;
    return found.length > 0;
  }

  /** @param {SessionMatch[]} shown @param {number} count */
  function drawResults(shown, count) {
    node.hidden = count === 0;
    const showAll = () => {
      showsAll = true;
      draw(shownText);
    };
    fill(
      node,
      h(
        "section",
        { "aria-label": t("Sessions") },
        h("h2", null, t("Sessions")),
        h(
          "ul",
          null,
          shown.map((match) => h("li", null, result(match))),
        ),
        shown.length < count &&
          button(t("Show all {count} sessions", { count }), { on: { click: showAll } }),
      ),
    );
  }

  /** @param {SessionMatch} match */
  function result({ session, kind, parts }) {
    const address = sessionAddress(session.id);
    return h(
      "a",
      { class: "result", href: address, on: { click: followLink(go, address) } },
      h(
        "span",
        { class: "result-head muted" },
        h("span", null, KIND_LABELS[kind]),
        h("time", { datetime: isoTime(session.updatedAt) }, dateAndTime(session.updatedAt)),
      ),
      kind === "directory" && h("span", { class: "result-text" }, titleOf(session)),
      h("span", { class: "result-text" }, marked(parts)),
    );
  }

  return { node, draw };
}

/**
 * The sessions whose titles or directories have all words, the latest first.
 * @param {Iterable<Session>} sessions
 * @param {string[]} words
 */
function matchesOf(sessions, words) {
  /** @type {SessionMatch[]} */
  const found = [];
  for (const session of sessions) {
    if (!isWorthListing(session)) continue;
    const title = nameParts(titleOf(session), words);
    const directory = title ?? nameParts(lastPart(session.metadata?.path ?? ""), words);
    if (title) found.push({ session, kind: "title", parts: title });
    else if (directory) found.push({ session, kind: "directory", parts: directory });
  }
  return found.sort((one, other) => other.session.updatedAt - one.session.updatedAt);
}

/** A text with what was searched for marked in it. @param {Parts} parts */
export function marked(parts) {
  return parts.map(({ text, isMatch }) => (isMatch ? h("mark", null, text) : text));
}
