// Pictures the agent made. They are fetched with the JWT and painted, so no address ever carries a credential.

import { h } from "./dom.js";

/** A canvas that `fetchBlob()` is painted on; a sentence when that fails. */
export function picture(fetchBlob, name) {
  const canvas = h("canvas", { role: "img", "aria-label": name || "Picture", width: "1", height: "1" });
  const frame = h("div", { class: "picture" }, canvas);
  paint(canvas, fetchBlob).catch(() => frame.replaceChildren(h("p", { class: "muted" }, "The picture could not be loaded.")));
  return frame;
}

async function paint(canvas, fetchBlob) {
  const bitmap = await createImageBitmap(await fetchBlob());
  canvas.width = bitmap.width;
  canvas.height = bitmap.height;
  canvas.getContext("2d").drawImage(bitmap, 0, 0);
}
