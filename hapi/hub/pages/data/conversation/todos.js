// To-do lists and plans: what agents write of them, and which records belong to one plan. Pure.

import { isObject } from "../json.js";

/** @import { Block, Json, PlanBlock, Session, Todo } from "../types.js" */

const TODO_TOOL =
  /^(todo|todo_?write|todo_?list|write_?todos|set_?todo_?list|update_?todos|update_?plan)$/i;
const TEXT_KEYS = ["content", "step", "title", "text", "description", "subject"];
/** What agents call the states of a step. @type {Record<string, string>} */
const STATUSES = {
  done: "completed",
  complete: "completed",
  finished: "completed",
  active: "in_progress",
  doing: "in_progress",
  running: "in_progress",
  cancelled: "canceled",
  todo: "pending",
  open: "pending",
};

/** Whether a tool by this name keeps a to-do list. @param {Json} name */
export function isTodoTool(name) {
  return typeof name === "string" && TODO_TOOL.test(name);
}

/**
 * The steps of a list: `{content, status}` each, with the status `pending`, `in_progress`, `completed` or `canceled`.
 * @param {Json} entries
 * @returns {Todo[] | null} null for what is no list of steps
 */
export function stepsOf(entries) {
  if (!Array.isArray(entries)) return null;
  return entries.filter(isObject).map((entry) => ({
    content: textOf(entry),
    status: statusOf(entry.status ?? entry.state),
  }));
}

/**
 * The to-do list that the input of a tool call sets.
 * @param {Json} name of the tool
 * @param {Json} input
 * @returns {Todo[] | null} null if it sets none
 */
export function todosIn(name, input) {
  if (!isObject(input)) return null;
  const list = [input.todos, isTodoTool(name) && (input.plan ?? input.items)].find(Array.isArray);
  const isList = list?.every(
    (/** @type {Json} */ entry) =>
      isObject(entry) && textOf(entry) !== "" && typeof (entry.status ?? entry.state) === "string",
  );
  return isList ? stepsOf(list) : null;
}

/** @param {Record<string, Json>} entry */
function textOf(entry) {
  const key = TEXT_KEYS.find((name) => typeof entry[name] === "string" && entry[name]);
  return key ? entry[key] : "";
}

/** @param {Json} status */
function statusOf(status) {
  if (typeof status !== "string") return "pending";
  const word = status.trim().toLowerCase().replace(/[-\s]/g, "_");
  return Object.hasOwn(STATUSES, word) ? STATUSES[word] : word || "pending";
}

/** Whether nothing of a plan is left to do. @param {Todo[]} steps */
export function isDone(steps) {
  return steps.every(({ status }) => status === "completed" || status === "canceled");
}

/**
 * Whether `after` is a later state of the plan `before`, not another plan.
 * @param {Todo[]} before
 * @param {Todo[]} after
 */
export function continuesPlan(before, after) {
  const statuses = new Map(after.map(({ content, status }) => [content, status]));
  const shared = before.filter(({ content }) => statuses.has(content));
  if (shared.length === 0) return false;
  return !isDone(before) || shared.every(({ content, status }) => statuses.get(content) === status);
}

/** @param {Todo[]} one @param {Todo[]} other */
export function isSamePlan(one, other) {
  return (
    one.length === other.length &&
    one.every(
      ({ content, status }, index) =>
        content === other[index].content && status === other[index].status,
    )
  );
}

/**
 * The plan on which a session works: the newest one while something of it is left to do. It is over when a whole turn
 * has passed without a change of it.
 * @param {Session | undefined} session
 * @param {Block[]} blocks of the conversation
 * @returns {{ steps: Todo[], key: string | null }} `key` of its block, null if that is not loaded; no steps: no plan
 */
export function openPlan(session, blocks) {
  const block = /** @type {PlanBlock | undefined} */ (
    blocks.findLast(({ kind }) => kind === "plan")
  );
  const steps = block?.entries ?? stepsOf(session?.todos) ?? [];
  const none = { steps: [], key: null };
  if (!session?.active || isDone(steps)) return none;
  const prompts =
    block?.promptsSince ??
    blocks.filter((each) => each.kind === "user" && each.state === "sent").length;
  const isCurrent = prompts === 0 || (prompts === 1 && Boolean(session.thinking));
  return isCurrent ? { steps, key: block?.key ?? null } : none;
}
