// What an agent showed: pictures are drawn, recordings are played, other files can be saved. All of it is fetched with the
// JWT, so no address carries a credential, and no document of an agent is opened as a page.

import { fill, h, linkButton } from "../../../lib/dom.js";
import { explained } from "../../../lib/errors.js";
import { fileSize, visible } from "../../../lib/format.js";
import { t } from "../../../lib/language.js";

/** @import { ImageBlock } from "../../../data/types.js" */

const MAX_SIDE = 1600; // pixels of a drawn picture; a larger one is saved to be seen whole
const SAVE_TIMEOUT = 60_000; // ms for which a browser may read a file that it saves

/** @typedef {Pick<ImageBlock, "fileName" | "mediaType">} Showable */

/**
 * A node for `block`, whose content `fetchBlob` loads once the node is in sight or asked for.
 * @param {() => Promise<Blob>} fetchBlob
 * @param {Showable} block
 * @param {{ isOptional?: boolean }} [options] isOptional: nothing is shown for a picture that can't be had
 */
export function picture(fetchBlob, block, { isOptional = false } = {}) {
  const frame = h("div", { class: "picture" });
  const kind = block.mediaType.split("/")[0];
  if (kind === "image" && block.mediaType !== "image/svg+xml")
    whenVisible(frame, async () => {
      if (await load(frame, fetchBlob, (blob) => drawing(blob, block))) return;
      if (isOptional) frame.remove();
    });
  else if (kind === "audio" || kind === "video")
    frame.append(
      linkButton(t("Play"), () => load(frame, fetchBlob, (blob) => player(blob, block, kind))),
    );
  return frame;
}

/**
 * A button that saves the content of `block` as a file.
 * @param {() => Promise<Blob>} fetchBlob
 * @param {ImageBlock} block
 */
export function saveButton(fetchBlob, block) {
  const problem = h("span", { role: "alert" });
  const save = linkButton(
    block.size ? t("Save ({size})", { size: fileSize(block.size) }) : t("Save"),
    async () => {
      problem.textContent = "";
      try {
        const address = URL.createObjectURL(await fetchBlob());
        h("a", { href: address, download: block.fileName || "file" }).click();
        setTimeout(() => URL.revokeObjectURL(address), SAVE_TIMEOUT);
      } catch (error) {
        fill(problem, ` ${reason(error)}`);
      }
    },
  );
  save.setAttribute("aria-label", visible(t("Save {fileName}", { fileName: block.fileName })));
  return h("span", null, save, problem);
}

/**
 * Replace what is in `frame` by what `show` makes of the content, or by a sentence that says why there is none; whether
 * there is something.
 * @param {HTMLElement} frame
 * @param {() => Promise<Blob>} fetchBlob
 * @param {(blob: Blob) => Promise<Node> | Node} show
 */
async function load(frame, fetchBlob, show) {
  try {
    frame.replaceChildren(await show(await fetchBlob()));
    return true;
  } catch (error) {
    const again = linkButton(t("Try again"), () => load(frame, fetchBlob, show));
    frame.replaceChildren(h("p", { class: "muted" }, `${reason(error)} `, again));
    return false;
  }
}

/** @param {unknown} error */
function reason(error) {
  return error instanceof Error && !(error instanceof DOMException)
    ? t("This could not be loaded: {reason}", { reason: explained(error.message) })
    : t("This cannot be shown.");
}

/** @param {Blob} blob @param {Showable} block */
async function drawing(blob, block) {
  const bitmap = await createImageBitmap(blob);
  const scale = Math.min(1, MAX_SIDE / Math.max(bitmap.width, bitmap.height));
  const canvas = h("canvas", { role: "img", "aria-label": block.fileName || t("Picture") });
  canvas.width = Math.max(1, Math.round(bitmap.width * scale));
  canvas.height = Math.max(1, Math.round(bitmap.height * scale));
  canvas.getContext("2d")?.drawImage(bitmap, 0, 0, canvas.width, canvas.height);
  bitmap.close();
  return canvas;
}

/** @param {Blob} blob @param {Showable} block @param {"audio" | "video"} kind */
function player(blob, block, kind) {
  return h(kind, {
    controls: true,
    autoplay: true,
    "aria-label": block.fileName,
    src: URL.createObjectURL(blob),
  });
}

/** @param {HTMLElement} node @param {() => void} act called once `node` is about to be seen */
function whenVisible(node, act) {
  const observer = new IntersectionObserver(
    (entries) => {
      if (!entries.some((entry) => entry.isIntersecting)) return;
      observer.disconnect();
      act();
    },
    { rootMargin: "600px" },
  );
  observer.observe(node);
}
