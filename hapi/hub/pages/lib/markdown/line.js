// One line of Markdown while its blocks are found: how far it is read, in characters and in columns.

const TAB = 4; // columns, CommonMark 0.31.2, "Tabs"

/** A line and a place in it. A tab goes to the next column that TAB divides, and may be read in part. */
export class Line {
  /** @param {string} text without the end of the line */
  constructor(text) {
    this.text = text;
    this.at = 0; // characters that are read
    this.column = 0;
    this._isInTab = false; // a part of the tab at `at` is read
    this.next = 0; // the first character that is no space
    this.indent = 0; // columns before it
    this.isBlank = false; // there is none
    this._look();
  }

  _look() {
    let at = this.at;
    let column = this.column;
    for (; at < this.text.length; at += 1) {
      if (this.text[at] === " ") column += 1;
      else if (this.text[at] === "\t") column += TAB - (column % TAB);
      else break;
    }
    this.next = at;
    this.indent = column - this.column;
    this.isBlank = at === this.text.length;
  }

  /** The first character that is no space; "" in a blank line. */
  get first() {
    return this.text[this.next] ?? "";
  }

  /** Whether the next character to read is a space or a tab. */
  get isAtSpace() {
    return this.text[this.at] === " " || this.text[this.at] === "\t";
  }

  /** Read spaces up to the first character that is none, then `count` characters. @param {number} [count] */
  skipSpaces(count = 0) {
    this.column += this.indent + count;
    this.at = this.next + count;
    this._isInTab = false;
    this._look();
  }

  /** Read `count` columns of spaces and tabs. @param {number} count */
  skipColumns(count) {
    let left = count;
    while (left > 0 && this.isAtSpace) {
      const width = this.text[this.at] === "\t" ? TAB - (this.column % TAB) : 1;
      this._isInTab = width > left;
      this.column += Math.min(width, left);
      left -= width;
      if (!this._isInTab) this.at += 1;
    }
    this._look();
  }

  /** What is not read yet; the rest of a tab as spaces. */
  rest() {
    if (!this._isInTab) return this.text.slice(this.at);
    return " ".repeat(TAB - (this.column % TAB)) + this.text.slice(this.at + 1);
  }

  /** Where it is read up to, for `goBack`. */
  place() {
    return { at: this.at, column: this.column, isInTab: this._isInTab };
  }

  /** @param {ReturnType<Line["place"]>} place */
  goBack(place) {
    this.at = place.at;
    this.column = place.column;
    this._isInTab = place.isInTab;
    this._look();
  }
}
