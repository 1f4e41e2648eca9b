// The files of a session's directory: browse, search by name and by content, read, save.

import { sessionPartAddress } from "../../data/addresses.js";
import { extensionOf, isText, pictureType, textOf } from "../../data/work/file-content.js";
import { fileNamedBy } from "../../data/work/file-references.js";
import { button, fill, followLink, h, icon, iconButton } from "../../lib/dom.js";
import { toast } from "../../lib/dialog.js";
import { fileSize, relativeTime } from "../../lib/format.js";
import { t } from "../../lib/language.js";
import { markdown } from "../../lib/markdown/markdown.js";
import { deviceStorage } from "../../lib/storage.js";
import { picture } from "../chat/blocks/picture.js";
import { codeLines } from "./code-lines.js";
import { foundFiles, foundLines } from "./found.js";
import { waitingNote, workFrame } from "./frame.js";
import { LatestRead } from "./latest-read.js";

/**
 * @import { Child } from "../../lib/dom.js"
 * @import { View, ViewContext } from "../../data/types.js"
 * @import { DirectoryEntry, FileContent } from "../../data/work/work-requests.js"
 */

const FOUND_FILES = 200;
const ENTRIES_AT_ONCE = 500;
const SAVE_TIMEOUT = 60_000; // ms for which a browser may read a file that it saves
const WRAP_KEY = "hapi.file.wrap";

/** @param {ViewContext} context @returns {View} */
export function view(context) {
  return new FilesView(context);
}

/** @implements {View} */
class FilesView {
  /** @param {ViewContext} context */
  constructor(context) {
    this._context = context;
    this._frame = workFrame(context, "files");
    this._query = context.query;
    this._reading = new LatestRead(this._frame.body, () => this._show());
    this._showsSource = false;
    this.node = this._frame.node;
  }

  async start() {
    fill(this._frame.body, waitingNote(t("Reading…")));
    await this._frame.start();
    this._show();
  }

  draw() {
    this._frame.drawHead();
  }

  title() {
    return t("Files of {title}", { title: this._frame.title() });
  }

  /** @param {URLSearchParams} query */
  navigate(query) {
    this._query = query;
    this._showsSource = false;
    this._show();
  }

  leave() {
    this._reading.end();
  }

  /** Show what the address says. */
  _show() {
    if (this._reading.hasEnded) return;
    const path = this._query.get("path");
    const searched = this._query.get("q")?.trim();
    if (path !== null) this._showFile(path);
    else if (searched) this._showFound(searched, this._query.get("in") === "content");
    else this._showDirectory(this._query.get("dir") ?? "");
  }

  /** @param {Record<string, string | number | null>} query */
  _address(query) {
    return sessionPartAddress(this._context.id, "files", query);
  }

  /** @param {Child} content @param {Record<string, string | number | null>} query @param {string} [style] */
  _link(content, query, style = "") {
    const address = this._address(query);
    return h(
      "a",
      { class: style, href: address, on: { click: followLink(this._context.go, address) } },
      content,
    );
  }

  /**
   * @template Result
   * @param {Child} head
   * @param {() => Promise<Result>} read
   * @param {(result: Result) => Child} draw
   */
  _load(head, read, draw) {
    fill(this._frame.body, head, waitingNote(t("Reading…")));
    return this._reading.show(read, draw, head);
  }

  // --- the directory ---

  /** @param {string} path */
  _showDirectory(path) {
    return this._load(
      [this._searchForm("", false), this._crumbs(path, true)],
      () => this._frame.requests.directory(path),
      (entries) => this._entries(path, entries),
    );
  }

  /** @param {string} path @param {DirectoryEntry[]} entries */
  _entries(path, entries) {
    if (entries.length === 0) return h("p", { class: "empty-note" }, t("This directory is empty."));
    const sorted = entries.toSorted(
      (one, other) =>
        Number(other.type === "directory") - Number(one.type === "directory") ||
        one.name.localeCompare(other.name),
    );
    const list = h("ul", { class: "work-list work-groups" });
    const more = button(t("Show more"), { class: "work-more", on: { click: () => drawMore() } });
    const drawMore = () => {
      const start = list.childElementCount;
      for (const entry of sorted.slice(start, start + ENTRIES_AT_ONCE))
        list.append(h("li", null, this._entry(path, entry)));
      more.hidden = list.childElementCount === sorted.length;
    };
    drawMore();
    return [list, more];
  }

  /** @param {string} directory @param {DirectoryEntry} entry */
  _entry(directory, { name, type, size, modified }) {
    const path = directory ? `${directory}/${name}` : name;
    const isExact = !name.includes("�");
    const facts = [
      type === "file" && typeof size === "number" && fileSize(size),
      typeof modified === "number" && relativeTime(modified),
      type === "other" && t("not a file of this directory"),
      !isExact && t("The name is not UTF-8 and can't be opened here."),
    ].filter(Boolean);
    const content = [
      icon(type === "directory" ? "folder" : "file"),
      h("span", { class: "work-name" }, h("span", { class: "work-base" }, name)),
      h("span", { class: "work-counts" }, facts.join(" · ")),
    ];
    if (type === "other" || !isExact) return h("span", { class: "work-row" }, content);
    return this._link(content, type === "directory" ? { dir: path } : { path }, "work-row");
  }

  /** The way from the session's directory to `path`. @param {string} path @param {boolean} isDirectory */
  _crumbs(path, isDirectory) {
    const parts = path.split("/").filter(Boolean);
    const isAbsolute = path.startsWith("/");
    return h(
      "nav",
      { class: "work-crumbs work-file-head", "aria-label": t("Directories") },
      h(
        "span",
        { class: "work-crumbs" },
        this._link(t("Files"), {}, "crumb"),
        parts.map((part, index) => {
          const isLast = index === parts.length - 1;
          const dir = (isAbsolute ? "/" : "") + parts.slice(0, index + 1).join("/");
          return [
            "/",
            isLast ? h("span", { class: "work-path" }, part) : this._link(part, { dir }, "crumb"),
          ];
        }),
      ),
      !isDirectory && h("span", { class: "work-tools" }),
    );
  }

  // --- search ---

  /** @param {string} value @param {boolean} inContent */
  _searchForm(value, inContent) {
    const field = h("input", {
      type: "search",
      value,
      placeholder: t("Search files"),
      "aria-label": t("Search files"),
    });
    const place = h(
      "select",
      { "aria-label": t("Search in") },
      h("option", { value: "name" }, t("in names")),
      h("option", { value: "content" }, t("in contents")),
    );
    place.value = inContent ? "content" : "name";
    const search = () => {
      const q = field.value.trim();
      const address = this._address(
        q ? { q, in: place.value === "content" ? "content" : null } : {},
      );
      this._context.go(address);
    };
    return h(
      "form",
      {
        class: "file-search",
        role: "search",
        on: {
          submit: (/** @type {Event} */ event) => {
            event.preventDefault();
            search();
          },
        },
      },
      field,
      place,
      button(t("Search"), { type: "submit", class: "primary" }),
    );
  }

  /** @param {string} searched @param {boolean} inContent */
  _showFound(searched, inContent) {
    const { requests } = this._frame;
    const link = this._link.bind(this);
    const head = [this._searchForm(searched, inContent), this._crumbs("", true)];
    if (inContent)
      return this._load(
        head,
        () => requests.searchContent(searched),
        (found) => foundLines(found, searched, link),
      );
    return this._load(
      head,
      () => requests.findFiles(searched, FOUND_FILES),
      (paths) => foundFiles(paths, FOUND_FILES, link),
    );
  }

  // --- one file ---

  /** @param {string} path */
  _showFile(path) {
    const head = this._crumbs(path, false);
    return this._load(
      head,
      () => this._frame.requests.file(path),
      (content) => {
        const tools = head.querySelector(".work-tools");
        const isMarkdown = ["md", "markdown"].includes(extensionOf(path));
        const shown = this._content(path, content, isMarkdown && !this._showsSource);
        if (tools) fill(tools, this._tools(path, content, isMarkdown));
        return shown;
      },
    );
  }

  /** @param {string} path @param {FileContent} content @param {boolean} isMarkdown */
  _tools(path, { bytes, size }, isMarkdown) {
    return [
      h("span", { class: "work-counts" }, fileSize(size)),
      isMarkdown &&
        button(this._showsSource ? t("Preview") : t("Source"), {
          on: {
            click: () => {
              this._showsSource = !this._showsSource;
              this._show();
            },
          },
        }),
      isText(bytes) &&
        (!isMarkdown || this._showsSource) &&
        button(this._wraps ? t("Don't wrap") : t("Wrap lines"), {
          on: { click: () => this._toggleWrap() },
        }),
      iconButton("copy", t("Copy path"), {
        on: {
          click: async () => {
            await navigator.clipboard.writeText(path).then(
              () => toast(t("The path is copied.")),
              () => toast(t("The browser does not allow copying here."), { tone: "bad" }),
            );
          },
        },
      }),
      iconButton("download", t("Download"), { on: { click: () => save(path, bytes) } }),
    ];
  }

  get _wraps() {
    return deviceStorage.getItem(WRAP_KEY) === "1";
  }

  _toggleWrap() {
    if (this._wraps) deviceStorage.removeItem(WRAP_KEY);
    else deviceStorage.setItem(WRAP_KEY, "1");
    this._show();
  }

  /** @param {string} path @param {FileContent} content @param {boolean} asMarkdown */
  _content(path, { bytes, size }, asMarkdown) {
    const type = pictureType(path);
    if (size === 0) return h("p", { class: "empty-note" }, t("This file is empty."));
    if (type) {
      const shown = { fileName: path, mediaType: type };
      return h(
        "div",
        { class: "file-picture" },
        picture(async () => new Blob([bytes], { type }), shown),
      );
    }
    if (!isText(bytes))
      return h("p", { class: "empty-note" }, t("A binary file: it can only be downloaded."));
    const text = textOf(bytes);
    const line = Number(this._query.get("line"));
    const chosen = Number.isInteger(line) && line > 0 ? line : null;
    if (asMarkdown && chosen === null) {
      const shown = markdown(text, (...named) => this._namedFile(path, ...named));
      return h("div", { class: "file-markdown" }, shown);
    }
    const lines = codeLines(text, { path, chosen, wraps: this._wraps });
    requestAnimationFrame(() => lines.showChosen());
    return lines.node;
  }

  /**
   * A picture of a document's, or a link to the file that it names; null if it names none.
   * @param {string} document its path
   * @param {string} address
   * @param {boolean} isPicture
   * @param {Child} label
   */
  _namedFile(document, address, isPicture, label) {
    const path = fileNamedBy(document, address);
    if (path === null) return null;
    const mediaType = isPicture ? pictureType(path) : null;
    if (mediaType === null)
      return this._link(label, address.endsWith("/") ? { dir: path } : { path });
    const read = async () => {
      const { bytes } = await this._frame.requests.file(path);
      return new Blob([bytes], { type: mediaType });
    };
    return picture(read, { fileName: path, mediaType });
  }
}

/** Have the browser save a file. @param {string} path @param {Uint8Array<ArrayBuffer>} bytes */
function save(path, bytes) {
  const address = URL.createObjectURL(new Blob([bytes], { type: "application/octet-stream" }));
  h("a", { href: address, download: path.split("/").at(-1) || "file" }).click();
  setTimeout(() => URL.revokeObjectURL(address), SAVE_TIMEOUT);
}
