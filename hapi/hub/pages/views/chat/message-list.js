// The conversation: a list of blocks that is redrawn where it changes.

import { append, button, h, keyed, keyedNode } from "../../lib/dom.js";
import { blocksOf, withDays } from "../../data/blocks.js";
import { withLive } from "../../data/live.js";
import { openPlan } from "../../data/todos.js";
import { drawBlock, updateBlock } from "./block.js";

/**
 * @import { Outbox } from "../../data/outbox.js"
 * @import { Store } from "../../data/store.js"
 * @import { Block, BlockContext, Session } from "../../data/types.js"
 */

/** @param {{ store: Store, outbox: Outbox, id: string, context: BlockContext, onOlder: () => void, footer: Node }} options */
export function messageList({ store, outbox, id, context, onOlder, footer }) {
  const older = button("Load earlier messages", {
    class: "older",
    hidden: true,
    on: { click: onOlder },
  });
  const content = h("div", { class: "blocks" });
  const node = h("div", {
    class: "log",
    role: "log",
    "aria-label": "Conversation",
    "aria-live": "off",
    tabindex: "0",
  });
  append(node, older, content, footer);
  let shown = "";
  let shownLive = -1;
  /** @type {Block[]} */
  let recorded = [];
  let plan = openPlan(undefined, []);

  /** @param {Session | undefined} session */
  function draw(session) {
    const transcript = store.transcript(id);
    const outgoing = outbox.of(id);
    const { active, decisions } = context;
    const label = store.catalog.label(session?.metadata?.flavor);
    const { revision, hasOlder, loadingOlder, ready } = transcript;
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
      label,
      context.directory,
    ];
    const version = JSON.stringify(state);
    const { live } = store;
    if (version === shown && live.revision === shownLive) return;
    if (version !== shown) drawRecorded(session);
    shown = version;
    shownLive = live.revision;
    const blocks = withDays(ready ? withLive(recorded, live.blocks.values()) : recorded);
    keyed(
      content,
      blocks,
      (block) => block.key,
      (block) => versionOf(block, context),
      (block) => drawBlock(block, context),
      (shownNode, block) => updateBlock(shownNode, block, context),
    );
    content.classList.toggle("is-empty", ready && blocks.length === 0);
    content.dataset.empty = `Tell ${label} what to do.`;
  }

  /** Read the records and what waits. @param {Session | undefined} session */
  function drawRecorded(session) {
    const transcript = store.transcript(id);
    const { active, decisions } = context;
    const { hasOlder, loadingOlder } = transcript;
    const agentState = active ? session?.agentState : { ...session?.agentState, requests: {} };
    for (const requestId of decisions.keys())
      if (!(requestId in (agentState?.requests ?? {}))) decisions.delete(requestId);
    older.hidden = !hasOlder;
    older.disabled = loadingOlder;
    older.textContent = loadingOlder ? "Loading…" : "Load earlier messages";
    const blocks = blocksOf(transcript.ordered(), outbox.of(id), agentState);
    plan = openPlan(session, blocks);
    recorded = blocks.filter(({ key }) => key !== plan.key);
  }

  return {
    node,
    content,
    draw,
    /** Bring a block on screen; null if it has not been read. @param {string} key */
    show: (key) => broughtIntoView(keyedNode(content, key)),
    /** What the records and the waiting messages show. */
    blocks: () => recorded,
    /** The steps of the plan that is shown above the place to write, and not in the conversation. */
    plan: () => plan.steps,
  };
}

/** @param {Element | null} node */
function broughtIntoView(node) {
  node?.scrollIntoView({ block: "center" });
  return node;
}

/** @param {Block} block @param {BlockContext} context */
function versionOf(block, { active, decisions, directory }) {
  if (block.kind === "tool" && !block.requestId) return `${block.version} ${directory}`;
  if (!block.requestId) return block.version;
  return `${block.version} ${active} ${JSON.stringify(decisions.get(block.requestId))}`;
}
