// The directories that a person can choose from below the field for one: those that complete what is typed, or those in
// a directory that is being browsed.

import { fill, h, icon } from "../../lib/dom.js";
import { errorMessage } from "../../lib/errors.js";
import { abbreviateHome } from "../../lib/format.js";
import { t } from "../../lib/language.js";
import { typedPlace } from "../../lib/paths.js";

/**
 * @import { IconName } from "../../lib/dom.js"
 * @import { Api } from "../../data/hub/api.js"
 * @import { Json, Machine } from "../../data/types.js"
 */

/** @typedef {{ name: string, isRepository: boolean }} Directory */
/** @typedef {{ path: string, directories: Directory[], problem: string | null }} Listing */

const LISTING_TTL = 5000; // ms for which what was listed completes what is typed
const MAX_SHOWN = 200; // directories

/**
 * The directories whose names begin with `name`, those that agree in case first. Hidden ones only when they are asked for.
 * @param {Directory[]} directories
 * @param {string} name
 */
export function completing(directories, name) {
  const wanted = name.toLowerCase();
  const found = directories.filter(
    (directory) =>
      directory.name.toLowerCase().startsWith(wanted) &&
      (name.startsWith(".") || !directory.name.startsWith(".")),
  );
  const agree = (/** @type {Directory} */ directory) => Number(directory.name.startsWith(name));
  return found.sort((one, other) => agree(other) - agree(one));
}

/** @param {string} directory @param {string} name */
function within(directory, name) {
  return `${directory === "/" ? "" : directory}/${name}`;
}

export class DirectoryBrowser {
  /**
   * @param {Api} api
   * @param {Machine} machine
   * @param {(path: string) => void} select called with the directory that a person chose
   */
  constructor(api, machine, select) {
    this._api = api;
    this._machine = machine;
    this._select = select;
    this._latest = 0; // number of what is shown: answers for earlier ones are dropped
    /** @type {Map<string, { at: number, listing: Promise<Listing> }>} by path */
    this._listings = new Map();
    /** Whether it is open because the person asked for it, and not only to complete what is typed. */
    this.isBrowsing = false;
    this.node = h("div", { id: "directory-list", class: "directory-list", hidden: true });
    this.node.addEventListener("keydown", (event) => this._onKey(event));
  }

  get isOpen() {
    return !this.node.hidden;
  }

  close() {
    this._latest += 1;
    this.isBrowsing = false;
    this.node.hidden = true;
    fill(this.node);
  }

  /** Show what is in a directory; of one that does not exist, the nearest one around it that does. @param {string} path */
  async browse(path) {
    const number = ++this._latest;
    this.isBrowsing = true;
    const hadFocus = this.node.contains(document.activeElement);
    this.node.hidden = false;
    fill(this.node, this._head(path), h("p", { class: "hint" }, t("Loading…")));
    this._listings.clear();
    let listing = await this._list(path);
    while (isMissing(listing.problem) && listing.path !== "/")
      listing = await this._list(parentOf(listing.path));
    if (number !== this._latest) return;
    const { path: shown, directories, problem } = listing;
    fill(
      this.node,
      this._head(shown),
      problem !== null && h("p", { class: "problem" }, listProblem(problem)),
      h(
        "ul",
        null,
        shown !== "/" && this._entry(t("Parent directory"), parentOf(shown), "up", false),
        this._entries(shown, directories),
      ),
      problem === null &&
        directories.length === 0 &&
        h("p", { class: "hint" }, t("No subdirectories.")),
    );
    if (hadFocus) this.focusFirst();
  }

  /** Show what completes a path that is being typed. @param {string} typed */
  async complete(typed) {
    const number = ++this._latest;
    const { homeDir, workspaceRoots = [] } = this._machine.metadata ?? {};
    const place = typedPlace(typed, homeDir);
    if (!place) return this.close();
    const { directory, name } = place;
    const { directories } = await this._list(directory);
    if (number !== this._latest) return undefined;
    const found = completing(directories, name);
    const whole = within(directory, name);
    const roots = workspaceRoots.filter((root) => root.startsWith(whole) && root !== whole);
    const isComplete = found.length === 1 && found[0].name === name;
    if (roots.length === 0 && (found.length === 0 || isComplete)) {
      this.close();
      return undefined;
    }
    this.isBrowsing = false;
    this.node.hidden = false;
    fill(
      this.node,
      this._head(directory),
      h(
        "ul",
        null,
        found.length > 0
          ? this._entries(directory, found)
          : roots.map((root) => this._entry(abbreviateHome(root, homeDir), root, "folder", false)),
      ),
    );
    return undefined;
  }

  focusFirst() {
    this._buttons()[0]?.focus();
  }

  /** @returns {HTMLElement[]} */
  _buttons() {
    return [...this.node.querySelectorAll("button")];
  }

  /** @param {KeyboardEvent} event */
  _onKey(event) {
    const by = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (by === undefined) return;
    event.preventDefault();
    const buttons = this._buttons();
    const next = buttons.findIndex((each) => each === document.activeElement) + by;
    if (next >= 0) buttons[Math.min(next, buttons.length - 1)]?.focus();
    else this.node.dispatchEvent(new CustomEvent("leave", { bubbles: true })); // above the first one
  }

  /** @param {string} path @returns {Promise<Listing>} */
  _list(path) {
    const known = this._listings.get(path);
    if (known && Date.now() - known.at < LISTING_TTL) return known.listing;
    const listing = this._read(path);
    this._listings.set(path, { at: Date.now(), listing });
    return listing;
  }

  /** @param {string} path @returns {Promise<Listing>} */
  async _read(path) {
    /** @type {Json} */
    const answer = await this._api
      .listDirectory(this._machine.id, path)
      .catch((error) => ({ success: false, error: errorMessage(error) }));
    const entries = Array.isArray(answer.entries) ? answer.entries : [];
    return {
      path,
      directories: entries
        .filter((/** @type {Json} */ entry) => entry?.type === "directory")
        .map((/** @type {Json} */ { name, isGitRepo }) => ({
          name: String(name),
          isRepository: isGitRepo === true,
        })),
      problem: answer.success ? null : String(answer.error ?? ""),
    };
  }

  /** @param {string} path */
  _head(path) {
    return h(
      "div",
      { class: "directory-head" },
      h("bdi", null, abbreviateHome(path, this._machine.metadata?.homeDir)),
    );
  }

  /** @param {string} directory @param {Directory[]} directories */
  _entries(directory, directories) {
    return directories
      .slice(0, MAX_SHOWN)
      .map(({ name, isRepository }) =>
        this._entry(name, within(directory, name), "folder", isRepository),
      );
  }

  /** @param {string} label @param {string} path @param {IconName} sign @param {boolean} isRepository */
  _entry(label, path, sign, isRepository) {
    return h(
      "li",
      null,
      h(
        "button",
        {
          type: "button",
          class: "entry",
          on: {
            pointerdown: (/** @type {Event} */ event) => event.preventDefault(), // the field keeps the focus
            click: () => this._select(path),
          },
        },
        icon(sign),
        h("span", null, label),
        isRepository && h("span", { class: "tag" }, "git"),
      ),
    );
  }
}

/** @param {string} path */
export function parentOf(path) {
  return path.replace(/\/[^/]*$/, "") || "/";
}

/** @param {string | null} error */
function isMissing(error) {
  return error !== null && /ENOENT|not found|no such/i.test(error);
}

/** @param {string} [error] */
export function listProblem(error = "") {
  if (isMissing(error)) return t("This directory does not exist yet.");
  if (/EACCES|EPERM|permission/i.test(error))
    return t("The runner has no permission to read this directory.");
  if (/outside/i.test(error)) return t("This machine does not allow sessions in this directory.");
  return error || t("The machine could not list this directory.");
}
