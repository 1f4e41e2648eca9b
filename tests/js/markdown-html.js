// The tree that the page makes of Markdown, as the HTML that the CommonMark specification writes for it.

import { load } from "./support.js";

const { BlockParser } = await load("lib/markdown/blocks.js");
const { completeLines } = await load("lib/markdown/markdown.js");
const { cells } = await load("lib/markdown/tables.js");
const { inline } = await load("lib/markdown/inline.js");

const TAGS = { emphasis: "em", strong: "strong", strike: "del" };

/** The tree of a text, and the definitions of its links. */
export function parsed(text) {
  const parser = new BlockParser();
  for (const line of completeLines(text)) parser.add(line);
  parser.end();
  return parser;
}

/** The HTML of a text. */
export function htmlOf(text) {
  const { document, definitions } = parsed(text);
  return blocks(document.children, definitions, false);
}

/** Parse a text with all that is inside of its blocks; returns how many nodes that makes. */
export const parseAll = (text) => nodesOf(text).length;

/** The nodes of all kinds that are in a text. */
export function nodesOf(text) {
  const { document, definitions } = parsed(text);
  const found = [];
  const inlines = (nodes) => {
    for (const node of nodes) {
      found.push(node);
      inlines(node.children ?? []);
    }
  };
  const walk = (block) => {
    found.push(block);
    if (["paragraph", "heading"].includes(block.kind))
      inlines(inline(block.text, definitions).nodes);
    if (block.kind === "table")
      for (const cell of block.lines.flatMap(cells)) inlines(inline(cell, definitions).nodes);
    block.children.forEach(walk);
  };
  walk(document);
  return found;
}

const escaped = (text) =>
  text
    .replaceAll("&", "&amp;")
    .replaceAll("<", "&lt;")
    .replaceAll(">", "&gt;")
    .replaceAll('"', "&quot;");

const encoded = (address) =>
  escaped(
    address.replace(/%[0-9a-f]{2}|[a-z0-9;/?:@&=+$,\-_.!~*'()#]|[^]/giu, (part) =>
      part.length > 1 || /[a-z0-9;/?:@&=+$,\-_.!~*'()#]/i.test(part)
        ? part
        : encodeURIComponent(part),
    ),
  );

function blocks(children, definitions, isTight) {
  return children.map((block) => blockHtml(block, definitions, isTight)).join("");
}

function blockHtml(block, definitions, isTight) {
  const text = () => inlineHtml(inline(block.text, definitions).nodes);
  const inner = (isInnerTight = false) => blocks(block.children, definitions, isInnerTight);
  switch (block.kind) {
    case "paragraph":
      return isTight ? `${text()}\n` : `<p>${text()}</p>\n`;
    case "heading":
      return `<h${block.level}>${text()}</h${block.level}>\n`;
    case "code": {
      const language = block.language ? ` class="language-${escaped(block.language)}"` : "";
      const code = block.code || block.lines.length > 0 ? `${escaped(block.code)}\n` : "";
      return `<pre><code${language}>${code}</code></pre>\n`;
    }
    case "html":
      return `${block.code}\n`;
    case "rule":
      return "<hr />\n";
    case "quote":
      return `<blockquote>\n${inner()}</blockquote>\n`;
    case "list": {
      const tag = block.mark.isOrdered ? "ol" : "ul";
      const start = tag === "ol" && block.start !== 1 ? ` start="${block.start}"` : "";
      return `<${tag}${start}>\n${inner(!block.isLoose)}</${tag}>\n`;
    }
    case "item":
      return `<li>\n${inner(isTight)}</li>\n`;
    case "table":
      return `<table>${escaped(block.lines.join("\n"))}</table>\n`;
    default:
      return "";
  }
}

function inlineHtml(nodes) {
  return nodes.map(inlineNodeHtml).join("");
}

function inlineNodeHtml(node) {
  const title = node.title ? ` title="${escaped(node.title)}"` : "";
  switch (node.type) {
    case "html":
      return node.text;
    case "code":
      return `<code>${escaped(node.text)}</code>`;
    case "break":
      return node.isHard ? "<br />\n" : "\n";
    case "address":
      return `<a href="${encoded(node.address)}">${escaped(node.text)}</a>`;
    case "link":
      return `<a href="${encoded(node.address)}"${title}>${inlineHtml(node.children)}</a>`;
    case "image":
      return `<img src="${encoded(node.address)}" alt="${escaped(plain(node.children))}"${title} />`;
    case "emphasis":
    case "strong":
    case "strike":
      return `<${TAGS[node.type]}>${inlineHtml(node.children)}</${TAGS[node.type]}>`;
    default:
      return escaped(node.text);
  }
}

/** The text of nodes without their marks. */
function plain(nodes) {
  return nodes.map((node) => (node.children ? plain(node.children) : node.text)).join("");
}
