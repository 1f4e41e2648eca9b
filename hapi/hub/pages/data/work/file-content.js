// What the bytes of a file are: text, a picture, or neither. Pure.

const PROBE_SIZE = 8000; // bytes that are looked at, as git does
/** @type {Record<string, string>} what browsers draw and cannot run, by the end of the name */
const PICTURES = {
  png: "image/png",
  jpg: "image/jpeg",
  jpeg: "image/jpeg",
  gif: "image/gif",
  webp: "image/webp",
  avif: "image/avif",
  bmp: "image/bmp",
  ico: "image/x-icon",
};

/** The part of a name after its last dot, in lower case; "" if there is none. @param {string} path */
export function extensionOf(path) {
  return /\.([^./]+)$/.exec(path)?.[1].toLowerCase() ?? "";
}

/** The media type of a picture by its name; null for anything else. @param {string} path */
export function pictureType(path) {
  const extension = extensionOf(path);
  return Object.hasOwn(PICTURES, extension) ? PICTURES[extension] : null;
}

/** Whether a file can be shown as text: it has no zero byte at its start. @param {Uint8Array} bytes */
export function isText(bytes) {
  return !bytes.subarray(0, PROBE_SIZE).includes(0);
}

/** @param {Uint8Array} bytes */
export function textOf(bytes) {
  return new TextDecoder().decode(bytes);
}
