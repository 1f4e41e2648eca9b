// Drawing the blocks of a conversation, one function per kind.

import { h, icon } from "../../lib/dom.js";
import { markdown } from "../../lib/markdown.js";
import { requestBlock } from "./permission.js";
import { toolBlock } from "./tool.js";
import { clock, day, own } from "../../lib/words.js";

/** A node for `block`. `chat` offers what a block may ask for: cancel, retry, discard, decide, expanded, flavor, image. */
export function drawBlock(block, chat) {
  const node = DRAW[block.kind](block, chat);
  if (block.side) node.classList.add("side-work");
  node.dataset.kind = block.kind;
  return node;
}

const DRAW = {
  user: userBlock,
  text: (block) => h("article", { class: "block text", "aria-label": "Agent" }, markdown(block.text)),
  thought: thoughtBlock,
  tool: toolBlock,
  request: requestBlock,
  plan: (block) => h("section", { class: "block plan", "aria-label": "Plan" }, h("div", { class: "plan-head" }, icon("list"), planTitle(block.entries)), planList(block.entries)),
  event: (block) => h("p", { class: `block event ${block.tone}` }, block.text),
  image: (block, chat) => h("figure", { class: "block image" }, chat.image(block), h("figcaption", { class: "muted" }, block.fileName)),
  day: (block) => h("p", { class: "block day" }, h("span", null, day(block.at))),
};

const STATES = {
  sending: "Sending…",
  posted: "Sending…",
  waiting: "Waiting for the connection…",
  held: "Waits for the session",
  queued: "Waits for the agent",
  indeterminate: "Not certain that the agent got this",
  failed: "Not sent",
};

function userBlock(block, chat) {
  const act = (label, run) => h("button", { type: "button", class: "link", on: { click: run } }, label);
  const actions = {
    held: [act("Discard", () => chat.discard(block))],
    waiting: [act("Discard", () => chat.discard(block))],
    failed: [act("Try again", () => chat.retry(block)), act("Discard", () => chat.discard(block))],
    queued: [act("Cancel", () => chat.cancel(block))],
    scheduled: [act("Cancel", () => chat.cancel(block))],
    indeterminate: [act("Send again", () => chat.retryQueued(block)), act("Cancel", () => chat.cancel(block))],
  }[block.state] ?? [];
  const state = block.state === "scheduled" ? `Scheduled for ${day(block.scheduledAt)}, ${clock(block.scheduledAt)}` : block.error || STATES[block.state];
  return h("article", { class: `block user ${block.state}`, "aria-label": "You", "data-state": block.state },
    h("div", { class: "bubble" }, block.text),
    block.files.length > 0 && h("p", { class: "files muted" }, block.files.join(", ")),
    h("p", { class: "under" }, state ? [h("span", null, state), actions] : h("time", { datetime: new Date(block.at).toISOString() }, clock(block.at))));
}

function thoughtBlock(block, chat) {
  const open = chat.expanded.get(block.key) ?? false;
  const node = h("details", { class: "block thought", open },
    h("summary", null, icon("thought"), h("span", null, block.live ? "Thinking…" : "Thought"), h("span", { class: "glimpse" }, glimpse(block.text))),
    markdown(block.text));
  node.addEventListener("toggle", () => chat.expanded.set(block.key, node.open));
  return node;
}

function glimpse(text) {
  return text.replace(/[*_`#>\s]+/g, " ").trim().slice(0, 140);
}

export function planTitle(entries) {
  return `Plan · ${entries.filter((entry) => entry.status === "completed").length} of ${entries.length} done`;
}

const MARK = { completed: "done", in_progress: "in progress", pending: "to do" };

export function planList(entries) {
  return h("ol", { class: "plan-list" }, entries.map((entry) =>
    h("li", { class: entry.status }, h("span", { class: "mark", role: "img", "aria-label": own(MARK, entry.status) ?? entry.status }, entry.status === "completed" && icon("check")), h("span", null, entry.content))));
}
