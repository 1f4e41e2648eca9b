// Where HTML begins and ends in Markdown (CommonMark 0.31.2, "HTML blocks" and "Raw HTML"). It is only found, so that
// nothing in it is taken for Markdown: the page shows it as the text that it is.

const ATTRIBUTE =
  "(?:\\s+[a-z_:][a-z0-9:._-]*(?:\\s*=\\s*(?:[^\"'=<>`\\x00-\\x20]+|'[^']*'|\"[^\"]*\"))?)";
const OPEN_TAG = `<[a-z][a-z0-9-]*${ATTRIBUTE}*\\s*/?>`;
const CLOSE_TAG = "</[a-z][a-z0-9-]*\\s*>";
const TAG = new RegExp(`${OPEN_TAG}|${CLOSE_TAG}`, "iy");

const BLOCK_NAMES =
  "address|article|aside|base|basefont|blockquote|body|caption|center|col|colgroup|dd|details|dialog|dir|div|dl|dt|" +
  "fieldset|figcaption|figure|footer|form|frame|frameset|h[1-6]|head|header|hr|html|iframe|legend|li|link|main|menu|" +
  "menuitem|nav|noframes|ol|optgroup|option|p|param|search|section|summary|table|tbody|td|tfoot|th|thead|title|tr|" +
  "track|ul";

/** @type {{ start: RegExp, end: RegExp | null }[]} the kinds of blocks; one without an end ends before a blank line */
const BLOCKS = [
  {
    start: /<(?:script|pre|textarea|style)(?:\s|>|$)/iy,
    end: /<\/(?:script|pre|textarea|style)>/i,
  },
  { start: /<!--/y, end: /-->/ },
  { start: /<\?/y, end: /\?>/ },
  { start: /<![a-z]/iy, end: />/ },
  { start: /<!\[CDATA\[/y, end: /\]\]>/ },
  { start: new RegExp(`</?(?:${BLOCK_NAMES})(?:\\s|/?>|$)`, "iy"), end: null },
  { start: new RegExp(`(?:${OPEN_TAG}|${CLOSE_TAG})\\s*$`, "iy"), end: null },
];

/**
 * The kind of the HTML block that begins at `at`; null if none does.
 * @param {string} text a line
 * @param {number} at
 * @param {boolean} interrupts whether a paragraph would end there: not every kind may do that
 */
export function htmlBlockAt(text, at, interrupts) {
  const kinds = interrupts ? BLOCKS.slice(0, -1) : BLOCKS;
  return (
    kinds.find(({ start }) => {
      start.lastIndex = at;
      return start.test(text);
    }) ?? null
  );
}

/** @type {[start: string, end: string, from: number][]} what is no tag: its start, its end, and where that may be found first */
const OTHERS = [
  ["<!-->", "", 5],
  ["<!--->", "", 6],
  ["<!--", "-->", 4],
  ["<?", "?>", 2],
  ["<![CDATA[", "]]>", 9],
  ["<!", ">", 2],
];

/**
 * Where the HTML that begins at `at` ends; 0 if none begins there.
 * @param {string} text
 * @param {number} at
 * @param {Set<string>} missing ends of which it is known that they do not occur again
 */
export function htmlEnd(text, at, missing) {
  if (!/[a-z/!?]/i.test(text[at + 1] ?? "")) return 0;
  TAG.lastIndex = at;
  if (TAG.test(text)) return TAG.lastIndex;
  for (const [start, end, from] of OTHERS) {
    if (!text.startsWith(start, at)) continue;
    if (start === "<!" && !/[a-z]/i.test(text[at + 2] ?? "")) return 0;
    const found = missing.has(end) ? -1 : text.indexOf(end, at + from);
    if (found >= 0) return found + end.length;
    missing.add(end);
    return 0;
  }
  return 0;
}
