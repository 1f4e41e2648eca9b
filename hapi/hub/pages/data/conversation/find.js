// Finding a text in what a conversation shows, and the outline of what a person asked in it. Pure.

import { t } from "../../lib/language.js";
import { describeTool, outputText } from "./tools.js";

/** @import { Block } from "../types.js" */

const AROUND = 48; // characters of an excerpt on each side of what was found
const MAX_EXCERPT = 160; // characters of a prompt in the outline
/** @type {Record<string, string>} */
const LABELS = {
  user: t("You"),
  text: t("Agent"),
  thought: t("Thought"),
  tool: t("Tool"),
  plan: t("Plan"),
  event: t("Note"),
};

/**
 * @typedef {object} Found
 * @property {string} key of the block
 * @property {number} at ms since the epoch
 * @property {string} label who or what says it
 * @property {[before: string, found: string, after: string]} excerpt
 */

/**
 * The blocks that hold `query`, in the order of the conversation; without a query what the person asked.
 * @param {readonly Block[]} blocks
 * @param {string} query
 * @returns {Found[]}
 */
export function findIn(blocks, query) {
  const wanted = query.trim();
  return wanted === "" ? outline(blocks) : blocks.flatMap((block) => found(block, wanted));
}

/** @param {readonly Block[]} blocks @returns {Found[]} */
function outline(blocks) {
  return blocks.flatMap((block) => {
    if (block.kind !== "user" || block.state !== "sent") return [];
    const text = oneLine(block.text) || block.files.join(", ");
    const excerpt = text.length > MAX_EXCERPT ? `${text.slice(0, MAX_EXCERPT)}…` : text;
    return [{ key: block.key, at: block.at, label: LABELS.user, excerpt: ["", "", excerpt] }];
  });
}

/** @param {Block} block @param {string} wanted @returns {Found[]} */
function found(block, wanted) {
  const text = textOf(block);
  const place = text.toLowerCase().indexOf(wanted.toLowerCase());
  if (place < 0) return [];
  const end = place + wanted.length;
  const start = Math.max(0, place - AROUND);
  return [
    {
      key: block.key,
      at: block.at,
      label: LABELS[block.kind] ?? "",
      excerpt: [
        (start > 0 ? "…" : "") + spaces(text.slice(start, place)),
        text.slice(place, end),
        spaces(text.slice(end, end + AROUND)) + (end + AROUND < text.length ? "…" : ""),
      ],
    },
  ];
}

/** The text of a block as it is shown. @param {Block} block */
function textOf(block) {
  switch (block.kind) {
    case "user":
      return [block.text, ...block.files].join("\n");
    case "text":
    case "thought":
      return block.text;
    case "event":
      return `${block.text}\n${block.details ?? ""}`;
    case "plan":
      return block.entries.map(({ content }) => content).join("\n");
    case "tool": {
      const { title, details } = describeTool(block);
      return [title, ...details.map(({ text }) => text), outputText(block.output)].join("\n");
    }
    default:
      return "";
  }
}

/** @param {string} text */
function oneLine(text) {
  return spaces(text.slice(0, 4 * MAX_EXCERPT)).trim();
}

/** @param {string} text */
function spaces(text) {
  return text.replace(/\s+/g, " ");
}
