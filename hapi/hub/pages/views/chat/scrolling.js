// Scrolling of a conversation: it follows new messages while its end is in view, and stays where a person reads otherwise.

import { h, icon } from "../../lib/dom.js";
import { t } from "../../lib/language.js";

const END_DISTANCE = 80; // px; closer than this counts as at the end
const TOP_DISTANCE = 200; // px; closer than this loads earlier messages
const BOTTOM_DISTANCE = 400; // px; closer than this loads later messages, where they have not been read

/**
 * @param {HTMLElement} log scrolls
 * @param {HTMLElement} content may grow or shrink
 * @param {object} options
 * @param {() => void} options.onTop called when the top comes near
 * @param {() => void} [options.onBottom] called when the bottom comes near and is not the end
 * @param {() => boolean} [options.hasNewer] whether the end of the conversation is not in `content`
 * @param {() => void} [options.toLatest] brings it there
 */
export function followEnd(
  log,
  content,
  { onTop, onBottom = () => {}, hasNewer = () => false, toLatest = () => {} },
) {
  const jump = h(
    "button",
    {
      type: "button",
      class: "jump",
      hidden: true,
      "aria-label": t("Jump to latest"),
      on: { click: () => (hasNewer() ? toLatest() : toEnd()) },
    },
    icon("down"),
  );
  let atEnd = true;
  let end = 0; // px; the largest scrollTop when the end was last followed
  const endNow = () => log.scrollHeight - log.clientHeight;

  log.addEventListener(
    "scroll",
    () => {
      // What has grown since, e.g. by a picture, is no way that a person has scrolled; it is followed below.
      atEnd = !hasNewer() && Math.min(end, endNow()) - log.scrollTop < END_DISTANCE;
      jump.hidden = atEnd;
      if (endNow() - log.scrollTop < BOTTOM_DISTANCE && hasNewer()) onBottom();
      if (log.scrollTop < TOP_DISTANCE) onTop();
    },
    { passive: true },
  );
  const resized = new ResizeObserver(() => followOrStay());
  resized.observe(log);
  resized.observe(content);

  function toEnd() {
    log.scrollTop = log.scrollHeight;
  }

  function followOrStay() {
    if (atEnd) toEnd();
    end = endNow();
  }

  return {
    jump,
    /** Show the end from now on. */
    follow: () => {
      atEnd = true;
    },
    /** To be called after each redraw. */
    update() {
      followOrStay();
      jump.hidden = atEnd;
    },
    /** Whether the end stays on screen. */
    isAtEnd: () => atEnd,
    /** Stay where the conversation is from now on. */
    hold: () => {
      atEnd = false;
    },
    disconnect: () => resized.disconnect(),
  };
}
