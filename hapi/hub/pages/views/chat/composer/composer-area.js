// The place to write: the composer with its files, settings, time and completions, and the draft that it keeps.

import { toast } from "../../../lib/dialog.js";
import { deviceStorage } from "../../../lib/storage.js";
import { CompletionSources } from "../../../data/composer/completion-sources.js";
import { AttachedFiles } from "./attachments.js";
import { Composer } from "./composer.js";
import { scheduleChip } from "./schedule-chip.js";
import { settingChips } from "./setting-chips.js";

/**
 * @import { Api } from "../../../data/hub/api.js"
 * @import { Drafts } from "../../../data/composer/drafts.js"
 * @import { Store } from "../../../data/store/store.js"
 * @import { Attachment, Session } from "../../../data/types.js"
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
      onDraft: (text) => drafts.set(id, text),
      onSend: send,
      onStop: stop,
      find: (token, show) => this._sources.find(token, show),
      notify: toast,
      storage: deviceStorage,
    });
    this._unwatchDrafts = drafts.watch((changed) => {
      if (changed !== id) return;
      this.composer.follow(drafts.get(id));
      this.files.followDraft();
    });
  }

  /** Show the settings of the session. @param {Session | undefined} session */
  drawSettings(session) {
    this._chips.draw(session);
  }

  /** What goes with a message, which is sent now. @returns {[files: Attachment[], sendAt: number | null]} */
  take() {
    return [this.files.take(), this.schedule.take()];
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
