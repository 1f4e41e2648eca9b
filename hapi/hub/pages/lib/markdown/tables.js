// The lines of tables (GitHub Flavored Markdown 0.29, "Tables").

const MAX_COLUMNS = 100; // of a table; wider ones stay text
const MAX_CELLS = 10_000; // of a table
const DIVIDER = /^[ \t]*[|:-][ \t|:-]*$/;
const DIVIDER_CELL = /^:?-+:?$/;

/** @typedef {"left" | "right" | "center" | null} Alignment of a column; null is as the text runs */

/**
 * The cells of a line. A vertical bar after a backslash belongs to its cell.
 * @param {string} line
 */
export function cells(line) {
  const text = line.trim();
  /** @type {string[]} */
  const found = [];
  let from = text.startsWith("|") ? 1 : 0;
  let hasEscapes = false;
  const take = (/** @type {number} */ end) => {
    const cell = text.slice(from, end).trim();
    found.push(hasEscapes ? cell.replaceAll("\\|", "|") : cell);
    hasEscapes = false;
    from = end + 1;
  };
  for (let at = from; at < text.length; at += 1) {
    if (text[at] === "|") take(at);
    else if (text[at] === "\\" && at + 1 < text.length) {
      hasEscapes = true;
      at += 1;
    }
  }
  if (from < text.length || found.length === 0) take(text.length);
  return found;
}

/**
 * The alignments of the columns if `head` and `divider` are the first lines of a table; null if they are not.
 * @param {string} head
 * @param {string} divider
 * @returns {Alignment[] | null}
 */
export function tableColumns(head, divider) {
  if (!DIVIDER.test(divider) || !/[|:]/.test(divider) || !head.includes("|")) return null;
  if (divider.split("|", MAX_COLUMNS + 3).length > MAX_COLUMNS + 2) return null;
  const parts = cells(divider);
  if (parts.length > MAX_COLUMNS || !parts.every((cell) => DIVIDER_CELL.test(cell))) return null;
  return cells(head).length === parts.length ? parts.map(alignmentOf) : null;
}

/** @param {string} cell of the divider @returns {Alignment} */
function alignmentOf(cell) {
  if (cell.endsWith(":")) return cell.startsWith(":") ? "center" : "right";
  return cell.startsWith(":") ? "left" : null;
}

/** How many lines a table of so many columns may have below its head; the text after them is no part of it. @param {number} columns */
export function maxRows(columns) {
  return Math.floor(MAX_CELLS / columns);
}
