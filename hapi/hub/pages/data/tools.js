// What a tool call shows of its input and output. Pure.

import { asText } from "./blocks.js";

/** @import { Json, ToolBlock } from "./types.js" */

const QUESTION_TOOL = "AskUserQuestion"; // of the agent, or of HAPI for questions without a tool

/** @typedef {{ text: string, form: "plain" | "command" | "path" | "diff" | "markdown", isGrowing?: boolean }} Detail */

/**
 * A title, and the interesting parts of the input.
 * @param {Pick<ToolBlock, "name" | "title" | "input">} block
 * @returns {{ title: string, details: Detail[] }}
 */
export function describeTool({ name, title: given, input }) {
  const title = given || (name === QUESTION_TOOL ? "Question" : name);
  if (input === undefined || input === null) return { title, details: [] };
  if (typeof input !== "object")
    return { title, details: [{ text: asText(input), form: "plain" }] };
  if (Array.isArray(input.questions) && input.questions.length > 0)
    return {
      title,
      details: input.questions
        .map((/** @type {Json} */ question) => asText(question?.question ?? question))
        .filter((/** @type {string} */ text) => text !== title)
        .map((/** @type {string} */ text) => ({ text, form: "plain" })),
    };
  const command = Array.isArray(input.command) ? input.command.join(" ") : input.command;
  if (typeof command === "string")
    return {
      title: title === command ? name : title,
      details: [{ text: command, form: "command" }],
    };
  if (typeof input.plan === "string")
    return { title, details: [{ text: input.plan, form: "markdown" }] };
  const path = input.file_path ?? input.path ?? input.filePath ?? input.filepath ?? input.fileName;
  /** @type {Detail[]} */
  const location =
    typeof path === "string" && !title.includes(path) ? [{ text: path, form: "path" }] : [];
  const before = input.old_string ?? input.oldString ?? input.oldText;
  const after = input.new_string ?? input.newString ?? input.newText ?? input.content;
  if (typeof after === "string") {
    return {
      title,
      details: [
        ...location,
        { text: diffText(typeof before === "string" ? before : "", after), form: "diff" },
      ],
    };
  }
  if (typeof input.diff === "string" && input.diff !== "")
    return { title, details: [...location, { text: input.diff.trimEnd(), form: "diff" }] };
  const keys = Object.keys(input).length;
  if (typeof path === "string" && keys === 1) return { title, details: location };
  return { title, details: keys === 0 ? [] : [{ text: asText(input), form: "plain" }] };
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
  if (Array.isArray(output)) return output.map(outputText).join("\n");
  if (output && typeof output === "object") {
    for (const key of ["text", "output", "stdout", "content"]) {
      if (typeof output[key] === "string" || Array.isArray(output[key]))
        return outputText(output[key]);
    }
  }
  return asText(output);
}
