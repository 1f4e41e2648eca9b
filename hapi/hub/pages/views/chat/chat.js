// One session: its conversation, what the agent is doing, and a place to write.

import { SessionActions } from "./actions.js";
import { announcementOf } from "./announcements.js";
import { blockContext } from "./block-context.js";
import { BlockNavigation } from "./block-navigation.js";
import { sessionPartAddress } from "../../data/addresses.js";
import { ComposerArea } from "./composer/composer-area.js";
import { LazyFindBar } from "./lazy-find-bar.js";
import { followEnd } from "./scrolling.js";
import { chatHeader } from "./header.js";
import { messageList } from "./message-list.js";
import { sessionNotice } from "./notice.js";
import { planStrip } from "./blocks/plan.js";
import { keepPlace, takePlace } from "./reading-place.js";
import { answerReader } from "./blocks/speech.js";
import { starters } from "./starters.js";
import { workingLine } from "./working-line.js";
import { announce, h, hasFinePointer } from "../../lib/dom.js";
import { toast } from "../../lib/dialog.js";
import { attempt } from "../../lib/errors.js";
import { t } from "../../lib/language.js";
import { deviceStorage } from "../../lib/storage.js";
import { stylesheet } from "../../lib/stylesheet.js";
import { readsAloud } from "../../data/composer/preferences.js";
import { keepPrompt } from "../../data/composer/recent-prompts.js";
import { isStarting, titleOf } from "../../data/sessions/sessions.js";

/**
 * @import { Api } from "../../data/hub/api.js"
 * @import { Drafts } from "../../data/composer/drafts.js"
 * @import { Outbox } from "../../data/store/outbox.js"
 * @import { Store } from "../../data/store/store.js"
 * @import { Go, View, ViewContext } from "../../data/types.js"
 * @import { Announcement } from "./announcements.js"
 */

/**
 * @typedef {object} ChatOptions
 * @property {Store} store
 * @property {Api} api
 * @property {Outbox} outbox
 * @property {Drafts} drafts
 * @property {Go} go
 * @property {string} id of the session
 * @property {URLSearchParams} query of the address; `message` is the id of the one to be shown
 * @property {(text: string | null) => void} showStatus
 * @property {(resume: () => Promise<void>) => void} openSettings
 */

/** @param {ViewContext} context @returns {View} */
export function view(context) {
  const openSettings = (/** @type {() => Promise<void>} */ resume) =>
    context.openSettings(context.id, resume);
  return new ChatView({ ...context, openSettings });
}

await Promise.all(
  ["chat", "composer", "choices"].map((name) =>
    stylesheet(new URL(`../../style/${name}.css`, import.meta.url).href),
  ),
);
const MAX_READ = 3000; // messages of a conversation whose end is on screen; then the oldest are forgotten
const KEPT_READ = 2000;
const KEPT_ELSEWHERE = 200; // messages of a conversation that has been left

/** @implements {View} */
export class ChatView {
  /** @param {ChatOptions} options */
  constructor(options) {
    const { store, api, outbox, drafts, go, id, showStatus, openSettings } = options;
    const actions = new SessionActions({
      store,
      api,
      outbox,
      id,
      go,
      onMoved: (next) => drafts.move(id, next),
      showStatus,
      notify: toast,
    });
    this._options = options;
    this._actions = actions;
    this._area = new ComposerArea({
      ...{ store, api, drafts, id },
      send: (text) => this._send(text),
      stop: () => actions.abort(),
    });
    this._composer = this._area.composer;
    this._context = blockContext({
      ...{ store, api, outbox, id, go, actions },
      composer: this._composer,
      area: this._area,
      blocks: () => this._messages.blocks(),
      draw: () => this.draw(),
    });
    this._find = this._makeFindBar();
    this._header = chatHeader({
      store,
      go,
      openSettings: () => openSettings(() => actions.resume()),
      openFind: () => this._find.open(),
      openWork: () => go(sessionPartAddress(id, "changes")),
      openTerminal: () => go(sessionPartAddress(id, "terminal")),
    });
    this._working = workingLine();
    this._messages = messageList({
      store,
      outbox,
      id,
      context: this._context,
      onOlder: () => this._loadOlder(),
      onNewer: () => this._loadNewer(),
      footer: this._working.node,
      isAtEnd: () => this._scroll?.isAtEnd() ?? true,
    });
    this._scroll = followEnd(this._messages.node, this._messages.content, {
      onTop: () => {
        if (store.transcript(id).hasOlder) this._loadOlder();
      },
      onBottom: () => this._loadNewer(),
      hasNewer: () => store.transcript(id).hasNewer,
      toLatest: () => this._toLatest(),
    });
    this._newestBlocks = this._messages.blocks();
    this._navigation = this._blockNavigation();
    this._plan = planStrip();
    this._notice = sessionNotice(
      { resume: () => actions.resume().catch(() => {}), takeOver: () => actions.takeOver() }, // they show errors
      store.access.refusal("spawn"),
    );
    this._unwatchLive = store.watchLive(() => this._drawLive());
    this._starters = starters({
      storage: deviceStorage,
      write: (text) => this._composer.replace(text),
    });
    this._reader = answerReader(() => readsAloud(deviceStorage));
    this._announced = announcementOf(undefined, store.catalog);
    this.node = this._frame();
    this._composer.watch(this.node);
  }

  _makeFindBar() {
    const { store, id } = this._options;
    return new LazyFindBar(
      {
        blocks: () => this._messages.blocks(),
        show: (key) => {
          this._scroll.hold();
          return this._messages.show(key);
        },
        hasOlder: () => store.transcript(id).hasOlder,
        loadOlder: () => this._loadOlder(),
        closed: () => this.focus(),
      },
      (bar) => this._header.node.after(bar),
    );
  }

  _frame() {
    return h(
      "main",
      { class: "main chat" },
      this._header.node,
      this._messages.node,
      h(
        "div",
        { class: "chat-foot" },
        this._scroll.jump,
        this._plan.node,
        this._notice.node,
        this._starters.node,
        this._composer.node,
      ),
      this._composer.overlay,
    );
  }

  _blockNavigation() {
    const { store, id } = this._options;
    return new BlockNavigation({
      transcript: () => store.transcript(id),
      blocks: () => this.blocks(),
      bringOnScreen: (key, margin) => this._bringOnScreen(key, margin),
      loadOlder: (limit) => this._loadOlder(limit),
      loadAround: (message) => {
        this._scroll.hold();
        return this._actions.loadAround(message);
      },
      loadLatest: () => this._actions.loadLatest(),
      draw: () => this.draw(),
      isGivenUp: () => !this.node.isConnected || this._actions.problem !== null,
    });
  }

  start() {
    this._find.start();
    current = this;
    const place = takePlace(this._options.id);
    if (!place) this._options.store.transcript(this._options.id).leave();
    const opened = this._actions.open();
    if (place && !this._options.query.has("message"))
      this._navigation.restore(place.key, place.top);
    this.navigate(this._options.query);
    return opened;
  }

  /** Show the message that the address names, as those of search results do. @param {URLSearchParams} query */
  async navigate(query) {
    const message = query.get("message");
    if (message === null || (await this.show(message))) return;
    if (current === this) toast(t("This message is not in the conversation any more."));
  }

  draw() {
    this._actions.followRefusal();
    const { session } = this._actions;
    const { catalog, access } = this._options.store;
    const active = Boolean(session?.active);
    const thinking = Boolean(active && session?.thinking);
    const isAsking = active && Object.keys(session?.agentState?.requests ?? {}).length > 0;
    const label = catalog.label(session?.metadata?.flavor);
    this._context.active = active;
    this._context.directory = session?.metadata?.path;
    const enabled = this._actions.acceptsMessages;
    const { isGone, isUnread } = this._actions;
    this._composer.node.hidden = isGone;
    const resumes = Boolean(session) && !active && !isStarting(session);
    const isWorking = thinking && !isAsking;
    this._trim();
    // Each part on its own: what one of them cannot show keeps nobody from reading and writing.
    attempt("The messages cannot be drawn", () => this._messages.draw(session));
    const { ready, hasNewer } = this._options.store.transcript(this._options.id);
    if (!hasNewer) this._newestBlocks = this._messages.blocks();
    attempt("The header cannot be drawn", () =>
      this._header.draw(session, this._newestBlocks, { isGone, isUnread }),
    );
    attempt("The plan cannot be drawn", () => this._plan.draw(this._messages.plan()));
    attempt("The notice cannot be drawn", () => this._notice.draw(session, this._actions));
    attempt("The settings cannot be drawn", () => this._area.drawSettings(session));
    this._working.draw(isWorking, label, session?.activeTurnStartedAt);
    const refusal = access.refusal("chat") ?? (resumes ? access.refusal("spawn") : null);
    const isEmpty = ready && this._messages.blocks().length === 0;
    this._starters.draw(isEmpty && enabled && refusal === null);
    this._reader.update(this._newestBlocks, ready);
    this._composer.update({ enabled, isUnread, thinking, resumes, active, refusal });
    this._scroll.update();
    this._announce(announcementOf(session, catalog));
  }

  /** Show what the agent has said since the last frame. */
  _drawLive() {
    this._messages.draw(this._actions.session);
    this._scroll.update();
  }

  /** @param {Announcement} next */
  _announce(next) {
    const text = next.after(this._announced);
    if (text) announce(text);
    this._announced = next;
  }

  /** @param {string} text */
  _send(text) {
    if (this._options.store.transcript(this._options.id).hasNewer) this._toLatest();
    this._scroll.follow();
    keepPrompt(deviceStorage, text);
    this._actions.send(text, ...this._area.take(this._messages.blocks()));
  }

  /** @param {number} [limit] messages */
  async _loadOlder(limit) {
    await this._actions.loadOlder(limit);
    this.draw();
  }

  async _loadNewer() {
    if (this._options.store.transcript(this._options.id).loadingNewer) return;
    await this._actions.loadNewer();
    this.draw();
  }

  /** Show the end of the conversation after a part far back. */
  async _toLatest() {
    await this._actions.loadLatest();
    this._scroll.follow();
    this.draw();
  }

  /** What the conversation shows, as far as its messages have been read. */
  blocks() {
    return this._messages.blocks();
  }

  /**
   * Bring a block on screen. Earlier messages are read until it is there.
   * @param {string} id the key of a block, or the id of a message or of an agent's record that it shows
   * @returns {Promise<boolean>} whether there is such a block
   */
  show(id) {
    return this._navigation.show(id);
  }

  /** @param {string} key @param {number} [margin] px */
  _bringOnScreen(key, margin) {
    this._scroll.hold();
    return this._messages.show(key, margin);
  }

  /** A conversation that goes on for long forgets its oldest messages, unless somebody reads or searches them. */
  _trim() {
    const isInUse = this._navigation.isReading || this._find.isOpen;
    const { store, id } = this._options;
    if (this._scroll.isAtEnd() && !isInUse) store.transcript(id).trim(MAX_READ, KEPT_READ);
  }

  title() {
    const { session } = this._actions;
    return session ? titleOf(session) : "";
  }

  focus() {
    if (hasFinePointer()) this._composer.focus();
  }

  leave() {
    this._find.stop();
    if (current === this) current = null;
    const { store, id } = this._options;
    const place = this._scroll.isAtEnd() ? null : this._messages.place();
    keepPlace(place && { id, ...place });
    store.transcript(id).trim(KEPT_ELSEWHERE);
    this._actions.close();
    this._unwatchLive();
    this._area.leave();
    this._reader.stop();
    this._scroll.disconnect();
    this._messages.disconnect();
    this._working.stop();
  }
}

/** @type {ChatView | null} */
let current = null;

/** The conversation that is on screen. */
export function openConversation() {
  return current;
}
