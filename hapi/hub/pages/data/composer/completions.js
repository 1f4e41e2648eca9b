// What a person is typing may become a command, a skill, the path of a file or a link to a session. Pure.

import { isWorthListing, shownPath, titleOf } from "../sessions/sessions.js";

/** @import { Json, Machine, OfferedChoice, SavedPrompt, Session } from "../types.js" */

const MAX_QUERY = 200; // characters

/**
 * One thing to choose.
 * @typedef {object} Completion
 * @property {"command" | "skill" | "prompt" | "file" | "session"} kind
 * @property {string} id
 * @property {string} label
 * @property {string} description
 * @property {string} [place] the whole path, of which the description is the short form
 * @property {boolean} [isAlike] another one has the same label
 * @property {string} insert what the box gets instead of what was typed
 */

/**
 * The part of a text that is being completed.
 * @typedef {object} Token
 * @property {"/" | "@"} mark
 * @property {string} query what stands after the mark
 * @property {number} start
 * @property {number} end
 */

/**
 * The token that ends at the caret: a command is the whole text up to there, a mention is a word.
 * @param {string} text
 * @param {number} caret
 * @returns {Token | null}
 */
export function tokenAt(text, caret) {
  const before = text.slice(0, caret);
  const command = /^\/(\S*)$/.exec(before.slice(0, MAX_QUERY + 1));
  if (command && before.length <= MAX_QUERY)
    return { mark: "/", query: command[1] ?? "", start: 0, end: caret };
  const mention = /(?:^|[\s(["'])@([^\s@]*)$/.exec(before.slice(-MAX_QUERY));
  if (!mention) return null;
  const query = mention[1] ?? "";
  return { mark: "@", query, start: caret - query.length - 1, end: caret };
}

/** `text` with a completion instead of the token, and where the caret is then. @param {string} text @param {Token} token @param {Completion} chosen @returns {[text: string, caret: number]} */
export function completed(text, { start, end }, { insert }) {
  const rest = text.slice(end);
  const head = `${text.slice(0, start)}${insert}${/^\s/.test(rest) ? "" : " "}`;
  return [head + rest, head.length + (/^\s/.test(rest) ? 1 : 0)];
}

/**
 * The commands of an offer and those of the routes for commands and skills, each once.
 * @param {OfferedChoice[]} offered
 * @param {Json} commands the answer of the route, null if there is none
 * @param {Json} skills likewise
 * @param {string | null | undefined} flavor
 * @returns {Completion[]}
 */
export function commandCompletions(offered, commands, skills, flavor) {
  /** @type {Map<string, Completion>} */
  const found = new Map();
  /** @param {Completion["kind"]} kind @param {string} name @param {string} description @param {string} insert */
  const put = (kind, name, description, insert) => {
    if (!found.has(name)) found.set(name, { kind, id: name, label: insert, description, insert });
  };
  for (const { id, description } of offered) put("command", id, description, `/${id}`);
  for (const { name, description } of named(commands?.commands))
    put("command", name, description, `/${name}`);
  const mark = flavor === "codex" ? "$" : "/"; // Codex calls a skill by its name after a dollar sign
  for (const { name, description } of named(skills?.skills)) {
    const known = found.get(name);
    if (known) found.set(name, { ...known, kind: "skill" });
    else put("skill", name, description, `${mark}${name}`);
  }
  return [...found.values()];
}

/** @param {SavedPrompt[]} prompts @returns {Completion[]} */
export function promptCompletions(prompts) {
  return prompts.map(({ id, name, text }) => {
    const label = name || text.slice(0, 60);
    return { kind: "prompt", id: name || id, label, description: name ? text : "", insert: text };
  });
}

/** @param {Json} listed @returns {{ name: string, description: string }[]} */
function named(listed) {
  if (!Array.isArray(listed)) return [];
  return listed
    .filter((entry) => typeof entry?.name === "string" && entry.name)
    .map(({ name, description }) => ({
      name: name.replace(/^\//, ""),
      description: typeof description === "string" ? description : "",
    }));
}

/**
 * Those of `items` that a query means: whose name begins with it, then whose name or description contains it.
 * @param {Completion[]} items
 * @param {string} query
 */
export function matching(items, query) {
  const wanted = query.toLowerCase();
  const starting = items.filter(({ id }) => id.toLowerCase().startsWith(wanted));
  if (!wanted) return starting;
  const others = items.filter(
    ({ id, description }) =>
      !id.toLowerCase().startsWith(wanted) &&
      (id.toLowerCase().includes(wanted) || description.toLowerCase().includes(wanted)),
  );
  return [...starting, ...others];
}

/**
 * A link to a session, as other pages of hubs write it; agents find the session by its id.
 * @param {Session} session
 */
export function sessionReference(session) {
  return `[${titleOf(session)
    .replace(/[[\]\n]/g, " ")
    .trim()}](/sessions/${session.id})`;
}

/**
 * Other sessions whose title or directory contains the query, the latest first.
 * @param {Iterable<Session>} sessions
 * @param {string} query
 * @param {string} ownId
 * @param {Map<string, Machine>} machines
 * @returns {Completion[]}
 */
export function sessionCompletions(sessions, query, ownId, machines) {
  const wanted = query.toLowerCase();
  return [...sessions]
    .filter((session) => session.id !== ownId && isWorthListing(session))
    .map((session) => ({ session, title: titleOf(session), path: session.metadata?.path ?? "" }))
    .filter(({ title, path }) => `${title}\n${path}`.toLowerCase().includes(wanted))
    .sort((one, other) => other.session.updatedAt - one.session.updatedAt)
    .map(({ session, title, path }) => ({
      kind: "session",
      id: session.id,
      label: title,
      description: shownPath(session, machines),
      place: path,
      insert: sessionReference(session),
    }));
}

/**
 * The same completions; those with the label of another one know it, and sessions of the same place have their ids beside it.
 * @param {Completion[]} items
 * @returns {Completion[]}
 */
export function distinguished(items) {
  const counts = new Map();
  const keysOf = (/** @type {Completion} */ { label, description }) => [
    label,
    `${label}\n${description}`,
  ];
  for (const key of items.flatMap(keysOf)) counts.set(key, (counts.get(key) ?? 0) + 1);
  return items.map((item) => {
    const [alike, equal] = keysOf(item).map((key) => counts.get(key) > 1);
    if (!alike) return item;
    const isEqual = equal && item.kind === "session";
    const description = isEqual ? `${item.description} · ${item.id.slice(0, 8)}` : item.description;
    return { ...item, description, isAlike: true };
  });
}

/** The files of the route's answer. @param {Json} answer @returns {Completion[]} */
export function fileCompletions(answer) {
  const files = Array.isArray(answer?.files) ? answer.files : [];
  return files
    .filter((/** @type {Json} */ file) => typeof file?.fullPath === "string")
    .map((/** @type {Json} */ { fullPath, fileName, filePath }) => ({
      kind: "file",
      id: fullPath,
      label: String(fileName ?? fullPath),
      description: String(filePath ?? ""),
      place: fullPath,
      insert: /\s/.test(fullPath) ? `@"${fullPath}"` : `@${fullPath}`,
    }));
}
