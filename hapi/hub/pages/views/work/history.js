// The history of the branch: its commits, the files of one commit, and what it changed in one of them.

import { sessionPartAddress } from "../../data/addresses.js";
import { parseFileDiff } from "../../data/work/hunks.js";
import { button, fill, followLink, h, iconButton } from "../../lib/dom.js";
import { dateAndTime, relativeTime } from "../../lib/format.js";
import { plural, t } from "../../lib/language.js";
import { DiffView } from "./diff.js";
import { waitingNote, workFrame } from "./frame.js";
import { LatestRead } from "./latest-read.js";
import { fileMark, lineCounts } from "./marks.js";

/**
 * @import { Child } from "../../lib/dom.js"
 * @import { View, ViewContext } from "../../data/types.js"
 * @import { Commit, CommitFiles } from "../../data/work/work-requests.js"
 */

const COMMITS_AT_ONCE = 50;

/** @param {ViewContext} context @returns {View} */
export function view(context) {
  return new HistoryView(context);
}

/** @implements {View} */
class HistoryView {
  /** @param {ViewContext} context */
  constructor(context) {
    this._context = context;
    this._frame = workFrame(context, "history");
    this._query = context.query;
    this._reading = new LatestRead(this._frame.body, () => this._show());
    this.node = this._frame.node;
  }

  async start() {
    fill(this._frame.body, waitingNote(t("Reading the history…")));
    await this._frame.start();
    this._show();
  }

  draw() {
    this._frame.drawHead();
  }

  title() {
    return t("History of {title}", { title: this._frame.title() });
  }

  /** @param {URLSearchParams} query */
  navigate(query) {
    this._query = query;
    this._show();
  }

  leave() {
    this._reading.end();
  }

  _show() {
    if (this._reading.hasEnded) return;
    const commit = this._query.get("commit");
    const path = this._query.get("path");
    if (commit === null) this._showLog();
    else if (path === null) this._showCommit(commit);
    else this._showFile(commit, path, this._query.get("from"));
  }

  /**
   * @template Result
   * @param {() => Promise<Result>} read
   * @param {(result: Result) => Child} draw
   */
  _load(read, draw) {
    fill(this._frame.body, waitingNote(t("Reading the history…")));
    return this._reading.show(read, draw);
  }

  /** @param {Child} content @param {Record<string, string | null>} query @param {string} [style] */
  _link(content, query, style = "") {
    const { id, go } = this._context;
    const address = sessionPartAddress(id, "history", query);
    return h("a", { class: style, href: address, on: { click: followLink(go, address) } }, content);
  }

  _showLog() {
    const { requests } = this._frame;
    return this._load(
      () => requests.log(COMMITS_AT_ONCE, 0),
      (log) => {
        if (log.commits.length === 0)
          return h(
            "p",
            { class: "empty-note" },
            t("There are no commits yet. Ask the agent to commit, and the commit appears here."),
          );
        const list = h("ul", { class: "work-list work-groups" });
        const problem = h("p", { class: "problem", role: "alert", hidden: true });
        const more = button(t("Show more"), {
          class: "work-more",
          on: { click: () => readMore() },
        });
        let count = 0;
        const add = (/** @type {typeof log} */ { commits, hasMore }) => {
          list.append(...commits.map((commit) => h("li", null, this._commitRow(commit))));
          count += commits.length;
          more.hidden = !hasMore;
        };
        const readMore = async () => {
          more.disabled = true;
          problem.hidden = true;
          try {
            add(await requests.log(COMMITS_AT_ONCE, count));
          } catch (error) {
            fill(problem, error instanceof Error ? error.message : String(error));
            problem.hidden = false;
          }
          more.disabled = false;
        };
        add(log);
        const refresh = iconButton("refresh", t("Read the history again"), {
          on: { click: () => this._show() },
        });
        return [
          h("div", { class: "work-summary" }, h("h2", null, t("Commits of the branch")), refresh),
          list,
          problem,
          more,
        ];
      },
    );
  }

  /** @param {Commit} commit */
  _commitRow({ id, author, date, subject, refs, parents }) {
    const time = Date.parse(date);
    return this._link(
      h(
        "span",
        { class: "work-name" },
        h("span", { class: "work-base" }, subject || t("(no message)")),
        h(
          "span",
          { class: "work-place" },
          [id.slice(0, 8), author, Number.isNaN(time) ? "" : relativeTime(time)]
            .filter(Boolean)
            .join(" · "),
          parents.length > 1 && [" ", h("span", { class: "tag" }, t("merge"))],
          refs.map((name) => [" ", h("span", { class: "tag" }, name)]),
        ),
      ),
      { commit: id },
      "work-row commit-row",
    );
  }

  /** @param {string} commit */
  _showCommit(commit) {
    return this._load(
      () => this._frame.requests.commitFiles(commit),
      (found) => [
        this._head(commit, null),
        h("p", { class: "commit-message" }, found.message),
        h("p", { class: "hint commit-author" }, authorship(found)),
        h(
          "h2",
          { class: "group-title found-file" },
          plural(found.files.length, "{count} changed file", "{count} changed files"),
        ),
        this._files(commit, found),
      ],
    );
  }

  /** @param {string} commit @param {CommitFiles} found */
  _files(commit, { files }) {
    return h(
      "ul",
      { class: "work-list work-groups" },
      files.map((file) =>
        h(
          "li",
          null,
          this._link(
            [
              fileMark(file.kind),
              h(
                "span",
                { class: "work-name" },
                h("span", { class: "work-base" }, file.path),
                file.from !== null &&
                  h("span", { class: "work-place" }, t("from {from}", { from: file.from })),
              ),
              h("span", { class: "work-counts" }, lineCounts(file)),
            ],
            { commit, path: file.path, from: file.from },
            "work-row",
          ),
        ),
      ),
    );
  }

  /** @param {string} commit @param {string} path @param {string | null} from */
  _showFile(commit, path, from) {
    return this._load(
      () => this._frame.requests.commitDiff(commit, path, from),
      (text) => {
        const diff = parseFileDiff(text);
        return [
          this._head(commit, path),
          diff.binary
            ? h("p", { class: "empty-note" }, t("A binary file: its lines can't be compared."))
            : new DiffView({ diff, path, split: false, review: null }).node,
        ];
      },
    );
  }

  /** @param {string} commit @param {string | null} path */
  _head(commit, path) {
    const short = commit.slice(0, 8);
    return h(
      "div",
      { class: "work-file-head" },
      h(
        "p",
        { class: "work-crumbs" },
        this._link(t("All commits"), {}),
        path === null ? h("code", null, short) : this._link(short, { commit }),
        path !== null && h("span", { class: "work-path" }, path),
      ),
    );
  }
}

/** Who made a commit, and when. @param {CommitFiles} commit */
function authorship({ author, date }) {
  const time = Date.parse(date);
  return [author, Number.isNaN(time) ? "" : dateAndTime(time)].filter(Boolean).join(" · ");
}
