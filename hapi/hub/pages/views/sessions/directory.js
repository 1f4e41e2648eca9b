// The field for a directory on a machine: typed, picked from earlier ones, or found by walking through directories.

import { fill, h, icon } from "../../lib/dom.js";
import { inWords } from "../../lib/errors.js";
import { tilde, untilde } from "../../lib/words.js";

export function directoryField({ api, machine, start, recent }) {
  const home = machine.metadata?.homeDir;
  const roots = machine.metadata?.workspaceRoots ?? [];
  const input = h("input", {
    id: "spawn-directory", autocomplete: "off", autocapitalize: "off", spellcheck: "false", placeholder: roots[0] ?? "~/project", value: tilde(start || roots[0] || "", home),
    "aria-describedby": "directory-state", "data-first": true,
  });
  const browse = h("button", { type: "button", class: "button", "aria-expanded": "false", "aria-controls": "directory-list" }, icon("folder"), "Browse");
  const state = h("p", { id: "directory-state", class: "hint", role: "status" });
  const list = h("div", { id: "directory-list", class: "directory-list", hidden: true });
  const chips = h("div", { class: "chips" }, recent.map((path) => h("button", { type: "button", class: "chip", on: { click: () => set(path) } }, h("bdi", null, tilde(path, home)))));
  const node = h("div", { class: "field" }, h("label", { for: "spawn-directory" }, "Directory"), h("div", { class: "with-button" }, input, browse), state, list, recent.length > 0 && chips);
  let timer;
  let asked = 0;

  const path = () => untilde(input.value, home);

  function set(to) {
    input.value = tilde(to, home);
    check();
    if (!list.hidden) walk(to);
  }

  async function check() {
    clearTimeout(timer);
    const mine = ++asked;
    const wanted = path();
    if (!wanted) return say("");
    if (!wanted.startsWith("/") && !/^[A-Za-z]:[\\/]/.test(wanted)) return say("Give the whole path, from / or ~ on.", "caution");
    try {
      const answer = await api.exists(machine.id, wanted);
      if (mine !== asked) return undefined;
      if (answer.outsideWorkspaceRoots?.includes(wanted)) return say(`This machine only allows ${roots.join(", ")}.`, "caution");
      return answer.exists?.[wanted] ? say("Directory found.", "good") : say("This directory will be created.");
    } catch (error) {
      return mine === asked ? say(inWords(error), "caution") : undefined;
    }
  }

  function say(text, tone = "") {
    state.textContent = text;
    state.className = `hint ${tone}`;
  }

  async function walk(to) {
    list.hidden = false;
    browse.setAttribute("aria-expanded", "true");
    const head = h("div", { class: "directory-head" }, h("bdi", null, tilde(to, home)));
    fill(list, head, h("p", { class: "hint" }, "Looking…"));
    let answer;
    try {
      answer = await api.listDirectory(machine.id, to);
    } catch (error) {
      answer = { success: false, error: inWords(error) };
    }
    const above = to === "/" ? null : to.replace(/\/[^/]*$/, "") || "/";
    const step = (label, target, sign, note) => h("li", null, h("button", { type: "button", class: "entry", on: { click: () => { set(target); } } }, icon(sign), h("span", null, label), note && h("span", { class: "tag" }, note)));
    const inside = (answer.entries ?? []).filter((entry) => entry.type === "directory");
    fill(list, head,
      !answer.success && h("p", { class: "problem" }, listProblem(answer.error)),
      h("ul", null, above && step("One level up", above, "up"), inside.map((entry) => step(entry.name, `${to === "/" ? "" : to}/${entry.name}`, "folder", entry.isGitRepo && "git"))),
      answer.success && inside.length === 0 && h("p", { class: "hint" }, "No directories in here."));
  }

  browse.addEventListener("click", () => {
    if (list.hidden) return walk(path() || roots[0] || home || "/");
    list.hidden = true;
    return browse.setAttribute("aria-expanded", "false");
  });
  input.addEventListener("input", () => { clearTimeout(timer); timer = setTimeout(check, 350); });
  if (input.value) check();
  return { node, value: () => input.value, focus: () => input.focus() };
}

function listProblem(error = "") {
  if (/ENOENT|not found|no such/i.test(error)) return "This directory does not exist yet.";
  if (/EACCES|EPERM|permission/i.test(error)) return "The runner may not read this directory.";
  if (/outside/i.test(error)) return "This machine does not allow sessions here.";
  return error || "The machine could not list this directory.";
}
