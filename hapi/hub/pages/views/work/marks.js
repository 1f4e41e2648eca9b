// How a changed file is marked in a list: a letter for what happened to it, and the counts of its lines.

import { h } from "../../lib/dom.js";
import { t } from "../../lib/language.js";

/** @import { ChangeKind } from "../../data/work/working-tree.js" */

/** @type {Record<ChangeKind, [letter: string, label: string]>} */
const MARKS = {
  added: ["A", t("added")],
  modified: ["M", t("modified")],
  deleted: ["D", t("deleted")],
  renamed: ["R", t("renamed")],
  copied: ["C", t("copied")],
  type: ["T", t("type changed")],
  untracked: ["?", t("untracked")],
  conflict: ["!", t("in conflict")],
  submodule: ["S", t("submodule")],
};

/** @param {ChangeKind} kind */
export function fileMark(kind) {
  const [letter, label] = MARKS[kind];
  return h("span", { class: `work-mark ${kind}`, role: "img", "aria-label": label }, letter);
}

/** @param {{ added: number | null, removed: number | null, binary: boolean }} file */
export function lineCounts({ added, removed, binary }) {
  if (binary) return t("binary");
  if (added === null || removed === null) return null;
  return [
    h("span", { class: "plus" }, `+${added}`),
    " ",
    h("span", { class: "minus" }, `−${removed}`),
  ];
}
