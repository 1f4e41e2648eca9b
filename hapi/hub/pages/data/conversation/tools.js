// What a tool call shows of its input and output. Pure.

import { ownValue } from "../../lib/format.js";
import { t } from "../../lib/language.js";
import { asText } from "../json.js";
import { readableOutput } from "./markup.js";
import { todosIn } from "./todos.js";

/** @import { Json, Todo, ToolBlock } from "../types.js" */

const QUESTION_TOOL = "AskUserQuestion"; // of the agent, or of HAPI for questions without a tool
const MAX_TITLE = 500; // characters
const COMMAND_TITLE = t("Command"); // of a call of which nothing else is known
const SHELL_TOOL =
  /^(bash|shell|terminal|execute|exec|command|exec_command|run_command|run_shell_command)$/i;
/** A command as Codex hands it to a shell. */
const SHELL_CALL = /^(?:\/\S*\/)?(?:ba|da|z)?sh -l?c ([\s\S]+)$/;
/** What the titles of some agents put before a command. */
const SHELL_LABEL = /^(?:shell|bash|terminal|command|run|running|execute|executing): */i;
const MIN_QUOTED_COMMAND = 12; // characters of a command that a title may hold among other words
const MIN_CUT_TITLE = 20; // characters of a title that is taken for the beginning of a command
/** What a kind of tool does with the file that it names. @type {Record<string, string>} */
const VERBS = {
  read: t("Read"),
  edit: t("Edit"),
  delete: t("Delete"),
  move: t("Move"),
  search: t("Search"),
};
/** @type {Record<string, string>} */
const VERBS_BY_NAME = { write: t("Write"), edit: t("Edit"), read: t("Read"), list: t("List") };

/**
 * @typedef {object} Detail
 * @property {string} text
 * @property {"plain" | "command" | "path" | "diff" | "markdown" | "todos"} form
 * @property {boolean} [isGrowing]
 * @property {string} [path] of the file that a diff is about
 * @property {Todo[]} [steps] of a to-do list
 */

/**
 * A title, and the interesting parts of the input that the title does not say.
 * @param {Pick<ToolBlock, "name" | "title" | "input" | "toolKind">} block
 * @param {string} [directory] of the session; paths below it are shown from there
 * @returns {{ title: string, details: Detail[] }}
 */
export function describeTool(block, directory) {
  const { title, details } = describedInput(block, directory);
  const isLong = title.length > MAX_TITLE;
  return { title: isLong ? `${title.slice(0, MAX_TITLE)}…` : title, details };
}

/** The names by which Claude Code asks for the approval of a plan. */
const PLAN_TOOLS = ["ExitPlanMode", "exit_plan_mode"];

/**
 * @param {Pick<ToolBlock, "name" | "title" | "input" | "toolKind">} block
 * @param {string} [directory]
 * @returns {{ title: string, details: Detail[] }}
 */
function describedInput({ name, title: given, input, toolKind }, directory) {
  const title = withVerb(given || (name === QUESTION_TOOL ? t("Question") : name), toolKind, input);
  if (input === undefined || input === null) return { title, details: [] };
  if (typeof input !== "object")
    return { title, details: [{ text: asText(input), form: "plain" }] };
  if (Array.isArray(input.questions) && input.questions.length > 0)
    return { title, details: questionDetails(input.questions, title) };
  const review = reviewDetails(input);
  if (review) return { title, details: review };
  const command = commandOf(input);
  if (command !== null)
    return {
      title: commandTitle(title, name, input.description, command),
      details: [{ text: command, form: "command" }],
    };
  if (typeof input.plan === "string") {
    const isUnnamed = PLAN_TOOLS.includes(title);
    return {
      title: isUnnamed ? t("Plan") : title,
      details: [{ text: input.plan, form: "markdown" }],
    };
  }
  const steps = todosIn(name, input);
  if (steps) return { title: t("To-do list"), details: [{ text: "", form: "todos", steps }] };
  const path = input.file_path ?? input.path ?? input.filePath ?? input.filepath ?? input.fileName;
  if (typeof path !== "string") return { title, details: inputDetails(input) };
  const place = placeTitle({ title, name, toolKind, path, directory });
  const more = changeOf(input);
  if (more) return { title: place.title, details: [...place.details, { ...more, path }] };
  const { offset, limit, ...others } = input;
  if (Object.keys(others).length === 1)
    return { title: `${place.title}${lineRange(offset, limit)}`, details: place.details };
  return { title, details: inputDetails(input) };
}

/** The part of a file that is read. @param {Json} offset the first line @param {Json} limit */
function lineRange(offset, limit) {
  if (!Number.isInteger(limit))
    return Number.isInteger(offset) ? t(", from line {line}", { line: offset }) : "";
  const first = Number.isInteger(offset) ? Math.max(1, offset) : 1;
  return t(", lines {first}–{last}", { first, last: first + limit - 1 });
}

/**
 * A title that is nothing but the name of a file, with what is done to it.
 * @param {string} title
 * @param {string | undefined} toolKind
 * @param {Json} input
 */
function withVerb(title, toolKind, input) {
  const verb = ownValue(VERBS, toolKind);
  const isFile = /^\S*[./]\S*$/.test(title);
  const hasInput = input && (typeof input !== "object" || Object.keys(input).length > 0);
  return verb && isFile && !hasInput ? `${verb} ${title}` : title;
}

/** @param {Json[]} questions @param {string} title @returns {Detail[]} */
function questionDetails(questions, title) {
  return questions
    .map((question) => asText(question?.question ?? question))
    .filter((text) => text !== title)
    .map((text) => ({ text, form: /** @type {const} */ ("plain") }));
}

/** @param {Json} input @returns {Detail[]} */
function inputDetails(input) {
  const change = changeOf(input);
  if (change) return [change];
  const entries = Array.isArray(input) ? [] : Object.entries(input);
  if (Object.keys(input).length === 0) return [];
  const isFlat = entries.length > 0 && entries.every(([, value]) => isOneLine(value));
  const text = isFlat
    ? entries.map(([key, value]) => `${key}: ${value}`).join("\n")
    : asText(input);
  return [{ text, form: "plain" }];
}

/** @param {Json} value */
function isOneLine(value) {
  if (typeof value === "string") return !value.includes("\n");
  return typeof value === "number" || typeof value === "boolean";
}

/**
 * What Codex' own review of a call says for its decision; null for another input. The output of the review names the call.
 * @param {Json} input `{threadId, turnId, reviewId, targetItemId, review: {status, riskLevel, rationale, …}, …}`
 * @returns {Detail[] | null}
 */
function reviewDetails({ reviewId, targetItemId, review }) {
  const isReview = typeof reviewId === "string" && typeof targetItemId === "string";
  if (!isReview || !review || typeof review !== "object") return null;
  const { rationale } = review;
  return typeof rationale === "string" && rationale ? [{ text: rationale, form: "plain" }] : [];
}

/** @param {Json} input @returns {string | null} */
function commandOf({ command }) {
  if (typeof command === "string") return command;
  const isWords = Array.isArray(command) && command.every((word) => typeof word === "string");
  return isWords ? command.join(" ") : null;
}

/**
 * The agent's own description of a command, or what else is not the command itself.
 * @param {string} title
 * @param {string} name
 * @param {Json} description
 * @param {string} command
 */
function commandTitle(title, name, description, command) {
  const about = typeof description === "string" ? aboutCommand(description) : "";
  if (
    about &&
    !saysCommand(about, command) &&
    (SHELL_TOOL.test(title) || saysCommand(title, command))
  )
    return about;
  if (!saysCommand(title, command)) return title;
  return saysCommand(name, command) ? COMMAND_TITLE : name;
}

/** A description without the directory that Gemini CLI puts before it. @param {string} description */
function aboutCommand(description) {
  const text = description.trim();
  if (!text.startsWith("[current working directory ")) return text;
  const own = text.slice(text.indexOf("]") + 1).trim();
  return own.startsWith("(") && own.endsWith(")") ? own.slice(1, -1) : own;
}

/** Whether a title only repeats a command. @param {string} title @param {string} command */
export function saysCommand(title, command) {
  const [told, whole] = [title, command].map((text) => text.replace(/[\s`]+/g, " ").trim());
  const said = told.replace(SHELL_LABEL, "");
  const called = SHELL_CALL.exec(whole)?.[1].replace(/^(['"])(.*)\1$/, "$2");
  if (called && saysCommand(said, called)) return true;
  if (said === whole || said === `Run ${whole}` || said.startsWith(`${whole} [`)) return true;
  if (whole.length >= MIN_QUOTED_COMMAND && said.includes(whole)) return true;
  const beginning = said.replace(/(…|\.{3})$/, "").trimEnd();
  return beginning.length >= MIN_CUT_TITLE && whole.startsWith(beginning);
}

/**
 * A title that names the file once, as it is seen from the session's directory.
 * @param {{ title: string, name: string, toolKind?: string, path: string, directory?: string }} call
 * @returns {{ title: string, details: Detail[] }}
 */
function placeTitle({ title, name, toolKind, path, directory }) {
  const place = relativePath(path, directory);
  const file = path.slice(path.lastIndexOf("/") + 1);
  if ([path, path.slice(1), place].includes(title)) {
    const tool = [path, path.slice(1), place].includes(name) ? undefined : name;
    const verb = ownValue(VERBS_BY_NAME, tool) ?? ownValue(VERBS, toolKind) ?? tool ?? t("File");
    return { title: `${verb} ${place}`, details: [] };
  }
  if (title.includes(path)) return { title: title.replace(path, () => place), details: [] };
  if (file && title.endsWith(` ${file}`))
    return { title: title.slice(0, -file.length) + place, details: [] };
  const verb = ownValue(VERBS_BY_NAME, title);
  if (verb) return { title: `${verb} ${place}`, details: [] };
  return { title, details: [{ text: place, form: "path" }] };
}

/** @param {string} path @param {string | undefined} directory */
export function relativePath(path, directory) {
  const root = directory?.replace(/\/+$/, "");
  return root && path.startsWith(`${root}/`) ? path.slice(root.length + 1) : path;
}

/**
 * How long a finished call ran, in ms; null if it is not known. The time in which a person was asked does not count.
 * @param {ToolBlock} block
 */
export function toolDuration({ done, startedAt, endedAt, decision }) {
  if (!done || startedAt === undefined || endedAt === undefined) return null;
  const decidedAt = decision?.completedAt;
  const start = typeof decidedAt === "number" ? Math.max(startedAt, decidedAt) : startedAt;
  return Math.max(0, endedAt - start);
}

/** The change that an input describes. @param {Json} input @returns {Detail | null} */
function changeOf(input) {
  const before = input.old_string ?? input.oldString ?? input.oldText;
  const after = input.new_string ?? input.newString ?? input.newText ?? input.content;
  if (typeof after === "string")
    return { text: diffText(typeof before === "string" ? before : "", after), form: "diff" };
  if (typeof input.diff === "string" && input.diff !== "")
    return { text: input.diff.trimEnd(), form: "diff" };
  return null;
}

/**
 * Whether a tool call asks a person questions.
 * @param {Pick<ToolBlock, "name" | "input">} block
 */
export function isQuestionTool({ name, input }) {
  return name === QUESTION_TOOL || Array.isArray(input?.questions);
}

/** @param {string} before @param {string} after */
function diffText(before, after) {
  /** @param {string} text @param {string} sign */
  const signed = (text, sign) =>
    text === ""
      ? []
      : text
          .replace(/\n$/, "")
          .split("\n")
          .map((line) => sign + line);
  return [...signed(before, "-"), ...signed(after, "+")].join("\n");
}

/**
 * The readable part of an output, which may be any JSON.
 * @param {Json} output
 * @returns {string}
 */
export function outputText(output) {
  return readableOutput(plainOutput(output));
}

/** @param {Json} output @returns {string} */
function plainOutput(output) {
  if (Array.isArray(output)) return output.map(plainOutput).join("\n");
  if (output && typeof output === "object") {
    for (const key of ["text", "output", "stdout", "content"]) {
      if (typeof output[key] === "string" || Array.isArray(output[key]))
        return plainOutput(output[key]);
    }
  }
  return asText(output);
}
