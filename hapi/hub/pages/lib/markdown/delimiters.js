// Which marks of emphasis belong together (CommonMark 0.31.2, "Emphasis and strong emphasis").

/** @typedef {"emphasis" | "strong" | "strike"} EmphasisKind */

const SPACE = /[\s\p{Zs}]/u;
const PUNCTUATION = /[\p{P}\p{S}]/u;

/** The character that ends before `at`. @param {string} text @param {number} at */
function characterBefore(text, at) {
  if (at === 0) return "\n";
  const code = text.charCodeAt(at - 1);
  return code >= 0xdc00 && code <= 0xdfff ? text.slice(Math.max(0, at - 2), at) : text[at - 1];
}

/** A run of marks: what is left of it is text, between the emphasis that it ends and the one that it begins. */
export class Run {
  /** @type {EmphasisKind[]} in the order in which they end */
  closes = [];
  /** @type {EmphasisKind[]} the innermost one first */
  opens = [];
  /** @type {Run | null} */
  before = null;
  /** @type {Run | null} */
  after = null;

  /**
   * @param {string} text
   * @param {number} at
   * @param {number} end
   */
  constructor(text, at, end) {
    this.at = at;
    this.sign = text[at];
    this.length = end - at;
    this.left = this.length; // marks that are not used
    const before = characterBefore(text, at);
    const after = end < text.length ? String.fromCodePoint(text.codePointAt(end) ?? 0) : "\n";
    const [isAfterMark, isBeforeMark] = [PUNCTUATION.test(before), PUNCTUATION.test(after)];
    const [isAfterSpace, isBeforeSpace] = [SPACE.test(before), SPACE.test(after)];
    const isLeft = !isBeforeSpace && (!isBeforeMark || isAfterSpace || isAfterMark);
    const isRight = !isAfterSpace && (!isAfterMark || isBeforeSpace || isBeforeMark);
    const isUnderscore = this.sign === "_";
    this.canOpen = isLeft && (!isUnderscore || !isRight || isAfterMark);
    this.canClose = isRight && (!isUnderscore || !isLeft || isBeforeMark);
  }

  /** What is the same for all runs that look for the same openers. */
  get key() {
    return `${this.sign}${this.canOpen}${this.length % 3}`;
  }

  /** Whether emphasis that this run begins may end with `closer`. @param {Run} closer */
  opensFor(closer) {
    if (!this.canOpen || this.sign !== closer.sign) return false;
    const isOfThree = (this.length + closer.length) % 3 === 0;
    const isEither = this.canClose || closer.canOpen;
    return !isEither || !isOfThree || (this.length % 3 === 0 && closer.length % 3 === 0);
  }
}

/** @param {Run} run */
function remove(run) {
  if (run.before) run.before.after = run.after;
  if (run.after) run.after.before = run.before;
}

/**
 * Pair the runs of a text, which come in its order. Each one is looked at a bounded number of times: where no opener was
 * found, none of that kind is looked for again.
 * @param {Run[]} runs
 */
export function pair(runs) {
  runs.forEach((run, index) => {
    run.before = runs[index - 1] ?? null;
    run.after = runs[index + 1] ?? null;
  });
  /** @type {Map<string, number>} where nothing opens before, by the key of the closer */
  const bottoms = new Map();
  /** @type {Run | null} */
  let closer = runs[0] ?? null;
  while (closer) {
    const opener = closer.canClose ? openerOf(closer, bottoms.get(closer.key) ?? -1) : null;
    if (opener) {
      closer = joined(opener, closer);
    } else {
      if (closer.canClose) bottoms.set(closer.key, closer.at);
      if (closer.canClose && !closer.canOpen) remove(closer);
      closer = closer.after;
    }
  }
}

/** @param {Run} closer @param {number} bottom */
function openerOf(closer, bottom) {
  let opener = closer.before;
  while (opener && opener.at >= bottom && !opener.opensFor(closer)) opener = opener.before;
  return opener && opener.at >= bottom ? opener : null;
}

/** Use marks of both; returns the run to go on with. @param {Run} opener @param {Run} closer */
function joined(opener, closer) {
  const count = opener.left >= 2 && closer.left >= 2 ? 2 : 1;
  const kind = closer.sign === "~" ? "strike" : count === 2 ? "strong" : "emphasis";
  opener.opens.push(kind);
  closer.closes.push(kind);
  opener.after = closer;
  closer.before = opener;
  opener.left -= count;
  closer.left -= count;
  if (opener.left === 0) remove(opener);
  if (closer.left > 0) return closer;
  remove(closer);
  return closer.after;
}
