// Pictures that the agent created. They are fetched with the JWT and drawn on a canvas, so no address carries a credential.

import { h } from "../../lib/dom.js";

/**
 * A canvas with the picture that `fetchBlob` loads; a sentence if that fails.
 * @param {() => Promise<Blob>} fetchBlob
 * @param {string} name
 */
export function picture(fetchBlob, name) {
  const canvas = h("canvas", {
    role: "img",
    "aria-label": name || "Picture",
    width: "1",
    height: "1",
  });
  const frame = h("div", { class: "picture" }, canvas);
  paint(canvas, fetchBlob).catch(() =>
    frame.replaceChildren(h("p", { class: "muted" }, "The picture could not be loaded.")),
  );
  return frame;
}

/**
 * @param {HTMLCanvasElement} canvas
 * @param {() => Promise<Blob>} fetchBlob
 */
async function paint(canvas, fetchBlob) {
  const bitmap = await createImageBitmap(await fetchBlob());
  canvas.width = bitmap.width;
  canvas.height = bitmap.height;
  canvas.getContext("2d")?.drawImage(bitmap, 0, 0);
}
