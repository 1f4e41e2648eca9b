// Which addresses a link may have.

/**
 * The address if it may be followed: http, https or mailto. All others (javascript:, data:, relative) may not.
 * @param {string} text
 */
export function safeAddress(text) {
  try {
    const url = new URL(text);
    return ["http:", "https:", "mailto:"].includes(url.protocol) ? url.href : null;
  } catch {
    return null;
  }
}
