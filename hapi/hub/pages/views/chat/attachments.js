// The files that go with the next message. They are uploaded to the session's machine as soon as they are chosen or pasted.

import { fill, h, iconButton } from "../../lib/dom.js";
import { errorMessage } from "../../lib/errors.js";

/** @import { Api } from "../../data/api.js" */
/** @import { Attachment } from "../../data/types.js" */

const THUMBNAIL_SIZE = 68; // px
const MAX_SENT_PICTURES = 30; // that are kept to be shown in the conversation
const MAX_SIZE = 32 * 1024 * 1024; // bytes; the limit of a session

/**
 * @typedef {object} Entry
 * @property {string} name
 * @property {HTMLElement | null} preview of a picture
 * @property {File | null} picture
 * @property {Attachment | null} uploaded null while it is on its way
 */

/** What has been attached and not sent yet, by session: it outlives a look at another session. @type {Map<string, Entry[]>} */
const unsent = new Map();

/** Pictures that were attached on this page, by the id of the attachment. @type {Map<string, File>} */
const sentPictures = new Map();

/** The content of a picture that was attached on this page. @param {Attachment} attachment */
export function sentPicture({ id }) {
  return sentPictures.get(id) ?? null;
}

/** @param {Entry} entry */
function keepPicture({ picture, uploaded }) {
  if (!picture || !uploaded) return;
  sentPictures.set(uploaded.id, picture);
  for (const oldest of sentPictures.keys()) {
    if (sentPictures.size <= MAX_SENT_PICTURES) break;
    sentPictures.delete(oldest);
  }
}

export class AttachedFiles {
  /**
   * @param {Pick<Api, "uploadFile" | "deleteUpload">} api
   * @param {string} sessionId
   * @param {{ onChange: () => void, notify: (text: string, options?: { tone?: "plain" | "bad" }) => void }} callbacks
   */
  constructor(api, sessionId, { onChange, notify }) {
    this._api = api;
    this._id = sessionId;
    this._onChange = onChange;
    this._notify = notify;
    this.node = h("ul", { class: "attachments", "aria-label": "Attached files" });
    this._draw();
  }

  get _entries() {
    return unsent.get(this._id) ?? [];
  }

  /** Whether files are still on their way. */
  get isUploading() {
    return this._entries.some((entry) => !entry.uploaded);
  }

  get isEmpty() {
    return this._entries.length === 0;
  }

  /** @param {Iterable<File>} files */
  add(files) {
    for (const file of files) {
      if (file.size > MAX_SIZE)
        this._notify(
          `${file.name} is too large: a file may have ${MAX_SIZE / (1024 * 1024)} MB at most.`,
          { tone: "bad" },
        );
      else this._upload(file);
    }
  }

  /** The uploaded files, which are no longer attached to the next message. */
  take() {
    const taken = this._entries;
    this._set(taken.filter((entry) => !entry.uploaded));
    taken.forEach(keepPicture);
    return taken.flatMap((entry) => entry.uploaded ?? []);
  }

  /** Attach the files of a message that was taken back again. @param {Attachment[]} attachments */
  restore(attachments) {
    const entries = attachments.map((uploaded) => {
      const picture = sentPicture(uploaded);
      const preview = picture && thumbnail(picture);
      return { name: uploaded.filename, preview, picture, uploaded };
    });
    if (entries.length) this._set([...entries, ...this._entries]);
  }

  /** @param {File} file */
  async _upload(file) {
    const isPicture = /^image\/(png|jpeg|gif|webp)$/.test(file.type);
    /** @type {Entry} */
    const entry = {
      name: file.name || "file",
      preview: isPicture ? thumbnail(file) : null,
      picture: isPicture ? file : null,
      uploaded: null,
    };
    this._set([...this._entries, entry]);
    const { name } = entry;
    const mimeType = file.type || "application/octet-stream";
    try {
      const answer = await this._api.uploadFile(this._id, name, mimeType, await base64Of(file));
      if (!answer.success) throw new Error(answer.error || "The session did not take it.");
      entry.uploaded = {
        id: crypto.getRandomValues(new Uint32Array(2)).join("-"),
        filename: name,
        mimeType,
        size: file.size,
        path: answer.path,
      };
      if (!this._entries.includes(entry)) this._delete(entry); // removed meanwhile
      this._set([...this._entries]);
    } catch (error) {
      this._remove(entry);
      this._notify(`${name} was not attached. ${errorMessage(error)}`, { tone: "bad" });
    }
  }

  /** @param {Entry} entry */
  _remove(entry) {
    this._set(this._entries.filter((other) => other !== entry));
    this._delete(entry);
  }

  /** Best effort: what stays is removed with the session. @param {Entry} entry */
  _delete({ uploaded }) {
    if (uploaded) this._api.deleteUpload(this._id, uploaded.path).catch(() => {});
  }

  /** @param {Entry[]} entries */
  _set(entries) {
    if (entries.length) unsent.set(this._id, entries);
    else unsent.delete(this._id);
    this._draw();
    this._onChange();
  }

  _draw() {
    this.node.hidden = this.isEmpty;
    fill(
      this.node,
      this._entries.map((entry) => {
        const { name, preview, uploaded } = entry;
        return h(
          "li",
          { class: uploaded ? "" : "uploading" },
          preview,
          h("span", { class: "name" }, name),
          !uploaded && h("span", { class: "muted" }, "Uploading…"),
          iconButton("close", `Remove ${name}`, {
            on: { click: () => this._remove(entry) },
          }),
        );
      }),
    );
  }
}

/**
 * The button with which a person chooses files; they can be pasted into `box` as well.
 * @param {AttachedFiles} files
 * @param {HTMLTextAreaElement} box
 */
export function attachButton(files, box) {
  const chooser = h("input", { type: "file", multiple: true });
  const attach = iconButton("clip", "Attach files", { on: { click: () => chooser.click() } });
  chooser.addEventListener("change", () => {
    files.add(chooser.files ?? []);
    chooser.value = "";
  });
  box.addEventListener("paste", (event) => {
    const pasted = event.clipboardData?.files;
    if (!pasted?.length || attach.disabled) return;
    event.preventDefault();
    files.add(pasted);
  });
  return attach;
}

/** A small picture of a file, on a canvas: the page loads no addresses but the hub's. @param {File} file */
function thumbnail(file) {
  const canvas = h("canvas", { width: THUMBNAIL_SIZE, height: THUMBNAIL_SIZE });
  createImageBitmap(file, { resizeHeight: THUMBNAIL_SIZE, resizeQuality: "medium" })
    .then((bitmap) => {
      canvas.width = bitmap.width;
      canvas.getContext("2d")?.drawImage(bitmap, 0, 0);
      bitmap.close();
    })
    .catch(() => canvas.remove()); // no picture after all; its name is shown
  return canvas;
}

/** @param {File} file @returns {Promise<string>} */
function base64Of(file) {
  return new Promise((resolve, reject) => {
    const reader = new FileReader();
    reader.onload = () => resolve(String(reader.result).replace(/^[^,]*,/, ""));
    reader.onerror = () => reject(new Error("The file cannot be read."));
    reader.readAsDataURL(file);
  });
}
