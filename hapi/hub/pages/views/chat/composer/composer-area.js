// The place to write: the composer with its files, settings, time and completions, and the draft that it keeps.

import { toast } from "../../../lib/dialog.js";
import { t } from "../../../lib/language.js";
import { deviceStorage } from "../../../lib/storage.js";
import { joinedDraft } from "../../../data/composer/drafts.js";
import { aheadOf, behind, queuedIn } from "../../../data/conversation/queue.js";
import { CompletionSources } from "../../../data/composer/completion-sources.js";
import { AttachedFiles } from "./attachments.js";
import { Composer } from "./composer.js";
import { scheduleChip } from "./schedule-chip.js";
import { settingChips } from "./setting-chips.js";

/**
 * @import { Api } from "../../../data/hub/api.js"
 * @import { Drafts } from "../../../data/composer/drafts.js"
 * @import { Store } from "../../../data/store/store.js"
 * @import { Attachment, Block, Session, UserBlock } from "../../../data/types.js"
 */

export class ComposerArea {
  /**
   * @param {object} options
   * @param {Store} options.store
   * @param {Api} options.api
   * @param {Drafts} options.drafts
   * @param {string} options.id of the session
   * @param {(text: string) => void} options.send
   * @param {() => Promise<unknown>} options.stop the agent
   */
  constructor({ store, api, drafts, id, send, stop }) {
    this._api = api;
    this._id = id;
    this._drafts = drafts;
    this._shownDraft = drafts.get(id); // as this tab has shown or written it
    this.files = new AttachedFiles(api, id, {
      drafts,
      onChange: () => this.composer?.filesChanged(),
      notify: toast,
    });
    this._chips = settingChips({ api, store, id });
    this.schedule = scheduleChip({ onChange: () => this.composer?.scheduleChanged() });
    this._sources = new CompletionSources(api, store, id);
    this.composer = new Composer({
      files: this.files,
      settings: this._chips.node,
      schedule: this.schedule,
      onMore: () => this._openMore(),
      text: drafts.get(id),
      onDraft: (text) => this._keepDraft(text),
      onSend: send,
      onStop: stop,
      find: (token, show) => this._sources.find(token, show),
      notify: toast,
      storage: deviceStorage,
    });
    const unwatch = drafts.watch((changed) => changed === id && this._followDraft());
    const onVisible = () => document.visibilityState === "visible" && this._followDraft(); // a tab that was frozen has heard nothing
    document.addEventListener("visibilitychange", onVisible);
    this._unwatchDrafts = () => {
      unwatch();
      document.removeEventListener("visibilitychange", onVisible);
    };
  }

  _followDraft() {
    this._shownDraft = this._drafts.get(this._id);
    this.composer.follow(this._shownDraft);
    this.files.followDraft();
  }

  /** Keep what the person has written, and what another tab wrote at the same time. @param {string} text */
  _keepDraft(text) {
    const id = this._id;
    const kept = joinedDraft(text, this._shownDraft, this._drafts.get(id));
    this._shownDraft = kept;
    this._drafts.set(id, kept);
    if (kept !== text) {
      toast(t("Another tab has written a message here, too. Its text was kept above yours."));
      queueMicrotask(() => this.composer.follow(kept)); // the text that is being sent leaves the box before
    }
    queueMicrotask(() => {
      if (!this._drafts.get(id)) this._drafts.setPlace(id, null); // whoever sends it has taken the place by now
    });
  }

  /** The draft is a message that was taken out of the queue to be edited. @param {Block[]} blocks as they were @param {UserBlock} block */
  keepPlace(blocks, block) {
    const ahead = aheadOf(queuedIn(blocks), block.localId);
    const kept = this._drafts.place(this._id); // of another one that is in the draft already
    if (!kept || ahead.length < kept.length) this._drafts.setPlace(this._id, ahead);
  }

  /** Show the settings of the session. @param {Session | undefined} session */
  drawSettings(session) {
    this._chips.draw(session);
  }

  /**
   * What goes with a message, which is sent now, and the messages that it goes ahead of in the queue.
   * @param {Block[]} blocks of the conversation
   * @returns {[files: Attachment[], sendAt: number | null, behind: UserBlock[]]}
   */
  take(blocks) {
    const ahead = this._drafts.place(this._id);
    this._drafts.setPlace(this._id, null);
    const sendAt = this.schedule.take();
    const later = ahead && sendAt === null ? behind(queuedIn(blocks), ahead) : [];
    return [this.files.take(), sendAt, later];
  }

  leave() {
    this._unwatchDrafts();
    this.composer.stopWatching();
  }

  async _openMore() {
    const { composerMenu } = await import("./composer-menu.js");
    composerMenu({
      api: this._api,
      id: this._id,
      composer: this.composer,
      schedule: this.schedule,
      files: this.files,
      storage: deviceStorage,
      onPromptsChanged: () => this._sources.forget(),
    });
  }
}
