// The card of a tool call: what it is, how it goes, what came out. Long things are folded.

import { h, icon } from "../../lib/dom.js";
import { asText } from "../../data/blocks.js";
import { permissionRow } from "./permission.js";
import { own } from "../../lib/words.js";

const FEW = 10; // lines shown of an output before it is folded
const WIDE = 1200; // characters that count as long, too

export function toolBlock(block, chat) {
  const status = block.request ? "asks" : block.status ?? "pending";
  const { head, detail } = describe(block);
  return h("section", { class: `block tool ${status}`, "aria-label": `Tool: ${head}`, "data-status": status },
    h("header", { class: "tool-head" }, h("span", { class: "tool-icon" }, icon(own(SIGNS, block.toolKind) ?? "tool")), h("span", { class: "tool-name" }, head), statusMark(block, status)),
    detail && h("div", { class: "tool-input" }, detail.map((part) => folded(part, block, chat))),
    block.progress && status === "in_progress" && h("p", { class: "muted tool-progress" }, block.progress),
    block.output !== undefined && output(block, chat),
    block.request && permissionRow(block, chat));
}

const SIGNS = { think: "thought", read: "list", search: "search", edit: "edit", write: "edit" };
const STATUS = { pending: "Waiting", in_progress: "Running", completed: "Done", failed: "Failed", asks: "Asks you" };
const DECIDED = { denied: "Denied", canceled: "Canceled" };

function statusMark(block, status) {
  const decided = own(DECIDED, block.decision?.status);
  const allowed = block.decision?.decision === "approved_for_session" ? "Allowed for session" : null;
  const words = status === "asks" ? STATUS.asks : decided ?? own(STATUS, status) ?? status;
  const sign = decided || status === "failed" ? icon("cross") : status === "completed" ? icon("check") : status === "asks" ? icon("shield") : h("span", { class: "spinner" });
  return [allowed && h("span", { class: "muted tool-allowed" }, allowed), h("span", { class: `tool-status ${decided ? "failed" : status}` }, sign, words)];
}

/** A title and the interesting parts of the input: [{label, text, lines?}]. */
export function describe(block) {
  const input = block.input;
  const title = block.title || block.name;
  if (input === undefined || input === null) return { head: title, detail: null };
  if (typeof input !== "object") return { head: title, detail: [{ text: asText(input) }] };
  const command = Array.isArray(input.command) ? input.command.join(" ") : input.command;
  const path = input.file_path ?? input.path ?? input.filePath ?? input.filepath;
  if (typeof command === "string") return { head: title === command ? block.name : title, detail: [{ text: command, form: "command" }] };
  if (typeof input.plan === "string") return { head: title, detail: [{ text: input.plan }] };
  const before = input.old_string ?? input.oldString ?? input.oldText;
  const after = input.new_string ?? input.newString ?? input.newText ?? input.content;
  const where = typeof path === "string" && !title.includes(path) ? [{ text: path, form: "where" }] : [];
  if (typeof after === "string") return { head: title, detail: [...where, { text: change(typeof before === "string" ? before : "", after), form: "diff" }] };
  if (typeof path === "string" && Object.keys(input).length === 1) return { head: title, detail: where.length ? where : null };
  if (Object.keys(input).length === 0) return { head: title, detail: null };
  return { head: title, detail: [{ text: asText(input) }] };
}

function change(before, after) {
  const mark = (text, sign) => (text === "" ? [] : text.replace(/\n$/, "").split("\n").map((line) => sign + line));
  return [...mark(before, "-"), ...mark(after, "+")].join("\n");
}

function folded({ text, form = "plain" }, block, chat, name = "input") {
  const lines = text.split("\n");
  const key = `${block.key}/${name}/${form}`;
  const long = lines.length > FEW + 2 || text.length > WIDE;
  const open = chat.expanded.get(key) ?? false;
  const shown = long && !open ? lines.slice(0, FEW).join("\n").slice(0, WIDE) : text;
  const pre = h("pre", { class: `tool-text ${form} ${long && !open ? "cut" : ""}`, tabindex: "0" }, form === "diff" ? diffLines(shown) : shown);
  if (!long) return pre;
  const more = h("button", { type: "button", class: "link fold", "aria-expanded": String(open) }, open ? "Show less" : `Show all (${lines.length} lines)`);
  const whole = h("div", null, pre, more);
  more.addEventListener("click", () => {
    chat.expanded.set(key, !open);
    const redrawn = folded({ text, form }, block, chat, name);
    whole.replaceWith(redrawn);
    redrawn.querySelector(".fold").focus({ preventScroll: true });
  });
  return whole;
}

function diffLines(text) {
  return text.split("\n").map((line) => h("span", { class: line[0] === "-" ? "minus" : line[0] === "+" ? "plus" : null }, `${line}\n`));
}

function output(block, chat) {
  const text = outputText(block.output).replace(/\s+$/, "");
  if (!text) return null;
  return h("div", { class: block.failed ? "tool-output failed" : "tool-output", "aria-label": "Result" }, folded({ text }, block, chat, "output"));
}

/** The readable part of an output, which may be any JSON. */
export function outputText(output) {
  if (Array.isArray(output)) return output.map(outputText).join("\n");
  if (output && typeof output === "object") {
    for (const key of ["text", "output", "stdout", "content"]) if (typeof output[key] === "string" || Array.isArray(output[key])) return outputText(output[key]);
  }
  return asText(output);
}
