// The markup that agents put around texts for their models, taken off for people. Pure, and linear in the text.

/** Around a whole output, or at its beginning. */
const WRAPPERS = [
  ...["tool_use_error", "local-command-stdout", "local-command-stderr"],
  ...["bash-stdout", "bash-stderr", "file", "bash-input"],
];
/** Notes to the model, of which a person needs nothing. */
const HIDDEN = ["system-reminder"];
/** Notes at the end, without their tags. */
const NOTES = ["bash_metadata", "shell_metadata"];
const END_OF_FILE = "(End of file - total ";

/**
 * An output of a tool without the agent's markup. Markup that is part of a file or of what a program printed stays.
 * @param {string} text
 */
export function readableOutput(text) {
  let shown = text;
  for (const tag of HIDDEN) shown = withoutElements(shown, tag);
  for (const tag of NOTES) shown = withoutTags(shown, tag);
  shown = contentOfFile(shown) ?? shown;
  for (const tag of WRAPPERS)
    if (shown.trimStart().startsWith(`<${tag}>`)) shown = withoutTags(shown, tag);
  return shown;
}

/**
 * A prompt as a person typed it: agents write their own commands as elements.
 * @param {string} text
 */
export function readablePrompt(text) {
  const start = text.trimStart();
  if (start.startsWith("<command-name>") || start.startsWith("<command-message>")) {
    const name = elementIn(start, "command-name") ?? `/${elementIn(start, "command-message")}`;
    return `${name} ${elementIn(start, "command-args") ?? ""}`.trim();
  }
  return start.startsWith("<local-command-") || start.startsWith("<bash-")
    ? readableOutput(text).trim()
    : text;
}

/** What OpenCode gives of a file or directory: `<path>`, `<type>`, then its content. @param {string} text */
function contentOfFile(text) {
  const start = text.trimStart();
  if (!start.startsWith("<path>") || !start.includes("</path>\n<type>")) return null;
  const inner = outerElement(start, "content") ?? outerElement(start, "entries");
  if (inner === null) return null;
  const end = inner.lastIndexOf(END_OF_FILE);
  const isLastLine = end >= 0 && !inner.slice(end).trimEnd().includes("\n");
  return (isLastLine ? inner.slice(0, end) : inner).replace(/^\n/, "").trimEnd();
}

/** The text between the first opening and the first closing tag after it. @param {string} text @param {string} tag */
function elementIn(text, tag) {
  const open = text.indexOf(`<${tag}>`);
  const start = open + tag.length + 2;
  const end = open < 0 ? -1 : text.indexOf(`</${tag}>`, start);
  return end < 0 ? null : text.slice(start, end).trim();
}

/** The text between the first opening and the last closing tag, or the end. @param {string} text @param {string} tag */
function outerElement(text, tag) {
  const open = text.indexOf(`<${tag}>`);
  if (open < 0) return null;
  const start = open + tag.length + 2;
  const end = text.lastIndexOf(`</${tag}>`);
  return text.slice(start, end < start ? text.length : end);
}

/** @param {string} text @param {string} tag */
function withoutTags(text, tag) {
  return text.replaceAll(`<${tag}>`, "").replaceAll(`</${tag}>`, "");
}

/** Without the elements that begin a line. @param {string} text @param {string} tag */
function withoutElements(text, tag) {
  const [opening, closing] = [`<${tag}>`, `</${tag}>`];
  let shown = "";
  let rest = 0;
  for (let open = text.indexOf(opening); open >= 0; open = text.indexOf(opening, rest)) {
    const isAtLine = open === 0 || text[open - 1] === "\n";
    const end = isAtLine ? text.indexOf(closing, open) : -1;
    if (isAtLine && end < 0) break;
    const next = isAtLine ? end + closing.length : open + opening.length;
    shown += text.slice(rest, isAtLine ? open : next);
    rest = next;
  }
  return rest === 0 ? text : shown + text.slice(rest);
}

/**
 * The parts of a text: what stands between fences of three backticks, which begin a line each, is code. Linear in the text.
 * @param {string} text
 * @returns {{ text: string, language?: string }[]} `language`: of code, as the fence names it; it may be ""
 */
export function fencedParts(text) {
  /** @type {{ text: string, language?: string }[]} */
  const parts = [];
  let [plain, code] = [/** @type {string[]} */ ([]), /** @type {string[] | null} */ (null)];
  let opening = "";
  const endPlain = () => {
    if (plain.length > 0) parts.push({ text: plain.join("\n") });
    plain = [];
  };
  for (const line of text.split("\n")) {
    if (code === null && line.startsWith("```") && !line.slice(3).includes("`")) {
      [opening, code] = [line, []];
    } else if (code !== null && line.trimEnd() === "```") {
      endPlain();
      parts.push({ text: code.join("\n"), language: opening.slice(3).trim() });
      code = null;
    } else (code ?? plain).push(line);
  }
  if (code !== null) plain.push(opening, ...code); // a fence that is not closed
  endPlain();
  return parts;
}
