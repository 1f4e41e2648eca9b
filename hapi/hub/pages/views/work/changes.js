// What has changed in the session's directory: the list of changed files, and the diff of one of them.

import { sessionPartAddress } from "../../data/addresses.js";
import { newFileDiff, parseFileDiff } from "../../data/work/hunks.js";
import { Review } from "../../data/work/review.js";
import { isText, textOf } from "../../data/work/file-content.js";
import { totals } from "../../data/work/working-tree.js";
import { button, fill, followLink, h, iconButton } from "../../lib/dom.js";
import { plural, t } from "../../lib/language.js";
import { deviceStorage } from "../../lib/storage.js";
import { DiffView } from "./diff.js";
import { GitActions } from "./git-actions.js";
import { waitingNote, workFrame } from "./frame.js";
import { LatestRead } from "./latest-read.js";
import { fileMark, lineCounts } from "./marks.js";
import { reviewBar } from "./review-bar.js";

/**
 * @import { FileDiff } from "../../data/work/hunks.js"
 * @import { View, ViewContext } from "../../data/types.js"
 * @import { ChangedFile, WorkingTree } from "../../data/work/working-tree.js"
 */

const ROWS_AT_ONCE = 300; // files of a group shown at first and with each "Show more"
const FILTER_FROM = 20; // files from which the list has a filter
const SPLIT_KEY = "hapi.diff.split";
const WRAP_KEY = "hapi.file.wrap"; // files have the same
const WIDE = "(min-width: 1100px)"; // enough for two columns beside the list of sessions
/** @param {ViewContext} context @returns {View} */
export function view(context) {
  return new ChangesView(context);
}

/** @implements {View} */
class ChangesView {
  /** @param {ViewContext} context */
  constructor(context) {
    this._context = context;
    this._frame = workFrame(context, "changes");
    this._review = new Review(deviceStorage, context.id);
    this._bar = reviewBar({ context, review: this._review, frame: this._frame });
    /** @type {WorkingTree | null} */
    this._tree = null;
    /** @type {DiffView | null} */
    this._diff = null;
    this._query = context.query;
    this._filter = "";
    this._reading = new LatestRead(this._frame.body, () => this._show());
    this._actions = new GitActions({
      requests: this._frame.requests,
      mayAct: () => context.store.access.allows("approve"),
      reload: () => this._show(),
    });
    this.node = this._frame.node;
    this._review.onChange = () => {
      this._bar.draw();
      this._diff?.drawComments();
    };
    this._widths = matchMedia(WIDE);
    this._onWidth = () => this._show();
    this._widths.addEventListener("change", this._onWidth);
  }

  async start() {
    this._bar.draw();
    fill(this._frame.body, waitingNote(t("Reading the changes…")));
    await this._frame.start();
    this._show();
  }

  draw() {
    this._frame.drawHead();
  }

  title() {
    return t("Changes of {title}", { title: this._frame.title() });
  }

  /** @param {URLSearchParams} query */
  navigate(query) {
    this._query = query;
    this._show();
  }

  leave() {
    this._widths.removeEventListener("change", this._onWidth);
    this._reading.end();
  }

  /** Show what the address says. */
  _show() {
    if (this._reading.hasEnded) return Promise.resolve();
    const path = this._query.get("path");
    return path === null
      ? this._showList()
      : this._showFile(path, this._query.get("staged") === "true");
  }

  async _showList() {
    this._diff = null;
    const { requests } = this._frame;
    if (!this._tree) fill(this._frame.body, waitingNote(t("Reading the changes…")));
    await this._reading.show(
      () => requests.workingTree(),
      (tree) => {
        this._tree = tree;
        return this._list(tree);
      },
    );
    if (!this._tree) return;
    const isCurrent = this._reading.mark();
    const [counted] = await Promise.all([
      requests.counted(this._tree).catch(() => this._tree), // the list is worth having without counts
      this._actions.read(),
    ]);
    if (!counted || !isCurrent()) return;
    this._tree = counted;
    const { scrollTop } = this._frame.body;
    fill(this._frame.body, this._list(counted));
    this._frame.body.scrollTop = scrollTop;
  }

  /** @param {WorkingTree} tree */
  _list(tree) {
    const all = [...tree.staged, ...tree.unstaged, ...tree.untracked];
    const groups = h("div", { class: "work-groups" });
    const drawGroups = () =>
      fill(
        groups,
        this._group(t("Staged"), tree.staged, true),
        this._group(t("Not staged"), tree.unstaged, false),
        this._group(t("Untracked"), tree.untracked, false),
      );
    drawGroups();
    const filter = h("input", {
      type: "search",
      placeholder: t("Filter by path"),
      "aria-label": t("Filter the changed files"),
      value: this._filter,
      on: {
        input: () => {
          this._filter = filter.value;
          drawGroups();
        },
      },
    });
    return [
      this._branchLine(tree, all),
      this._actions.treeButtons(tree),
      all.length === 0 &&
        h(
          "p",
          { class: "empty-note" },
          t("There are no changes. What the agent edits appears here."),
        ),
      all.length >= FILTER_FROM && h("div", { class: "work-filter" }, filter),
      groups,
    ];
  }

  /** @param {WorkingTree} tree @param {ChangedFile[]} all */
  _branchLine(tree, all) {
    const { files, added, removed } = totals(all);
    return h(
      "div",
      { class: "work-summary" },
      h(
        "p",
        { class: "work-branch" },
        h(
          "strong",
          null,
          tree.branch ?? t("detached at {commit}", { commit: tree.commit?.slice(0, 10) ?? "?" }),
        ),
        tree.commit === null && h("span", { class: "tag" }, t("no commit yet")),
        tree.ahead > 0 && h("span", { class: "tag" }, t("{count} ahead", { count: tree.ahead })),
        tree.behind > 0 &&
          h("span", { class: "tag caution" }, t("{count} behind", { count: tree.behind })),
      ),
      h(
        "p",
        { class: "muted" },
        plural(files, "{count} changed file", "{count} changed files"),
        files > 0 && [
          " · ",
          h("span", { class: "plus" }, `+${added}`),
          " ",
          h("span", { class: "minus" }, `−${removed}`),
        ],
      ),
      iconButton("refresh", t("Read the changes again"), { on: { click: () => this._showList() } }),
    );
  }

  /** @param {string} title @param {ChangedFile[]} files @param {boolean} staged */
  _group(title, files, staged) {
    const wanted = this._filter.toLowerCase();
    const found = wanted ? files.filter((file) => file.path.toLowerCase().includes(wanted)) : files;
    if (found.length === 0) return null;
    const list = h("ul", { class: "work-list" });
    const more = button(t("Show more"), { class: "work-more", on: { click: () => drawMore() } });
    let shown = 0;
    const drawMore = () => {
      for (const file of found.slice(shown, shown + ROWS_AT_ONCE)) list.append(this._row(file));
      shown = Math.min(found.length, shown + ROWS_AT_ONCE);
      more.hidden = shown === found.length;
    };
    drawMore();
    return h(
      "section",
      null,
      h(
        "div",
        { class: "work-group-head" },
        h("h2", { class: "group-title" }, `${title} (${found.length})`),
        this._actions.groupButton(found, staged),
      ),
      list,
      more,
    );
  }

  /** @param {ChangedFile} file */
  _row(file) {
    const { go, id } = this._context;
    const slash = file.path.lastIndexOf("/", file.path.length - 2);
    const content = [
      fileMark(file.kind),
      h(
        "span",
        { class: "work-name" },
        h("span", { class: "work-base" }, file.path.slice(slash + 1)),
        h(
          "span",
          { class: "work-place" },
          file.from !== null
            ? t("from {from}", { from: file.from })
            : file.path.slice(0, slash + 1),
        ),
        !file.exact &&
          h("span", { class: "work-place" }, t("The name is not UTF-8 and can't be opened here.")),
      ),
      h("span", { class: "work-counts" }, lineCounts(file)),
    ];
    if (!file.exact) return h("li", { class: "work-row" }, content);
    const address = sessionPartAddress(id, "changes", {
      path: file.path,
      staged: file.staged ? "true" : null,
    });
    return h(
      "li",
      { class: "work-item" },
      h("a", { class: "work-row", href: address, on: { click: followLink(go, address) } }, content),
      this._actions.fileButton(file),
    );
  }

  /** @param {string} path @param {boolean} staged */
  _showFile(path, staged) {
    this._diff = null;
    fill(this._frame.body, this._fileHead(path, staged, null), waitingNote(t("Reading the file…")));
    return this._reading.show(
      () => this._readDiff(path, staged),
      (diff) => [this._fileHead(path, staged, diff), this._fileBody(path, diff)],
    );
  }

  /** @param {string} path @param {boolean} staged @returns {Promise<FileDiff>} */
  async _readDiff(path, staged) {
    const { requests } = this._frame;
    const diff = parseFileDiff(await requests.fileDiff(path, staged));
    if (diff.rows > 0 || diff.binary || diff.facts.length > 0 || staged) return diff;
    if (path.endsWith("/"))
      return { ...diff, facts: [t("A directory of its own, e.g. another repository")] };
    const { bytes } = await requests.file(path); // git shows nothing of a file that it does not know
    if (!isText(bytes)) return { ...diff, binary: true, facts: [t("New file")] };
    return { ...newFileDiff(textOf(bytes)), facts: [t("New file")] };
  }

  /** @param {string} path @param {boolean} staged @param {FileDiff | null} diff */
  _fileHead(path, staged, diff) {
    const { go, id } = this._context;
    const list = sessionPartAddress(id, "changes");
    const file = sessionPartAddress(id, "files", { path });
    return h(
      "div",
      { class: "work-file-head" },
      h(
        "p",
        { class: "work-crumbs" },
        h("a", { href: list, on: { click: followLink(go, list) } }, t("All changes")),
        h("span", { class: "work-path" }, path),
        staged && h("span", { class: "tag" }, t("staged")),
        diff?.facts.map((fact) => h("span", { class: "tag" }, fact)),
      ),
      h(
        "div",
        { class: "work-tools" },
        this._widths.matches &&
          button(this._isSplit ? t("Unified") : t("Side by side"), {
            on: { click: () => this._toggleSplit() },
          }),
        !this._isSplit &&
          diff !== null &&
          button(t("Wrap lines"), {
            "aria-pressed": String(this._wraps),
            on: { click: (/** @type {Event} */ event) => this._toggleWrap(event) },
          }),
        h(
          "a",
          { class: "button", href: file, on: { click: followLink(go, file) } },
          t("Open file"),
        ),
      ),
    );
  }

  get _wraps() {
    return deviceStorage.getItem(WRAP_KEY) === "1";
  }

  /** @param {Event} event */
  _toggleWrap({ currentTarget }) {
    if (this._wraps) deviceStorage.removeItem(WRAP_KEY);
    else deviceStorage.setItem(WRAP_KEY, "1");
    this._diff?.wrap(this._wraps);
    if (currentTarget instanceof HTMLElement) currentTarget.ariaPressed = String(this._wraps);
  }

  get _isSplit() {
    return this._widths.matches && deviceStorage.getItem(SPLIT_KEY) === "1";
  }

  _toggleSplit() {
    if (this._isSplit) deviceStorage.removeItem(SPLIT_KEY);
    else deviceStorage.setItem(SPLIT_KEY, "1");
    this._show();
  }

  /** @param {string} path @param {FileDiff} diff */
  _fileBody(path, diff) {
    if (diff.binary)
      return h("p", { class: "empty-note" }, t("A binary file: its lines can't be compared."));
    if (diff.rows === 0) return h("p", { class: "empty-note" }, t("No lines differ."));
    const canWrite = this._context.store.access.allows("chat");
    const review = canWrite ? this._review : null;
    this._diff = new DiffView({ diff, path, split: this._isSplit, review });
    this._diff.wrap(this._wraps);
    return [
      review &&
        h("p", { class: "hint diff-hint" }, t("Press a line number to comment on the line.")),
      this._diff.node,
    ];
  }
}
