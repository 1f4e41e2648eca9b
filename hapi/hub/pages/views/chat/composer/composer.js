// The place to write: a box that grows with the text, what goes with the message, and what it can be made of.

import { endsComposition, h, hasFinePointer, iconButton } from "../../../lib/dom.js";
import { t } from "../../../lib/language.js";
import { enterChoice, enterSends } from "../../../data/composer/preferences.js";
import { CompletionMenu } from "./completion-menu.js";
import { dictation } from "../blocks/speech.js";
import { fileIntake } from "./file-intake.js";

/**
 * @import { Completion, Token } from "../../../data/composer/completions.js"
 * @import { AttachedFiles } from "./attachments.js"
 */

const MAX_HEIGHT = 220; // px
const CARET_KEYS = ["ArrowLeft", "ArrowRight", "Home", "End"];

/**
 * @typedef {object} ComposerOptions
 * @property {string} text
 * @property {(text: string) => void} onDraft called after each change by the person
 * @property {(text: string) => void} onSend
 * @property {() => Promise<unknown>} onStop
 * @property {AttachedFiles} files
 * @property {Node} [settings] what the agent works with
 * @property {{ node: Node, at: number | null }} [schedule] when the message is sent, null: at once
 * @property {(token: Token, show: (items: Completion[], note?: string) => void) => void} [find] completions
 * @property {() => void} [onMore] the person wants to see what else there is
 * @property {(text: string, options?: { tone?: "plain" | "bad" }) => void} notify
 * @property {Storage} storage of the device
 */

/**
 * @typedef {object} ComposerState
 * @property {boolean} enabled
 * @property {boolean} [isUnread] the session is not known yet: a message can be written, and sent later
 * @property {boolean} thinking
 * @property {boolean} resumes a message resumes the session
 * @property {boolean} active files can be uploaded to the session
 * @property {string | null} refusal why this person cannot write
 */

export class Composer {
  /** @param {ComposerOptions} options */
  constructor({ text, onDraft, onSend, onStop, files, settings, ...more }) {
    const { schedule, find, onMore, notify, storage } = more;
    this._onDraft = onDraft;
    this._onSend = onSend;
    this._files = files;
    this._schedule = schedule;
    this._notify = notify;
    this._storage = storage;
    /** @type {string | null} why no file can be attached */
    this._fileRefusal = null;
    this._isUnread = false; // the session is not known yet
    this._box = h("textarea", {
      rows: "1",
      "aria-label": t("Message"),
      placeholder: t("Message"),
      enterkeyhint: "enter",
      value: text,
    });
    this._submit = iconButton("send", t("Send"), { type: "submit", class: "send" });
    this._stop = iconButton("stop", t("Stop the agent"), { class: "stop", hidden: true });
    this._stop.addEventListener("click", async () => {
      this._stop.disabled = true;
      await onStop();
      this._stop.disabled = false;
    });
    this._menu = new CompletionMenu({
      box: this._box,
      find: find ?? (() => {}),
      write: (completed) => this._setText(completed),
    });
    this._intake = fileIntake({ files, refusal: () => this._fileRefusal, notify });
    this._more = iconButton("plus", t("More for this message"), {
      "aria-haspopup": "dialog",
      hidden: !onMore,
      on: { click: () => onMore?.() },
    });
    this._dictation = dictation({
      text: () => this._box.value,
      write: (said) => this._setText(said),
      notify,
    });
    this._shrink = iconButton("down", t("Show the conversation"), {
      class: "shrink",
      hidden: true,
      on: { click: () => this.setFullScreen(false) },
    });
    const spring = h("span", { class: "spring" });
    const tools = [this._more, this._intake.attach, settings, spring];
    const ends = [this._dictation?.node, this._stop, this._submit];
    this.node = h(
      "form",
      { class: "composer" },
      this._shrink,
      this._menu.node,
      schedule?.node,
      files.node,
      this._box,
      h("div", { class: "composer-bar" }, tools, ends),
    );
    this._listen();
  }

  _listen() {
    this.node.addEventListener("submit", (event) => {
      event.preventDefault();
      this._send();
    });
    this._box.addEventListener("input", () => this._setText(this._box.value));
    this._box.addEventListener("keyup", ({ key }) => {
      if (CARET_KEYS.includes(key)) this._menu.update();
    });
    this._box.addEventListener("keydown", (event) => this._onKey(event));
    requestAnimationFrame(() => this._resize());
  }

  /** What is shown over the conversation while files are dragged onto it. */
  get overlay() {
    return this._intake.overlay;
  }

  get text() {
    return this._box.value;
  }

  get isSendable() {
    const hasContent = this._box.value.trim() !== "" || !this._files.isEmpty;
    return hasContent && !this._files.isUploading && !this._box.disabled && !this._isUnread;
  }

  focus() {
    this._box.focus();
  }

  /** Write on the whole pane, or below the conversation. @param {boolean} isFull */
  setFullScreen(isFull) {
    this.node.classList.toggle("full-screen", isFull);
    this._shrink.hidden = !isFull;
    this._resize();
    if (isFull) this._box.focus();
  }

  takePhoto() {
    this._intake.takePhoto();
  }

  /** The text, which is no longer in the box. */
  take() {
    const written = this._box.value.trim() ? this._box.value : "";
    this._setText("");
    return written;
  }

  /** Show a text that another tab has written. @param {string} text */
  follow(text) {
    if (this._box.value === text) return;
    this._box.value = text;
    this._resize();
  }

  /** Write a text in the place of all that is written. @param {string} text */
  replace(text) {
    this._box.value = text;
    this._box.setSelectionRange(text.length, text.length);
    this._setText(text);
    this._box.focus();
  }

  /** Put a text at the caret, on a line of its own if there is other text. @param {string} added */
  insert(added) {
    const { value, selectionStart, selectionEnd } = this._box;
    const before = value.slice(0, selectionStart);
    const gap = before && !/\s$/.test(before) ? "\n" : "";
    const caret = before.length + gap.length + added.length;
    this._setText(before + gap + added + value.slice(selectionEnd));
    this._box.focus();
    this._box.setSelectionRange(caret, caret);
  }

  /** Put a text that was not sent before what is being written. @param {string | null} unsent */
  restore(unsent) {
    if (unsent === null) return;
    this._setText(this._box.value.trim() ? `${unsent}\n${this._box.value}` : unsent);
    this._box.focus();
  }

  /** Files have been added, uploaded or removed. */
  filesChanged() {
    this._resize();
  }

  /** Take files that are dropped onto `zone` or pasted. @param {HTMLElement} zone */
  watch(zone) {
    this._intake.watch(zone);
  }

  stopWatching() {
    this._intake.stop();
  }

  /** @param {ComposerState} state */
  update({ enabled: isOpen, isUnread = false, thinking, resumes, active, refusal }) {
    const enabled = isOpen && refusal === null;
    const isWritable = enabled || isUnread;
    const unreachable = active ? null : t("Files can be attached while the session runs.");
    this._fileRefusal = refusal ?? unreachable;
    this._intake.attach.disabled = this._fileRefusal !== null;
    this._more.disabled = !enabled;
    if (this._dictation) this._dictation.node.disabled = !enabled;
    if (this._box.disabled === isWritable || this._isUnread !== isUnread) {
      this._box.disabled = !isWritable;
      this._isUnread = isUnread;
      this._resize();
    }
    this._box.placeholder =
      isOpen && refusal !== null ? refusal : placeholderOf(isOpen || isUnread, resumes);
    this._stop.hidden = !thinking || refusal !== null;
  }

  /** Whether the message is sent at a time of its own. */
  get _isScheduled() {
    return this._schedule !== undefined && this._schedule.at !== null;
  }

  /** The person has chosen another time. */
  scheduleChanged() {
    const label = this._isScheduled ? t("Schedule") : t("Send");
    this._submit.setAttribute("aria-label", label);
    this._submit.title = label;
  }

  _send() {
    if (!this.isSendable) return;
    if (this._isScheduled && !this._files.isEmpty)
      this._notify(
        t("A message that is sent later cannot have files. Remove them, or send it now."),
        {
          tone: "bad",
        },
      );
    else {
      this._dictation?.stop();
      this.setFullScreen(false);
      this._onSend(this.take());
    }
  }

  /** @param {string} text */
  _setText(text) {
    if (this._box.value !== text) this._box.value = text;
    this._resize();
    this._onDraft(text);
    this._menu.update();
  }

  _resize() {
    this._box.style.height = "auto";
    this._box.style.height = `${Math.min(this._box.scrollHeight, MAX_HEIGHT)}px`;
    this._submit.disabled = !this.isSendable;
  }

  /** @param {KeyboardEvent} event */
  _onKey(event) {
    if (endsComposition(event)) return;
    if (this._menu.handles(event)) {
      event.preventDefault();
    } else if (event.key === "Enter") {
      if (!enterSends(event, enterChoice(this._storage), hasFinePointer())) return;
      event.preventDefault();
      this._send();
    }
  }
}

/** @param {boolean} enabled @param {boolean} resumes */
function placeholderOf(enabled, resumes) {
  if (!enabled) return t("This session has ended");
  return resumes ? t("Message to resume") : t("Message");
}
