// The field for a directory on a machine: typed, chosen from earlier ones, or found by browsing.

import { button, fill, h, icon, pathLabel } from "../../lib/dom.js";
import { errorMessage } from "../../lib/errors.js";
import { abbreviateHome } from "../../lib/format.js";
import { expandHome, isAbsolute } from "../../lib/paths.js";
import { t } from "../../lib/language.js";
import { shownRoots } from "../../data/sessions/sessions.js";
import { DirectoryBrowser } from "./directory-browser.js";

/**
 * @import { Api } from "../../data/hub/api.js"
 * @import { Machine } from "../../data/types.js"
 */

const TYPING_PAUSE = 350; // ms
const COMPLETION_PAUSE = 150; // ms
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
    "aria-controls": "directory-list",
    "data-first": true,
  });
  const state = h("p", { id: "directory-state", class: "hint", role: "status" });
  const path = () => expandHome(input.value, home);
  const check = pathCheck(api, machine, path, (text, tone) => {
    fill(state, text);
    state.className = `hint ${tone}`;
  });
  const browser = new DirectoryBrowser(api, machine, setPath);
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
        pathLabel(abbreviateHome(directory, home), directory),
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
    if (browser.isOpen) browseTo(directory);
  }

  /** @param {string} directory */
  async function browseTo(directory) {
    const shown = browser.browse(directory);
    drawState();
    await shown;
  }

  function close() {
    browser.close();
    drawState();
  }

  function drawState() {
    browse.setAttribute("aria-expanded", String(browser.isBrowsing));
  }

  let timer = 0;
  browse.addEventListener("click", () => {
    clearTimeout(timer);
    if (browser.isBrowsing) close();
    else browseTo(path() || roots[0] || home || "/");
  });
  input.addEventListener("input", () => {
    check.soon();
    clearTimeout(timer);
    timer = setTimeout(() => browser.complete(input.value).then(drawState), COMPLETION_PAUSE);
  });
  leadKeys(node, input, browser, close);
  if (input.value) check.now();
  return { node, value: () => input.value, focus: () => input.focus() };
}

/**
 * Lead the keys between the field and the directories below it.
 * @param {HTMLElement} node around both
 * @param {HTMLElement} input
 * @param {DirectoryBrowser} browser
 * @param {() => void} close
 */
function leadKeys(node, input, browser, close) {
  node.addEventListener("keydown", (event) => {
    if (!browser.isOpen) return;
    if (event.key === "Escape") {
      event.preventDefault(); // the dialog stays
      close();
      input.focus();
    } else if (event.key === "ArrowDown" && event.target === input) {
      event.preventDefault();
      browser.focusFirst();
    }
  });
  node.addEventListener("leave", () => input.focus());
  node.addEventListener("focusout", ({ relatedTarget }) => {
    const isWithin = relatedTarget instanceof Node && node.contains(relatedTarget);
    if (!isWithin && browser.isOpen && !browser.isBrowsing) close();
  });
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
      latest += 1;
      show("", ""); // what was said is about another path
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
