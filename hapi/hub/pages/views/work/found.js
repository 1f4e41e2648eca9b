// What a search of files has found: paths, or lines.

import { h, icon } from "../../lib/dom.js";
import { plural, t } from "../../lib/language.js";

/**
 * @import { Child } from "../../lib/dom.js"
 * @import { FoundContent, FoundLine } from "../../data/work/work-requests.js"
 */

/** @typedef {(content: Child, query: Record<string, string | number | null>, style?: string) => HTMLElement} Link */

/** @param {string[]} paths @param {number} limit @param {Link} link */
export function foundFiles(paths, limit, link) {
  if (paths.length === 0) return h("p", { class: "empty-note" }, t("No file has such a name."));
  return [
    h(
      "ul",
      { class: "work-list work-groups" },
      paths.map((path) => {
        const slash = path.lastIndexOf("/");
        return h(
          "li",
          null,
          link(
            [
              icon("file"),
              h(
                "span",
                { class: "work-name" },
                h("span", { class: "work-base" }, path.slice(slash + 1)),
                h("span", { class: "work-place" }, path.slice(0, slash + 1)),
              ),
            ],
            { path },
            "work-row",
          ),
        );
      }),
    ),
    paths.length >= limit &&
      h(
        "p",
        { class: "empty-note" },
        t("Only the first {limit} files are shown. Search for more letters.", { limit }),
      ),
  ];
}

/** @param {FoundContent} found @param {string} searched @param {Link} link */
export function foundLines({ matches, files, incomplete }, searched, link) {
  /** @type {Map<string, FoundLine[]>} */
  const byFile = new Map();
  for (const match of matches) {
    const known = byFile.get(match.path);
    if (known) known.push(match);
    else byFile.set(match.path, [match]);
  }
  return [
    h(
      "p",
      { class: "empty-note", role: "status" },
      matches.length === 0
        ? plural(files, "Nothing found in {count} file.", "Nothing found in {count} files.")
        : plural(
            byFile.size,
            "{lines} in {count} file of {files}.",
            "{lines} in {count} files of {files}.",
            { lines: plural(matches.length, "{count} line", "{count} lines"), files },
          ),
      incomplete && ` ${incomplete}`,
    ),
    [...byFile].map(([path, lines]) =>
      h(
        "section",
        null,
        h("h2", { class: "found-file" }, link(path, { path })),
        lines.map(({ line, text }) =>
          link(
            [
              h("span", { class: "diff-number" }, line),
              h("span", { class: "found-text" }, marked(text, searched)),
            ],
            { path, line },
            "found-line",
          ),
        ),
      ),
    ),
  ];
}

/** @param {string} text @param {string} searched */
function marked(text, searched) {
  const at = text.toLowerCase().indexOf(searched.toLowerCase());
  if (at < 0) return text;
  const end = at + searched.length;
  return [text.slice(0, at), h("mark", null, text.slice(at, end)), text.slice(end)];
}
