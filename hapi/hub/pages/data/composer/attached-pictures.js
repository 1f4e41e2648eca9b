// The content of the pictures that were attached to messages: what this page sent it still has, the rest is read from the
// session's machine.

/** @import { Api } from "../hub/api.js" */
/** @import { Attachment } from "../types.js" */

const MAX_KEPT_PICTURES = 30;
const MAX_READ_SIZE = 12 * 1024 * 1024; // bytes; what cameras make, and little enough for a mobile network
const PICTURE_TYPE = /^image\/(png|jpeg|gif|webp)$/;
const DATA_ADDRESS = /^data:(image\/(?:png|jpeg|gif|webp));base64,([A-Za-z0-9+/=]+)$/;

/** Those that were looked at last, by the id of the attachment. @type {Map<string, Blob>} */
const kept = new Map();

/** Whether browsers draw a file of this media type, and run nothing in it. @param {unknown} type */
export function isPictureType(type) {
  return typeof type === "string" && PICTURE_TYPE.test(type);
}

/** The content of a picture if this page has it already. @param {Attachment} attachment */
export function keptPicture({ id }) {
  return kept.get(id) ?? null;
}

/** @param {Attachment} attachment @param {Blob} content */
export function keepPicture({ id }, content) {
  kept.set(id, content);
  for (const oldest of kept.keys()) {
    if (kept.size <= MAX_KEPT_PICTURES) break;
    kept.delete(oldest);
  }
}

/**
 * How to get the content of an attached picture; null for what is no picture, or too large to be read for a preview. The
 * function that is returned throws when the file is gone or its session does not run.
 * @param {Pick<Api, "request">} api
 * @param {string} sessionId
 * @param {Attachment} attachment
 * @returns {(() => Promise<Blob>) | null}
 */
export function attachedPicture(api, sessionId, attachment) {
  const { mimeType, size, path } = attachment;
  const here = keptPicture(attachment) ?? embeddedPicture(attachment.previewUrl);
  if (here) return async () => here;
  if (!isPictureType(mimeType) || !(size <= MAX_READ_SIZE)) return null;
  return async () => {
    const { WorkRequests } = await import("../work/work-requests.js");
    const { bytes } = await new WorkRequests(api, sessionId, () => true).file(path);
    const content = new Blob([bytes], { type: mimeType });
    keepPicture(attachment, content);
    return content;
  };
}

/** The picture that npm's page puts into a message itself. @param {unknown} address */
function embeddedPicture(address) {
  const parts = typeof address === "string" ? DATA_ADDRESS.exec(address) : null;
  if (!parts) return null;
  const [, type, content] = parts;
  try {
    return new Blob([Uint8Array.from(atob(content), (one) => one.charCodeAt(0))], { type });
  } catch {
    return null; // not base64 after all
  }
}
