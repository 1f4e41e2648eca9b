// What the views of a session's work ask for: git, files, searches. All answers are of the session's process.

import { t } from "../../lib/language.js";
import { isObject } from "../json.js";
import { KINDS, parseNumstat, parseStatus, withCounts } from "./working-tree.js";

/**
 * @import { Api } from "../hub/api.js"
 * @import { Json } from "../types.js"
 * @import { ChangedFile, ChangeKind, WorkingTree } from "./working-tree.js"
 */

/** @typedef {{ name: string, type: "file" | "directory" | "other", size?: number, modified?: number }} DirectoryEntry */
/** @typedef {{ bytes: Uint8Array<ArrayBuffer>, size: number, modified: number | null }} FileContent */
/** @typedef {{ path: string, line: number, text: string }} FoundLine */
/** @typedef {{ matches: FoundLine[], files: number, incomplete: string | null }} FoundContent `files`: how many were searched */
/** @typedef {{ id: string, parents: string[], author: string, date: string, subject: string, refs: string[] }} Commit */
/** @typedef {{ path: string, from: string | null, kind: ChangeKind, added: number | null, removed: number | null, binary: boolean }} CommittedFile */
/** @typedef {{ message: string, author: string, date: string, files: CommittedFile[] }} CommitFiles */
/** @typedef {{ enabled: boolean, reason: string | null, branch: string | null, remote: string | null, url: string | null }} GitActionsInfo */

const NOT_REGISTERED = /RPC handler not registered|Method not found/i;
const STARTING = /session is still starting/i;
const NO_REPOSITORY = /not a git repository/i;

/** The session's process answered that it cannot do what was asked. */
export class WorkProblem extends Error {
  /** @param {string} message what a person reads @param {"refused" | "unsupported" | "offline" | "no-repository"} kind */
  constructor(message, kind) {
    super(message);
    this.kind = kind;
  }
}

export class WorkRequests {
  /** @param {Pick<Api, "request">} api @param {string} id of the session @param {() => boolean} isActive whether the session's process runs */
  constructor(api, id, isActive) {
    this._api = api;
    this._path = `/api/sessions/${encodeURIComponent(id)}`;
    this._isActive = isActive;
  }

  /** What has changed, without the counts of lines. @returns {Promise<WorkingTree>} */
  async workingTree() {
    return parseStatus(text((await this._get("git-status")).stdout));
  }

  /** The tree with the counts of lines, which take git longer to find. @param {WorkingTree} tree @returns {Promise<WorkingTree>} */
  async counted(tree) {
    /** @param {ChangedFile[]} files @param {string} staged */
    const counted = async (files, staged) => {
      if (files.length === 0) return files;
      const { stdout, prefix } = await this._get("git-diff-numstat", { staged });
      return withCounts(files, parseNumstat(text(stdout)), text(prefix));
    };
    const [unstaged, staged] = await Promise.all([
      counted(tree.unstaged, "false"),
      counted(tree.staged, "true"),
    ]);
    return { ...tree, unstaged, staged };
  }

  /** The diff of a file as git prints it; "" for a file that git does not know. @param {string} path @param {boolean} staged */
  async fileDiff(path, staged) {
    return text((await this._get("git-diff-file", { path, staged: String(staged) })).stdout);
  }

  /** @param {string} path @returns {Promise<FileContent>} */
  async file(path) {
    const answer = await this._get("file", { path });
    const bytes = Uint8Array.from(atob(text(answer.content)), (character) =>
      character.charCodeAt(0),
    );
    const modified = typeof answer.modified === "number" ? answer.modified : null;
    return { bytes, size: bytes.length, modified };
  }

  /** @param {string} path "" for the directory of the session @returns {Promise<DirectoryEntry[]>} */
  async directory(path) {
    const { entries } = await this._get("directory", { path });
    return Array.isArray(entries) ? entries.filter((entry) => typeof entry?.name === "string") : [];
  }

  /** Paths of files whose names contain `query`. @param {string} query @param {number} limit @returns {Promise<string[]>} */
  async findFiles(query, limit) {
    const { files } = await this._get("files", { query, limit: String(limit) });
    return Array.isArray(files) ? files.map((file) => text(file?.fullPath)).filter(Boolean) : [];
  }

  /** Lines that contain `query`, whatever the case of its letters. @param {string} query @returns {Promise<FoundContent>} */
  async searchContent(query) {
    const { matches, files, incomplete } = await this._get("search-content", { query });
    return {
      matches: Array.isArray(matches) ? matches.filter(isFoundLine) : [],
      files: typeof files === "number" ? files : 0,
      incomplete: text(incomplete) || null,
    };
  }

  /** @param {number} limit @param {number} skip @returns {Promise<{ commits: Commit[], hasMore: boolean }>} */
  async log(limit, skip) {
    const { commits, hasMore } = await this._get("git-log", {
      limit: String(limit),
      skip: String(skip),
    });
    return { commits: list(commits), hasMore: hasMore === true };
  }

  /** @param {string} commit @returns {Promise<CommitFiles>} */
  async commitFiles(commit) {
    const { message, author, date, files } = await this._get("git-commit-files", { commit });
    return {
      message: text(message),
      author: text(author),
      date: text(date),
      files: list(files).map(({ path, from, status, added, removed }) => ({
        path: text(path),
        from: text(from) || null,
        kind: KINDS[text(status)] ?? "modified",
        added: typeof added === "number" ? added : null,
        removed: typeof removed === "number" ? removed : null,
        binary: typeof added !== "number",
      })),
    };
  }

  /** @param {string} commit @param {string} path @param {string | null} from */
  async commitDiff(commit, path, from) {
    /** @type {Record<string, string>} */
    const query = { commit, path };
    if (from !== null) query.from = from;
    return text((await this._get("git-commit-diff", query)).stdout);
  }

  /** Whether changes can be staged and so on, and where a push would go. @returns {Promise<GitActionsInfo>} */
  async gitActions() {
    const { enabled, reason, branch, remote, url } = await this._get("git-actions");
    return {
      enabled: enabled === true,
      reason: text(reason) || null,
      branch: text(branch) || null,
      remote: text(remote) || null,
      url: text(url) || null,
    };
  }

  /** @param {string[]} paths @param {boolean} staged */
  stage(paths, staged) {
    return this._post("git-stage", { paths, staged });
  }

  /** @param {string[]} paths */
  discard(paths) {
    return this._post("git-discard", { paths });
  }

  /** @param {string} message */
  commit(message) {
    return this._post("git-commit", { message });
  }

  push() {
    return this._post("git-push", {});
  }

  /**
   * The answer of a route. Throws WorkProblem, ApiError and Unreachable.
   * @param {string} route
   * @param {Record<string, string>} [query]
   */
  async _get(route, query = {}) {
    const search = new URLSearchParams(query).toString();
    return this._checked(
      await this._api.request("GET", `${this._path}/${route}${search && `?${search}`}`),
    );
  }

  /** @param {string} route @param {Json} body */
  async _post(route, body) {
    return this._checked(await this._api.request("POST", `${this._path}/${route}`, body));
  }

  /** @param {Json} answer @returns {Json} */
  _checked(answer) {
    if (answer?.success === true) return answer;
    const said = text(answer?.error) || text(answer?.stderr) || t("The session gave no reason.");
    if (NO_REPOSITORY.test(said))
      throw new WorkProblem(
        t(
          "This directory is not in a git repository. Run “git init” in it, or ask the agent to, and its changes appear here.",
        ),
        "no-repository",
      );
    if (STARTING.test(said))
      throw new WorkProblem(t("The session is still starting. Try again in a moment."), "offline");
    if (!NOT_REGISTERED.test(said)) throw new WorkProblem(said, "refused");
    if (!this._isActive())
      throw new WorkProblem(
        t("The session is not running, so its files can't be read. Write a message to resume it."),
        "offline",
      );
    throw new WorkProblem(t("The program of this session does not offer this."), "unsupported");
  }
}

/** @param {Json} value */
function text(value) {
  return typeof value === "string" ? value : "";
}

/** @param {Json} value */
function isFoundLine(value) {
  return (
    typeof value?.path === "string" &&
    Number.isInteger(value.line) &&
    typeof value.text === "string"
  );
}

/** The objects of a list. @param {Json} value @returns {Json[]} */
function list(value) {
  return Array.isArray(value) ? value.filter(isObject) : [];
}
