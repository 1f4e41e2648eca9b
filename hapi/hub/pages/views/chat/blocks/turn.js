// The line at the end of a turn: what it took, and a way to copy the answer.

import { h } from "../../../lib/dom.js";
import { copyButton } from "../../../lib/browser/clipboard.js";
import { t } from "../../../lib/language.js";
import { readAloudButton } from "./speech.js";
import { turnFacts } from "../../../data/sessions/usage.js";

/** @import { TurnBlock } from "../../../data/types.js" */

/** @param {TurnBlock} block */
export function turnNode(block) {
  const { answer } = block;
  return h(
    "div",
    { class: "block turn", role: "group", "aria-label": t("End of the turn") },
    answer && copyButton(t("Copy answer"), () => answer.text),
    answer && readAloudButton(() => answer.text),
    h(
      "p",
      { class: "turn-facts" },
      turnFacts(block).map((text) => h("span", null, text)),
    ),
  );
}
