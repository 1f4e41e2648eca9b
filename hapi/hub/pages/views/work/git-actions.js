// What a person can do to the changes: stage, discard, commit, push. Each is confirmed, and only where hub and machine allow it.

import { confirmDialog, openDialog, runBusy, toast } from "../../lib/dialog.js";
import { button, h, iconButton, problemLine } from "../../lib/dom.js";
import { plural, t } from "../../lib/language.js";

/**
 * @import { ChangedFile, WorkingTree } from "../../data/work/working-tree.js"
 * @import { GitActionsInfo, WorkRequests } from "../../data/work/work-requests.js"
 */

const MAX_PATHS = 5000; // in one request

export class GitActions {
  /** @param {{ requests: WorkRequests, mayAct: () => boolean, reload: () => void }} options */
  constructor({ requests, mayAct, reload }) {
    this._requests = requests;
    this._mayAct = mayAct;
    this._reload = reload;
    /** @type {GitActionsInfo | null} null: nothing can be done here */
    this.info = null;
  }

  /** Ask what can be done. A session that does not know the question can do nothing. */
  async read() {
    const info = await this._requests.gitActions().catch(() => null);
    this.info = info?.enabled && this._mayAct() ? info : null;
  }

  /** The buttons for the whole working tree. @param {WorkingTree} tree */
  treeButtons(tree) {
    const { info } = this;
    if (!info) return null;
    const { branch, remote, url } = info;
    return h(
      "div",
      { class: "work-actions" },
      button(t("Commit…"), {
        class: "primary",
        disabled: tree.staged.length === 0,
        on: { click: () => this._commit(tree.staged.length) },
      }),
      remote &&
        branch &&
        button(t("Push…"), {
          disabled: tree.upstream !== null && tree.ahead === 0, // nothing to push
          on: { click: () => this._push(branch, remote, url ?? "") },
        }),
      !remote &&
        tree.ahead > 0 &&
        h("p", { class: "hint" }, t("This branch has no remote that the page can push to.")),
    );
  }

  /** The button for all files of a group. @param {ChangedFile[]} files @param {boolean} staged whether they are staged */
  groupButton(files, staged) {
    if (!this.info) return null;
    const usable = files.filter(isUsable);
    if (usable.length === 0) return null;
    return button(staged ? t("Unstage all") : t("Stage all"), {
      class: "work-group-button",
      on: { click: () => this._stageAll(usable, !staged) },
    });
  }

  /** The button for one file. @param {ChangedFile} file */
  fileButton(file) {
    if (!this.info || !isUsable(file)) return null;
    return iconButton("more", t("Actions for {path}", { path: file.path }), {
      on: { click: () => this._fileDialog(file) },
    });
  }

  /** @param {ChangedFile} file */
  _fileDialog(file) {
    const { path, staged } = file;
    openDialog(path, (close) => {
      const problem = problemLine();
      const stage = button(staged ? t("Unstage") : t("Stage"), {
        class: "primary",
        "data-first": true,
      });
      stage.addEventListener("click", () =>
        runBusy(stage, problem, async () => {
          await this._requests.stage(pathsOf(file), !staged);
          close();
          this._reload();
        }),
      );
      const discard = button(t("Discard…"), {
        class: "danger",
        on: {
          click: () => {
            close();
            this._discard(file);
          },
        },
      });
      return [problem, h("div", { class: "buttons" }, !staged && discard, stage)];
    });
  }

  /** @param {ChangedFile} file */
  _discard({ path, kind }) {
    const isNew = kind === "untracked";
    confirmDialog({
      title: isNew ? t("Delete this file?") : t("Discard these changes?"),
      text: isNew
        ? t("{path} is not in the repository. It will be deleted for good.", { path })
        : t("{path} will be as it was staged or committed last. Its changes are lost for good.", {
            path,
          }),
      action: isNew ? t("Delete the file") : t("Discard the changes"),
      act: async () => {
        await this._requests.discard([path]);
        this._reload();
      },
    });
  }

  /** @param {ChangedFile[]} files @param {boolean} staged */
  _stageAll(files, staged) {
    const paths = files.flatMap(pathsOf);
    confirmDialog({
      title: staged ? t("Stage all?") : t("Unstage all?"),
      text: staged
        ? plural(
            files.length,
            "{count} file will be staged for the next commit.",
            "{count} files will be staged for the next commit.",
          )
        : plural(
            files.length,
            "{count} file will be left out of the next commit.",
            "{count} files will be left out of the next commit.",
          ),
      action: staged ? t("Stage all") : t("Unstage all"),
      danger: false,
      act: async () => {
        for (let at = 0; at < paths.length; at += MAX_PATHS)
          await this._requests.stage(paths.slice(at, at + MAX_PATHS), staged);
        this._reload();
      },
    });
  }

  /** @param {number} count of staged files */
  _commit(count) {
    openDialog(t("Commit"), (close) => {
      const message = h("textarea", {
        id: "commit-message",
        rows: 4,
        required: true,
        placeholder: t("What these changes do"),
        "data-first": true,
      });
      const problem = problemLine();
      const commit = button(plural(count, "Commit {count} file", "Commit {count} files"), {
        class: "primary",
      });
      commit.addEventListener("click", () => {
        if (!message.reportValidity()) return;
        runBusy(commit, problem, async () => {
          await this._requests.commit(message.value);
          close();
          toast(t("The changes are committed."));
          this._reload();
        });
      });
      return [
        h("div", { class: "field" }, h("label", { for: message.id }, t("Message")), message),
        h("p", { class: "hint" }, t("Hooks of the repository are not run.")),
        problem,
        h("div", { class: "buttons" }, button(t("Cancel"), { on: { click: close } }), commit),
      ];
    });
  }

  /** @param {string} branch @param {string} remote @param {string} url */
  _push(branch, remote, url) {
    confirmDialog({
      title: t("Push this branch?"),
      text: t("The commits of {branch} go to {remote} ({url}), where others can see them.", {
        branch,
        remote,
        url,
      }),
      action: t("Push"),
      danger: false,
      act: async () => {
        await this._requests.push();
        toast(t("The branch is pushed."));
        this._reload();
      },
    });
  }
}

/** Whether a file can be named in a request. @param {ChangedFile} file */
function isUsable(file) {
  return file.exact && !file.path.endsWith("/") && !file.path.startsWith("../");
}

/** Both names of a file that was renamed. @param {ChangedFile} file */
function pathsOf({ path, from, kind }) {
  return from !== null && kind === "renamed" ? [path, from] : [path];
}
