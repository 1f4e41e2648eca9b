// What is inside of a block of text (CommonMark 0.31.2, "Inlines"), with strikethrough and bare addresses as on GitHub, and formulas.

import { pair, Run } from "./delimiters.js";
import { entityAt } from "./entities.js";
import { htmlEnd } from "./html.js";
import { treeOf } from "./inline-tree.js";
import { safeAddress } from "./address.js";
import { inlineTarget, labelEnd, normalLabel } from "./links.js";

/** @import { Inline, Token } from "./inline-tree.js" */
/** @import { Definitions, Target } from "./links.js" */

const SPECIAL = /[\n!$&*<[\\\]_`~]|https?:\/\//g;
const ESCAPABLE = /[!-/:-@[-`{-~]/; // the punctuation of ASCII
const AUTOLINK = /<([a-z][a-z0-9+.-]{1,31}:[^\s<>\p{Cc}]*)>/iuy;
const MAIL =
  /<([\w.!#$%&'*+/=?^`{|}~-]+@[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?(?:\.[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?)*)>/iy;
const ADDRESS = /https?:\/\/[^\s<>"'`]{1,2000}/y;
const ADDRESS_IN_LINK = /https?:\/\/[^\s<>"'`[\]]{1,2000}/y;

/**
 * @typedef {object} Bracket that may begin a link
 * @property {Token} token
 * @property {number} at where the text after it begins
 * @property {boolean} isImage
 * @property {number} runs marks of emphasis before it
 * @property {boolean} hasBracket there is another one after it
 */

/**
 * The tree of a text, and the labels of definitions that it depends on.
 * @param {string} text
 * @param {Definitions} definitions
 */
export function inline(text, definitions) {
  const parser = new InlineParser(text, definitions);
  return { nodes: parser.parse(), labels: parser.labels };
}

/** Reads one run of text from left to right. Every character is examined a bounded number of times, whatever the text. */
class InlineParser {
  /** @param {string} text @param {Definitions} definitions */
  constructor(text, definitions) {
    this._text = text;
    this._definitions = definitions;
    /** @type {Set<string>} */
    this.labels = new Set();
    /** @type {Token[]} */
    this._tokens = [];
    /** @type {Run[]} */
    this._runs = [];
    /** @type {Bracket[]} */
    this._brackets = [];
    this._inactive = 0; // brackets up to here may begin no links: there is one inside of them
    /** @type {Set<string>} marks that do not occur again */
    this._missing = new Set();
    /** @type {Map<number, number> | null} where the last run of so many backticks is */
    this._backticks = null;
    this._noAddress = 0; // up to here no address begins
    this._plainFrom = 0; // where the text begins for which there is no token yet
  }

  /** @returns {Inline[]} */
  parse() {
    const text = this._text;
    for (let at = 0; at < text.length;) {
      SPECIAL.lastIndex = at;
      const found = SPECIAL.exec(text);
      if (!found) break;
      at = this._special(found.index, found[0]) || found.index + 1;
    }
    if (this._plainFrom < text.length)
      this._tokens.push({ type: "text", text: text.slice(this._plainFrom) });
    pair(this._runs);
    return treeOf(this._tokens);
  }

  /**
   * Add the token for what begins at `at`, if it is more than text; returns where to read on, 0 for the next character.
   * @param {number} at
   * @param {string} sign
   */
  _special(at, sign) {
    switch (sign) {
      case "\n":
        return this._lineBreak(at);
      case "\\":
        return this._escape(at);
      case "`":
        return this._codeSpan(at);
      case "&":
        return this._entity(at);
      case "<":
        return this._angle(at);
      case "*":
      case "_":
      case "~":
        return this._run(at);
      case "[":
        return this._bracket(at, at + 1, false);
      case "!":
        return this._text[at + 1] === "[" ? this._bracket(at, at + 2, true) : 0;
      case "]":
        return this._closingBracket(at);
      case "$":
        return this._formula(at);
      default:
        return this._address(at);
    }
  }

  /** `token` stands for the text from `at` to `end`; returns `end`. @param {Token} token @param {number} at @param {number} end */
  _emit(token, at, end) {
    if (at > this._plainFrom)
      this._tokens.push({ type: "text", text: this._text.slice(this._plainFrom, at) });
    this._tokens.push(token);
    this._plainFrom = end;
    return end;
  }

  /** @param {number} at */
  _lineBreak(at) {
    const from = beforeSpaces(this._text, at);
    return this._emit({ type: "break", isHard: at - from >= 2 }, from, at + 1);
  }

  /** @param {number} at */
  _escape(at) {
    const next = this._text[at + 1] ?? "";
    if (next === "\n") return this._emit({ type: "break", isHard: true }, at, at + 2);
    return ESCAPABLE.test(next) ? this._emit({ type: "text", text: next }, at, at + 2) : 0;
  }

  /** @param {number} at */
  _entity(at) {
    const found = entityAt(this._text, at);
    return found ? this._emit({ type: "text", text: found.value }, at, found.end) : 0;
  }

  /** Where the run of the sign at `at` ends. @param {number} at */
  _runEnd(at) {
    let end = at + 1;
    while (this._text[end] === this._text[at]) end += 1;
    return end;
  }

  /** @param {number} at */
  _codeSpan(at) {
    const text = this._text;
    const from = this._runEnd(at);
    const length = from - at;
    this._backticks ??= lastBackticks(text);
    if ((this._backticks.get(length) ?? 0) <= at) return from;
    let close = text.indexOf("`", from);
    let end = this._runEnd(close);
    while (end - close !== length) {
      close = text.indexOf("`", end);
      end = this._runEnd(close);
    }
    const code = text.slice(from, close).replaceAll("\n", " ");
    const isPadded = code.startsWith(" ") && code.endsWith(" ") && /[^ ]/.test(code);
    return this._emit({ type: "code", text: isPadded ? code.slice(1, -1) : code }, at, end);
  }

  /** An address in angle brackets, or HTML. @param {number} at */
  _angle(at) {
    if (!/[^\s<]/.test(this._text[at + 1] ?? " ")) return 0;
    for (const [form, scheme] of /** @type {[RegExp, string][]} */ ([
      [AUTOLINK, ""],
      [MAIL, "mailto:"],
    ])) {
      form.lastIndex = at;
      const match = form.exec(this._text);
      if (match) {
        const [whole, text] = match;
        const address = scheme + text;
        return this._emit({ type: "address", text, address, isBare: false }, at, at + whole.length);
      }
    }
    const end = htmlEnd(this._text, at, this._missing);
    return end ? this._emit({ type: "html", text: this._text.slice(at, end) }, at, end) : 0;
  }

  /** An address without brackets. What closes a sentence is no part of it. @param {number} at */
  _address(at) {
    const text = this._text;
    if (at < this._noAddress || /\w/.test(text[at - 1] ?? "")) return 0;
    const form = this._brackets.length > 0 ? ADDRESS_IN_LINK : ADDRESS;
    form.lastIndex = at;
    const match = form.exec(text);
    if (!match) return 0;
    let found = match[0];
    let end = found.length;
    while (end > 0 && ".,;:!?*_~".includes(found[end - 1])) end -= 1;
    if (found[end - 1] === ")" && !found.slice(0, end).includes("(")) end -= 1;
    found = found.slice(0, end);
    if (safeAddress(found))
      return this._emit(
        { type: "address", text: found, address: found, isBare: true },
        at,
        at + end,
      );
    this._noAddress = at + match[0].length;
    return 0;
  }

  /** Marks of emphasis. @param {number} at */
  _run(at) {
    const end = this._runEnd(at);
    if (this._text[at] === "~" && end - at !== 2) return end;
    const run = new Run(this._text, at, end);
    if (!run.canOpen && !run.canClose) return end;
    this._runs.push(run);
    return this._emit({ type: "run", run }, at, end);
  }

  /** @param {number} at @param {number} end @param {boolean} isImage */
  _bracket(at, end, isImage) {
    const token = { type: /** @type {const} */ ("text"), text: this._text.slice(at, end) };
    const before = this._brackets.at(-1);
    if (before) before.hasBracket = true;
    this._inactive = Math.min(this._inactive, this._brackets.length);
    const runs = this._runs.length;
    this._brackets.push({ token, at: end, isImage, runs, hasBracket: false });
    return this._emit(token, at, end);
  }

  /** @param {number} at */
  _closingBracket(at) {
    const bracket = this._brackets.pop();
    const isActive = bracket && (bracket.isImage || this._brackets.length >= this._inactive);
    const target = bracket && isActive ? this._target(bracket, at) : null;
    if (!bracket || !target) return 0;
    pair(this._runs.splice(bracket.runs));
    const { address, title, end } = target;
    Object.assign(bracket.token, {
      type: bracket.isImage ? "image" : "link",
      address,
      title,
      end: this._text.slice(at, end),
    });
    if (!bracket.isImage) this._inactive = this._brackets.length;
    return this._emit({ type: "end" }, at, end);
  }

  /**
   * Where the link leads whose text ends at `at`, and where the link ends; null if it is none.
   * @param {Bracket} bracket
   * @param {number} at
   * @returns {(Target & { end: number }) | null}
   */
  _target(bracket, at) {
    const text = this._text;
    const found = inlineTarget(text, at + 1);
    if (found) return found;
    const labelled = labelEnd(text, at + 1);
    const isFull = labelled > at + 3;
    if (!isFull && (bracket.hasBracket || at - bracket.at > 999)) return null;
    const label = isFull ? text.slice(at + 2, labelled - 1) : text.slice(bracket.at, at);
    const normal = normalLabel(label);
    if (!normal) return null;
    this.labels.add(normal);
    const target = this._definitions.get(normal);
    return target ? { ...target, end: labelled || at + 1 } : null;
  }

  /**
   * A formula: `$…$` inside a line, `$$…$$` on its own. A dollar sign beside a word or a space is none: "$5 and $6", "$HOME/$USER".
   * @param {number} at
   */
  _formula(at) {
    const text = this._text;
    const mark = text[at + 1] === "$" ? "$$" : "$";
    const from = at + mark.length;
    const end = this._missing.has(mark) ? -1 : text.indexOf(mark, from);
    if (end < 0) {
      this._missing.add(mark);
      return from;
    }
    const tex = text.slice(from, end);
    const isBeside = /\w/.test(text[at - 1] ?? "") || /\w/.test(text[end + 1] ?? "");
    const isLoose = tex !== tex.trim() || isBeside || tex.endsWith("\\");
    if (!tex.trim() || (mark === "$" && (isLoose || tex.includes("\n")))) return from;
    const to = end + mark.length;
    const isDisplayed = mark === "$$";
    return this._emit({ type: "formula", text: text.slice(at, to), isDisplayed }, at, to);
  }
}

/** Where the spaces before `at` begin. @param {string} text @param {number} at */
function beforeSpaces(text, at) {
  let end = at;
  while (end > 0 && text[end - 1] === " ") end -= 1;
  return end;
}

/** Where the last run of each length of backticks begins. @param {string} text */
function lastBackticks(text) {
  /** @type {Map<number, number>} */
  const last = new Map();
  for (const { 0: run, index } of text.matchAll(/`+/g)) last.set(run.length, index);
  return last;
}
