// What the blocks of the open conversation need to know, and what their buttons do.

import { toast } from "../../lib/dialog.js";
import { followLink, hasFinePointer } from "../../lib/dom.js";
import { t } from "../../lib/language.js";
import { sessionPartAddress } from "../../data/addresses.js";
import { attachedPicture } from "../../data/composer/attached-pictures.js";
import { modeName } from "../../data/sessions/offer.js";
import { aheadOf, behind, queuedIn } from "../../data/conversation/queue.js";
import { picture, saveButton } from "./blocks/picture.js";

/**
 * @import { Api } from "../../data/hub/api.js"
 * @import { Outbox } from "../../data/store/outbox.js"
 * @import { Store } from "../../data/store/store.js"
 * @import { Block, BlockContext, Go, UserBlock } from "../../data/types.js"
 * @import { SessionActions } from "./actions.js"
 * @import { Composer } from "./composer/composer.js"
 * @import { ComposerArea } from "./composer/composer-area.js"
 */

/**
 * @param {object} options
 * @param {Store} options.store
 * @param {Api} options.api
 * @param {Outbox} options.outbox
 * @param {string} options.id of the session
 * @param {Go} options.go
 * @param {SessionActions} options.actions
 * @param {Composer} options.composer
 * @param {Pick<ComposerArea, "files" | "schedule" | "keepPlace">} options.area
 * @param {() => Block[]} options.blocks what the conversation shows
 * @param {() => void} options.draw
 * @returns {BlockContext}
 */
export function blockContext(options) {
  const { store, api, outbox, id, go, actions, composer, area, blocks, draw } = options;

  /** Have a message in the composer again. @param {string} text @param {UserBlock} block @param {number | null} sendAt */
  const writeAgain = (text, block, sendAt) => {
    area.files.restore(block.attachments);
    area.schedule.set(sendAt);
    composer.restore(text);
  };

  return {
    active: true,
    refusal: store.access.refusal("approve"),
    modeName: (mode) => modeName(mode, actions.session, store.catalog),
    expanded: new Map(),
    decisions: actions.decisions,
    edit: async (block) => {
      const before = blocks();
      const text = await actions.cancel(block);
      if (text === null) return;
      if (block.state === "queued") area.keepPlace(before, block);
      writeAgain(text, block, block.state === "scheduled" ? (block.scheduledAt ?? null) : null);
    },
    cancel: async (block) => {
      const ahead = aheadOf(queuedIn(blocks()), block.localId);
      const text = await actions.cancel(block);
      if (text === null) return;
      const later = () => (block.state === "queued" ? behind(queuedIn(blocks()), ahead) : []);
      const again = () => actions.send(text, block.attachments, block.scheduledAt, later());
      toast(t("The message was cancelled."), { action: [t("Undo"), again] });
    },
    move: (block, by) => actions.move(queuedIn(blocks()), block, by),
    sendNow: (block) => actions.sendNow(block),
    retry: (block) => actions.retry(block),
    discard: async (block) => {
      const text = await outbox.discard(block.localId);
      if (text === null) return; // another tab is sending it
      writeAgain(text, block, block.scheduledAt ?? null);
    },
    retryQueued: (block) => actions.retryQueued(block),
    decide: async (...decision) => {
      await actions.decide(...decision);
      draw(); // the buttons are gone now, and the focus with them
      // On a phone the keyboard would rise over what was allowed.
      if (document.activeElement === document.body && hasFinePointer()) composer.focus();
    },
    attachedPicture: (attachment) => {
      const content = attachedPicture(api, id, attachment);
      const { filename: fileName, mimeType: mediaType } = attachment;
      return content && picture(content, { fileName, mediaType }, { isOptional: true });
    },
    image: (block) => picture(() => api.generatedImage(id, block.imageId), block),
    fileAddress: (path, line) => {
      const address = sessionPartAddress(id, "files", { path, line });
      return { address, follow: followLink(go, address) };
    },
    save: (block) => saveButton(() => api.generatedImage(id, block.imageId), block),
  };
}
