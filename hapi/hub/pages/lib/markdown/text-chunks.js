// The text of one block that is so long that a browser would take seconds to show all of its markup.

export const CHUNK_LENGTH = 50_000; // characters; 12,000 elements at most in what agents write
const MAX_LOOK_BACK = 1000; // characters in which a place is sought where a text can be divided

/**
 * `text` in two: at most `size` characters that end behind a white space where there is one near, and the rest.
 * @param {string} text
 * @param {number} size characters
 * @returns {[first: string, rest: string]}
 */
export function splitText(text, size) {
  if (text.length <= size) return [text, ""];
  const near = text.slice(size - MAX_LOOK_BACK, size);
  const back = /[ \n](?=[^ \n]*$)/.exec(near);
  let end = back ? size - MAX_LOOK_BACK + back.index + 1 : size;
  if (isHighSurrogate(text.charCodeAt(end - 1))) end -= 1;
  return [text.slice(0, end), text.slice(end)];
}

/** @param {number} unit of UTF-16 */
function isHighSurrogate(unit) {
  return unit >= 0xd800 && unit < 0xdc00;
}
