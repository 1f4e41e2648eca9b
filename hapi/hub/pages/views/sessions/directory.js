// The field for a directory on a machine: typed, chosen from earlier ones, or found by browsing.

import { button, fill, h, icon } from "../../lib/dom.js";
import { errorMessage } from "../../lib/errors.js";
import { abbreviateHome } from "../../lib/format.js";
import { expandHome, isAbsolute } from "../../lib/paths.js";
import { t } from "../../lib/language.js";
import { shownRoots } from "../../data/sessions/sessions.js";

/**
 * @import { IconName } from "../../lib/dom.js"
 * @import { Api } from "../../data/hub/api.js"
 * @import { Json, Machine } from "../../data/types.js"
 */

const TYPING_PAUSE = 350; // ms
export const ABSOLUTE_PATH_HINT = t("Enter an absolute path, starting with / or ~/.");

/**
 * @param {object} options
 * @param {Api} options.api
 * @param {Machine} options.machine
 * @param {string} options.start the directory to begin with
 * @param {string[]} options.recent directories to offer
 */
export function directoryField({ api, machine, start, recent }) {
  const home = machine.metadata?.homeDir;
  const roots = machine.metadata?.workspaceRoots ?? [];
  const input = h("input", {
    id: "spawn-directory",
    autocomplete: "off",
    autocapitalize: "off",
    spellcheck: "false",
    placeholder: roots[0] ?? "~/project",
    value: abbreviateHome(start || roots[0] || "", home),
    "aria-describedby": "directory-state",
    "data-first": true,
  });
  const state = h("p", { id: "directory-state", class: "hint", role: "status" });
  const path = () => expandHome(input.value, home);
  const check = pathCheck(api, machine, path, (text, tone) => {
    fill(state, text);
    state.className = `hint ${tone}`;
  });
  const browser = directoryBrowser(api, machine, setPath);
  const browse = button([icon("folder"), t("Browse")], {
    "aria-expanded": "false",
    "aria-controls": "directory-list",
  });
  const chips = h(
    "div",
    { class: "chips" },
    recent.map((directory) =>
      h(
        "button",
        { type: "button", class: "chip", on: { click: () => setPath(directory) } },
        h("bdi", null, abbreviateHome(directory, home)),
      ),
    ),
  );
  const node = h(
    "div",
    { class: "field" },
    h("label", { for: "spawn-directory" }, t("Directory")),
    h("div", { class: "with-button" }, input, browse),
    state,
    browser.node,
    recent.length > 0 && chips,
  );

  /** @param {string} directory */
  function setPath(directory) {
    input.value = abbreviateHome(directory, home);
    check.now();
    if (!browser.node.hidden) browser.show(directory);
  }

  browse.addEventListener("click", () => {
    if (browser.node.hidden) browser.show(path() || roots[0] || home || "/");
    else browser.node.hidden = true;
    browse.setAttribute("aria-expanded", String(!browser.node.hidden));
  });
  input.addEventListener("input", check.soon);
  if (input.value) check.now();
  return { node, value: () => input.value, focus: () => input.focus() };
}

/**
 * Says below the field what the machine knows of the path in it.
 * @param {Api} api
 * @param {Machine} machine
 * @param {() => string} currentPath
 * @param {(text: string, tone: string) => void} show
 */
function pathCheck(api, machine, currentPath, show) {
  let timer = 0;
  let latest = 0; // number of the latest check: answers to earlier ones are dropped

  async function now() {
    clearTimeout(timer);
    const number = ++latest;
    const path = currentPath();
    if (!path) return show("", "");
    if (!isAbsolute(path)) return show(ABSOLUTE_PATH_HINT, "caution");
    const [text, tone] = await pathState(api, machine, path);
    if (number === latest) show(text, tone);
    return undefined;
  }

  return {
    now,
    /** After a pause in typing. */
    soon() {
      clearTimeout(timer);
      timer = setTimeout(now, TYPING_PAUSE);
    },
  };
}

/** @param {Api} api @param {Machine} machine @param {string} path @returns {Promise<[text: string, tone: string]>} */
async function pathState(api, machine, path) {
  try {
    const answer = await api.pathExists(machine.id, path);
    if (answer.outsideWorkspaceRoots?.includes(path)) {
      return [
        t("This machine only allows directories in {roots}.", {
          roots: shownRoots(machine),
        }),
        "caution",
      ];
    }
    return answer.exists?.[path]
      ? [t("Directory found."), "good"]
      : [t("This directory will be created."), ""];
  } catch (error) {
    return [errorMessage(error), "caution"];
  }
}

/**
 * A list of the directories in a directory.
 * @param {Api} api
 * @param {Machine} machine
 * @param {(path: string) => void} select called with the directory that a person chose
 */
function directoryBrowser(api, machine, select) {
  const node = h("div", { id: "directory-list", class: "directory-list", hidden: true });

  /** @param {string} path */
  async function show(path) {
    node.hidden = false;
    const head = h(
      "div",
      { class: "directory-head" },
      h("bdi", null, abbreviateHome(path, machine.metadata?.homeDir)),
    );
    fill(node, head, h("p", { class: "hint" }, t("Loading…")));
    /** @type {Json} */
    const answer = await api
      .listDirectory(machine.id, path)
      .catch((error) => ({ success: false, error: errorMessage(error) }));
    /** @type {Json[]} */
    const directories = (answer.entries ?? []).filter(
      (/** @type {Json} */ entry) => entry.type === "directory",
    );
    fill(
      node,
      head,
      !answer.success && h("p", { class: "problem" }, listProblem(answer.error)),
      h(
        "ul",
        null,
        path !== "/" && entryItem(t("Parent directory"), parentOf(path), "up", false),
        directories.map(({ name, isGitRepo }) =>
          entryItem(name, `${path === "/" ? "" : path}/${name}`, "folder", isGitRepo),
        ),
      ),
      answer.success &&
        directories.length === 0 &&
        h("p", { class: "hint" }, t("No subdirectories.")),
    );
  }

  /** @param {string} label @param {string} path @param {IconName} sign @param {boolean} isRepository */
  function entryItem(label, path, sign, isRepository) {
    return h(
      "li",
      null,
      h(
        "button",
        { type: "button", class: "entry", on: { click: () => select(path) } },
        icon(sign),
        h("span", null, label),
        isRepository && h("span", { class: "tag" }, "git"),
      ),
    );
  }

  return { node, show };
}

/** @param {string} path */
export function parentOf(path) {
  return path.replace(/\/[^/]*$/, "") || "/";
}

/** @param {string} [error] */
export function listProblem(error = "") {
  if (/ENOENT|not found|no such/i.test(error)) return t("This directory does not exist yet.");
  if (/EACCES|EPERM|permission/i.test(error))
    return t("The runner has no permission to read this directory.");
  if (/outside/i.test(error)) return t("This machine does not allow sessions in this directory.");
  return error || t("The machine could not list this directory.");
}
