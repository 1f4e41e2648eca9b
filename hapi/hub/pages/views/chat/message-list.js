// The conversation: a list of blocks that is redrawn where it changes.

import { append, button, h } from "../../lib/dom.js";
import { t } from "../../lib/language.js";
import { VirtualList } from "../../lib/lists/virtual-list.js";
import { blocksOf } from "../../data/conversation/blocks.js";
import { withDays } from "../../data/conversation/day-marks.js";
import { withLive } from "../../data/conversation/live.js";
import { openPlan } from "../../data/conversation/todos.js";
import { drawBlock, updateBlock } from "./blocks/block.js";

/**
 * @import { Outbox } from "../../data/store/outbox.js"
 * @import { Store } from "../../data/store/store.js"
 * @import { Block, BlockContext, Session } from "../../data/types.js"
 */

/**
 * @typedef {object} MessageListOptions
 * @property {Store} store
 * @property {Outbox} outbox
 * @property {string} id of the session
 * @property {BlockContext} context
 * @property {() => void} onOlder
 * @property {() => void} [onNewer]
 * @property {Node} footer
 * @property {() => boolean} [isAtEnd] whether the end is to stay on screen
 */

/** @param {MessageListOptions} options */
export function messageList(options) {
  const { store, outbox, id, context, onOlder, footer, isAtEnd } = options;
  const older = loadButton("older", t("Load earlier messages"), onOlder);
  const newer = loadButton("newer", t("Load later messages"), () => options.onNewer?.());
  const content = h("div", { class: "blocks" });
  const node = h("div", {
    class: "log",
    role: "log",
    "aria-label": t("Conversation"),
    "aria-live": "off",
    tabindex: "0",
  });
  append(node, older, content, newer, footer);
  const list = blockList(node, content, context, isAtEnd ?? (() => false));
  let shown = "";
  let shownLive = -1;
  /** @type {Block[]} */
  let recorded = [];
  let plan = openPlan(undefined, []);
  /** @type {Block[]} */
  let blocks = [];

  /** @param {Session | undefined} session */
  function draw(session) {
    const transcript = store.transcript(id);
    const outgoing = outbox.of(id);
    const { active, decisions } = context;
    const label = store.catalog.label(session?.metadata?.flavor);
    const { revision, hasOlder, loadingOlder, hasNewer, loadingNewer, ready } = transcript;
    const state = [
      revision,
      session?.agentStateVersion,
      session?.agentState === undefined,
      session?.thinking,
      session?.todos,
      outgoing,
      active,
      [...decisions],
      hasOlder,
      loadingOlder,
      hasNewer,
      loadingNewer,
      label,
      context.directory,
    ];
    const version = JSON.stringify(state);
    const { live } = store;
    if (version === shown && live.revision === shownLive) return;
    if (version !== shown) drawRecorded(session);
    shown = version;
    shownLive = live.revision;
    blocks = ready && !hasNewer ? withLive(recorded, live.blocks.values()) : recorded;
    list.set(blocks);
    content.classList.toggle("is-empty", ready && blocks.length === 0);
    content.dataset.empty = t("Tell {label} what to do.", { label });
  }

  /** Read the records and what waits. @param {Session | undefined} session */
  function drawRecorded(session) {
    const transcript = store.transcript(id);
    const { active, decisions } = context;
    const { hasOlder, loadingOlder, hasNewer, loadingNewer } = transcript;
    const agentState = active ? session?.agentState : { ...session?.agentState, requests: {} };
    for (const requestId of decisions.keys())
      if (!(requestId in (agentState?.requests ?? {}))) decisions.delete(requestId);
    older.hidden = !hasOlder;
    older.disabled = loadingOlder;
    older.textContent = loadingOlder ? t("Loading…") : t("Load earlier messages");
    newer.hidden = !hasNewer;
    newer.disabled = loadingNewer;
    newer.textContent = loadingNewer ? t("Loading…") : t("Load later messages");
    const all = blocksOf(transcript.ordered(), outbox.of(id), agentState);
    if (!hasNewer) plan = openPlan(session, all); // else the plan of the newest turn is not among them
    recorded = withDays(all.filter(({ key }) => key !== plan.key));
  }

  return {
    node,
    content,
    draw,
    /** The steps of the plan that is shown above the place to write, and not in the conversation. */
    plan: () => plan.steps,
    /** What the conversation shows, as far as its messages have been read. */
    blocks: () => blocks,
    /** Bring a block on screen; null if it has not been read. @param {string} key @param {number} [margin] px */
    show: (key, margin) => list.show(key, margin),
    /** The first block on screen, and how many px below the upper edge it begins. */
    place: () => list.place,
    disconnect: () => list.disconnect(),
  };
}

/** @param {string} name of its class @param {string} label @param {() => void} click */
function loadButton(name, label, click) {
  return button(label, { class: name, hidden: true, on: { click } });
}

/**
 * @param {HTMLElement} scroller
 * @param {HTMLElement} content
 * @param {BlockContext} context
 * @param {() => boolean} isAtEnd
 * @returns {VirtualList<Block>}
 */
function blockList(scroller, content, context, isAtEnd) {
  return new VirtualList({
    scroller,
    content,
    key: (block) => block.key,
    version: (block) => versionOf(block, context),
    draw: (block) => drawBlock(block, context),
    update: (node, block) => updateBlock(node, block, context),
    keepsNode: (block) => block.requestId !== undefined,
    isAtEnd,
  });
}

/** @param {Block} block @param {BlockContext} context */
function versionOf(block, { active, decisions, directory }) {
  if (block.kind === "tool" && !block.requestId) return `${block.version} ${directory}`;
  if (!block.requestId) return block.version;
  return `${block.version} ${active} ${JSON.stringify(decisions.get(block.requestId))}`;
}
