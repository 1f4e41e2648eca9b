// The files that go with the next message. They are uploaded to the session's machine as soon as they are chosen or pasted.

import { fill, h, iconButton, linkButton } from "../../../lib/dom.js";
import { ApiError, errorMessage, isTemporary, Unreachable } from "../../../lib/errors.js";
import { fileSize } from "../../../lib/format.js";
import { t } from "../../../lib/language.js";
import {
  attachedPicture,
  isPictureType,
  keepPicture,
} from "../../../data/composer/attached-pictures.js";
import { fileName, mediaType, uploadFile } from "../../../data/hub/upload.js";

/** @import { Api } from "../../../data/hub/api.js" */
/** @import { Drafts } from "../../../data/composer/drafts.js" */
/** @import { Attachment } from "../../../data/types.js" */

const THUMBNAIL_SIZE = 68; // px
const MAX_SIZE = 32 * 1024 * 1024; // bytes; the limit of a session

/**
 * @typedef {object} Entry
 * @property {string} name
 * @property {File | null} file null for one that was uploaded before the page was loaded
 * @property {HTMLElement | null} preview of a picture
 * @property {HTMLProgressElement} progress
 * @property {AbortController} ended ends the upload
 * @property {Attachment | null} uploaded null while it is on its way
 * @property {string | null} problem why it is not uploaded, if another attempt may help
 */

/** What has been attached and not sent yet, by session: it outlives a look at another session. @type {Map<string, Entry[]>} */
const unsent = new Map();

export class AttachedFiles {
  /**
   * @param {Pick<Api, "jwt" | "request" | "sessionAddress" | "deleteUpload">} api
   * @param {string} sessionId
   * @param {object} surroundings
   * @param {Drafts} surroundings.drafts
   * @param {() => void} surroundings.onChange
   * @param {(text: string, options?: { tone?: "plain" | "bad" }) => void} surroundings.notify
   */
  constructor(api, sessionId, { drafts, onChange, notify }) {
    this._api = api;
    this._id = sessionId;
    this._drafts = drafts;
    this._onChange = onChange;
    this._notify = notify;
    this.node = h("ul", { class: "attachments", "aria-label": t("Attached files") });
    this.followDraft();
  }

  get _entries() {
    return unsent.get(this._id) ?? [];
  }

  /** Whether files are still on their way, or were not uploaded. */
  get isUploading() {
    return this._entries.some((entry) => !entry.uploaded);
  }

  get isEmpty() {
    return this._entries.length === 0;
  }

  /** Take over what the draft has: it is that of an earlier visit, or another tab has changed it. */
  followDraft() {
    const kept = this._drafts.files(this._id);
    const staying = this._entries.filter(
      ({ uploaded }) => !uploaded || kept.some(({ id }) => id === uploaded.id),
    );
    const added = kept.filter(({ id }) => !staying.some(({ uploaded }) => uploaded?.id === id));
    this._put([...staying, ...added.map((file) => this._entryOf(file))]);
  }

  /** @param {Iterable<File>} files */
  add(files) {
    for (const file of files) {
      if (file.size > MAX_SIZE)
        this._notify(
          t("{name} is too large: a file may have {limit} MB at most. This one has {size}.", {
            name: fileName(file),
            limit: MAX_SIZE / (1024 * 1024),
            size: fileSize(file.size),
          }),
          { tone: "bad" },
        );
      else this._upload(newEntry(file), file);
    }
  }

  /** The uploaded files, which are no longer attached to the next message. */
  take() {
    const taken = this._entries;
    this._set(taken.filter((entry) => !entry.uploaded));
    for (const { file, uploaded } of taken)
      if (file && uploaded && isPictureType(file.type)) keepPicture(uploaded, file);
    return taken.flatMap((entry) => entry.uploaded ?? []);
  }

  /** Attach the files of a message that was taken back again. @param {Attachment[]} attachments */
  restore(attachments) {
    if (attachments.length)
      this._set([...attachments.map((file) => this._entryOf(file)), ...this._entries]);
  }

  /** @param {Entry} entry @param {File} file */
  async _upload(entry, file) {
    entry.problem = null;
    entry.ended = new AbortController();
    if (!this._entries.includes(entry)) this._set([...this._entries, entry]);
    else this._set([...this._entries]);
    try {
      const path = await uploadFile(this._api, this._id, file, {
        onProgress: (fraction) => {
          entry.progress.value = fraction;
        },
        signal: entry.ended.signal,
      });
      entry.uploaded = {
        id: crypto.getRandomValues(new Uint32Array(2)).join("-"),
        filename: entry.name,
        mimeType: mediaType(file),
        size: file.size,
        path,
      };
      if (!this._entries.includes(entry)) this._delete(entry); // removed meanwhile
      this._set([...this._entries]);
    } catch (error) {
      if (entry.ended.signal.aborted) return;
      this._uploadFailed(entry, error);
    }
  }

  /** @param {Entry} entry @param {unknown} error */
  _uploadFailed(entry, error) {
    const mayPass =
      error instanceof Unreachable || (error instanceof ApiError && isTemporary(error));
    if (mayPass) {
      entry.problem = errorMessage(error);
      this._set([...this._entries]);
    } else this._set(this._entries.filter((other) => other !== entry));
    this._notify(
      t("{name} was not attached. {reason}", { name: entry.name, reason: errorMessage(error) }),
      { tone: "bad" },
    );
  }

  /** @param {Entry} entry */
  _remove(entry) {
    entry.ended.abort();
    this._set(this._entries.filter((other) => other !== entry));
    this._delete(entry);
  }

  /** Best effort: what stays is removed with the session. @param {Entry} entry */
  _delete({ uploaded }) {
    if (uploaded) this._api.deleteUpload(this._id, uploaded.path).catch(() => {});
  }

  /** The entry of a file that has been uploaded. @param {Attachment} uploaded @returns {Entry} */
  _entryOf(uploaded) {
    const content = attachedPicture(this._api, this._id, uploaded);
    return {
      name: uploaded.filename,
      file: null,
      preview: content && thumbnail(content),
      progress: h("progress"),
      ended: new AbortController(),
      uploaded,
      problem: null,
    };
  }

  /** @param {Entry[]} entries */
  _set(entries) {
    this._put(entries);
    this._drafts.setFiles(
      this._id,
      entries.flatMap(({ uploaded }) => uploaded ?? []),
    );
  }

  /** @param {Entry[]} entries */
  _put(entries) {
    if (entries.length) unsent.set(this._id, entries);
    else unsent.delete(this._id);
    this._draw();
    this._onChange();
  }

  _draw() {
    this.node.hidden = this.isEmpty;
    fill(
      this.node,
      this._entries.map((entry) => this._entryNode(entry)),
    );
  }

  /** @param {Entry} entry */
  _entryNode(entry) {
    const { name, file, preview, progress, problem, uploaded } = entry;
    const state = problem ? "failed" : uploaded ? "" : "uploading";
    return h(
      "li",
      { class: state },
      preview,
      h("span", { class: "name" }, name),
      problem && h("span", { class: "why" }, t("Not uploaded")),
      problem && file && linkButton(t("Try again"), () => this._upload(entry, file)),
      !uploaded && !problem && [h("span", { class: "muted" }, t("Uploading…")), progress],
      iconButton("close", t("Remove {name}", { name }), {
        on: { click: () => this._remove(entry) },
      }),
    );
  }
}

/** @param {File} file @returns {Entry} */
function newEntry(file) {
  const name = fileName(file);
  return {
    name,
    file,
    preview: isPictureType(file.type) ? thumbnail(async () => file) : null,
    progress: h("progress", { max: "1", value: 0, "aria-label": t("Upload of {name}", { name }) }),
    ended: new AbortController(),
    uploaded: null,
    problem: null,
  };
}

/** A small picture of a file, on a canvas: the page loads no addresses but the hub's. @param {() => Promise<Blob>} content */
function thumbnail(content) {
  const canvas = h("canvas", { width: THUMBNAIL_SIZE, height: THUMBNAIL_SIZE });
  content()
    .then((file) =>
      createImageBitmap(file, { resizeHeight: THUMBNAIL_SIZE, resizeQuality: "medium" }),
    )
    .then((bitmap) => {
      canvas.width = bitmap.width;
      canvas.getContext("2d")?.drawImage(bitmap, 0, 0);
      bitmap.close();
    })
    .catch(() => canvas.remove()); // no picture after all, or it is gone; its name is shown
  return canvas;
}
