// One session: its conversation, what it is doing, and a place to write.

import { announce, fill, h, iconButton, icon, keyed } from "../../lib/dom.js";
import { blocksOf } from "../../data/blocks.js";
import { composer } from "./composer.js";
import { decisionFor, agentLabel, isUnbounded, modeLabel } from "../../lib/flavors.js";
import { drawBlock, planList, planTitle } from "./block.js";
import { inWords } from "../../lib/errors.js";
import { machineName, titleOf } from "../../data/store.js";
import { picture } from "../../lib/picture.js";
import { toast } from "../../lib/dialog.js";
import { endedWhy, seconds, tilde } from "../../lib/words.js";

const RETRY = 2000; // ms until the conversation is read again after a failure
const NEAR = 80; // px from the end that still count as being at the end

export function chatView({ store, api, outbox, go, id, drafts, calm }) {
  const head = h("div", { class: "head-main" });
  const log = h("div", { class: "log", role: "log", "aria-label": "Conversation", "aria-live": "off", tabindex: "0" });
  const older = h("button", { type: "button", class: "button older", hidden: true, on: { click: () => readOlder() } }, "Earlier messages");
  const blocksNode = h("div", { class: "blocks" });
  const working = h("p", { class: "working", hidden: true }, h("span", { class: "pulse" }), h("span", { class: "working-text" }));
  const state = h("div", { class: "notice", hidden: true });
  const jump = h("button", { type: "button", class: "jump", hidden: true, "aria-label": "Go to the newest message", on: { click: () => toEnd() } }, icon("down"));
  const planStrip = h("details", { class: "plan-strip", hidden: true });
  put(log, older, blocksNode, working);
  const write = composer({ drafts, id, send, stop: () => act(() => api.abort(id)) });
  const node = h("main", { class: "main chat" },
    h("header", { class: "main-head" },
      iconButton("back", "Back to the list", { class: "only-phone", on: { click: () => go("/") } }), head,
      iconButton("sliders", "Session settings", { on: { click: () => openSettings() } })),
    log, h("div", { class: "chat-foot" }, jump, planStrip, state, write.node));

  const chat = {
    expanded: new Map(), // folds a person opened or closed, by key
    deciding: new Map(), // request id -> {choice, error}
    active: true,
    cancel, decide,
    retry: (block) => deliver(() => outbox.retry(block.localId, { held: !chat.active })),
    discard: (block) => write.restore(outbox.discard(block.localId)),
    retryQueued: (block) => act(async () => {
      const { status } = await api.retryQueued(id, block.messageId);
      if (status === "retry-unavailable") toast("The agent's program can't take it again right now.");
    }),
    image: (block) => picture(() => api.generatedImage(id, block.imageId), block.fileName),
  };
  let atEnd = true;
  let shown = { requests: 0, thinking: false, head: "", blocks: "", plan: "", notice: "" };
  let problem = null;

  log.addEventListener("scroll", () => {
    atEnd = log.scrollHeight - log.scrollTop - log.clientHeight < NEAR;
    jump.hidden = atEnd;
    if (log.scrollTop < 200 && store.transcript(id).hasOlder) readOlder();
  }, { passive: true });
  const ticking = setInterval(() => working.hidden || drawWorking(), 1000);
  const resized = new ResizeObserver(() => { if (atEnd) toEnd(); });
  resized.observe(log);
  resized.observe(blocksNode);

  async function start() {
    try {
      await Promise.all([store.readSession(id), store.catchUp(id)]);
      problem = null;
    } catch (error) {
      const final = { 404: "This session does not exist (any more).", 403: "This session belongs to someone else." }[error.status];
      problem = final ?? inWords(error);
      if (!final && node.isConnected) setTimeout(() => node.isConnected && start(), RETRY);
    }
    draw();
  }

  async function act(run) {
    try {
      return await run();
    } catch (error) {
      return toast(inWords(error), { tone: "bad" });
    }
  }

  async function openSettings() {
    const { settingsDialog } = await import("../settings/session.js");
    settingsDialog({ api, store, id, go, resume });
  }

  async function readOlder() {
    const before = log.scrollHeight - log.scrollTop;
    await act(() => store.readOlder(id));
    draw();
    log.scrollTop = log.scrollHeight - before; // what one was reading stays where it was
  }

  function toEnd() {
    log.scrollTop = log.scrollHeight;
  }

  function send(text) {
    atEnd = true;
    deliver(() => outbox.add(id, text, { held: !store.sessions.get(id)?.active }));
  }

  /** Put a message on its way; a session that has ended is brought back for it. */
  function deliver(put) {
    const session = store.sessions.get(id);
    put();
    if (canResume(session) && !isStarting(session)) resume().catch((error) => outbox.refused(id, inWords(error)));
  }

  async function resume() {
    calm("Resuming…");
    try {
      const { sessionId } = await api.reopen(id);
      outbox.moved(id, sessionId);
      if (sessionId !== id) go(`/sessions/${sessionId}`, { replace: true });
      else await Promise.all([store.readSession(id), store.catchUp(id)]);
      outbox.activated(sessionId);
    } catch (error) {
      toast(inWords(error), { tone: "bad" });
      throw error;
    } finally {
      calm(null);
    }
  }

  async function cancel(block) {
    await act(async () => {
      const { status } = await api.cancel(id, block.localId);
      if (status === "cancelled") {
        store.transcript(id).remove(block.messageId, block.localId);
        write.restore(block.text);
        store.changed();
      } else {
        toast(status === "invoked" ? "Too late: the agent has it already." : "The agent's program can't say yet whether it has it.");
        await store.catchUp(id);
      }
    });
  }

  async function decide(block, choice, answers) {
    chat.deciding.set(block.requestId, { choice });
    draw();
    try {
      const [verdict, body] = decisionFor(store.sessions.get(id)?.metadata?.flavor, choice, block.request);
      await api.answer(id, block.requestId, verdict, answers ? { ...body, answers } : body);
    } catch (error) {
      if (error.status === 404) chat.deciding.delete(block.requestId);
      else chat.deciding.set(block.requestId, { choice, error: inWords(error) });
      if (error.status === 404) store.readSession(id).catch(() => {});
    }
    draw();
    if (document.activeElement === document.body) write.focus();
  }

  function draw() {
    const session = store.sessions.get(id);
    const transcript = store.transcript(id);
    chat.active = Boolean(session?.active);
    chat.flavor = session?.metadata?.flavor;
    if (session) drawHead(session);
    drawBlocks(session, transcript);
    drawPlan(session);
    drawNotice(session);
    const thinking = Boolean(session?.active && session.thinking);
    const asks = chat.active && Object.keys(session?.agentState?.requests ?? {}).length > 0;
    working.hidden = !thinking || asks;
    drawWorking();
    write.update({ enabled: Boolean(session) && !problem && (chat.active || isStarting(session) || canResume(session)), thinking, resumes: Boolean(session) && !chat.active && !isStarting(session) });
    if (atEnd) toEnd();
    jump.hidden = atEnd;
    speak(session, thinking);
  }

  function drawWorking() {
    const { activeTurnStartedAt: since, metadata } = store.sessions.get(id) ?? {};
    const took = since && Date.now() - since > 3000 ? ` · ${seconds(Date.now() - since)}` : "";
    working.lastChild.textContent = `${agentLabel(metadata?.flavor)} is working${took}`;
  }

  function drawHead(session) {
    const meta = session.metadata ?? {};
    const machine = store.machines.get(meta.machineId);
    const mode = session.permissionMode;
    const state = !session.active ? (isStarting(session) ? "thinking" : "ended") : session.thinking ? "thinking" : "active";
    const line = [agentLabel(meta.flavor), machineName(machine) || meta.host, tilde(meta.path, machine?.metadata?.homeDir ?? meta.homeDir)].filter(Boolean);
    const key = JSON.stringify([titleOf(session), line, mode, state]);
    if (shown.head === key) return;
    shown.head = key;
    fill(head, h("h1", null, h("span", { class: `dot ${state}`, role: "img", "aria-label": { ended: "ended", thinking: "working", active: "ready" }[state] }), h("span", { class: "title" }, titleOf(session))),
      h("p", { class: "muted" }, h("span", { class: "subline" }, line.join(" · ")), mode && mode !== "default" && h("span", { class: `tag ${isUnbounded(mode) ? "caution" : ""}` }, modeLabel(mode))));
  }

  function drawBlocks(session, transcript) {
    const outgoing = outbox.of(id);
    const key = JSON.stringify([transcript.revision, session?.agentStateVersion, session?.agentState === undefined, outgoing, chat.active, [...chat.deciding], transcript.hasOlder, transcript.loadingOlder]);
    if (shown.blocks === key) return;
    shown.blocks = key;
    const requests = chat.active ? session?.agentState : { ...session?.agentState, requests: {} };
    for (const requestId of chat.deciding.keys()) if (!(requestId in (requests?.requests ?? {}))) chat.deciding.delete(requestId);
    const blocks = withDays(blocksOf(transcript.ordered(), outgoing, requests));
    older.hidden = !transcript.hasOlder;
    older.disabled = transcript.loadingOlder;
    older.textContent = transcript.loadingOlder ? "Loading…" : "Earlier messages";
    const version = (block) => (block.requestId ? `${block.version} ${chat.active} ${JSON.stringify(chat.deciding.get(block.requestId))}` : block.version);
    keyed(blocksNode, blocks, (block) => block.key, version, (block) => drawBlock(block, chat));
    blocksNode.classList.toggle("is-empty", transcript.ready && blocks.length === 0);
    blocksNode.dataset.empty = `Say what ${agentLabel(session?.metadata?.flavor)} should do.`;
  }

  function drawPlan(session) {
    const todos = session?.todos ?? [];
    const key = JSON.stringify(todos);
    if (shown.plan === key) return;
    shown.plan = key;
    planStrip.hidden = todos.length === 0 || todos.every((todo) => todo.status === "completed");
    const current = todos.find((todo) => todo.status === "in_progress") ?? todos.find((todo) => todo.status === "pending");
    const open = planStrip.open;
    fill(planStrip, h("summary", null, icon("list"), h("strong", null, planTitle(todos)), h("span", { class: "glimpse" }, current?.content)), planList(todos));
    planStrip.open = open;
  }

  function drawNotice(session) {
    const words = problem ? [problem] : !session || session.active ? null
      : isStarting(session) ? ["Starting the agent…"]
      : [endedWhy(session.metadata), canResume(session) ? "Write to resume it." : "It can't be resumed: the agent left nothing to resume from."];
    const key = JSON.stringify(words);
    if (shown.notice === key) return;
    shown.notice = key;
    state.hidden = words === null;
    if (words === null) return;
    const resumeButton = !problem && canResume(session) && !isStarting(session) && h("button", { type: "button", class: "button", on: { click: () => resume().catch(() => {}) } }, "Resume");
    fill(state, h("p", null, words.map((sentence) => `${sentence.replace(/\.$/, "")}. `)), resumeButton);
  }

  /** Tell screen readers what changed for the person. */
  function speak(session, thinking) {
    const requests = Object.values(session?.agentState?.requests ?? {});
    if (requests.length > shown.requests) announce(`${agentLabel(chat.flavor)} asks for permission: ${requests.at(-1).tool}`);
    else if (thinking !== shown.thinking) announce(thinking ? `${agentLabel(chat.flavor)} is working` : `${agentLabel(chat.flavor)} is ready`);
    shown.requests = requests.length;
    shown.thinking = thinking;
  }

  const title = () => (store.sessions.has(id) ? titleOf(store.sessions.get(id)) : "");
  return { node, draw, start, title, focus: () => { if (matchMedia("(pointer: fine)").matches) write.focus(); }, leave: () => { write.keep(); resized.disconnect(); clearInterval(ticking); } };
}

/** Its row exists, its process was started a moment ago and has not come to life yet. */
function isStarting(session) {
  return Boolean(session && !session.active && !session.wasActive && session.metadata?.lifecycleState === "running" && Date.now() - Math.max(session.createdAt ?? 0, session.metadata.lifecycleStateSince ?? 0) < 20_000);
}

function canResume(session) {
  if (!session || session.active) return false;
  const { agentSessionId, flavor } = session.metadata ?? {};
  return Boolean(agentSessionId || session.metadata?.[`${flavor ?? "claude"}SessionId`] || session.hasConversationContent === false);
}

function withDays(blocks) {
  let last = null;
  return blocks.flatMap((block) => {
    const date = new Date(block.at).toDateString();
    if (date === last || block.kind === "request" || !block.at) return [block];
    const first = last === null && date === new Date().toDateString();
    last = date;
    return first ? [block] : [{ key: `day:${date}`, version: "", kind: "day", at: block.at }, block];
  });
}

function put(parent, ...children) {
  parent.append(...children);
}
