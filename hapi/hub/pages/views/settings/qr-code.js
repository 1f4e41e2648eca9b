// QR codes, drawn from the modules that the library computes.

import { vendoredAddress } from "../../lib/vendored.js";

const SVG_NAMESPACE = "http://www.w3.org/2000/svg";
const QUIET_ZONE = 4; // modules around the code, ISO/IEC 18004

/** @param {string} text @param {string} label for those who cannot see it */
export async function qrCode(text, label) {
  const { generate } = await import(vendoredAddress("lean-qr/lean-qr.js"));
  const code = generate(text);
  const size = code.size + 2 * QUIET_ZONE;
  const squares = [];
  for (let y = 0; y < code.size; y += 1)
    for (let x = 0; x < code.size; x += 1)
      if (code.get(x, y)) squares.push(`M${x + QUIET_ZONE} ${y + QUIET_ZONE}h1v1h-1z`);
  const svg = document.createElementNS(SVG_NAMESPACE, "svg");
  svg.setAttribute("viewBox", `0 0 ${size} ${size}`);
  svg.setAttribute("class", "qr-code");
  svg.setAttribute("role", "img");
  svg.setAttribute("aria-label", label);
  const path = document.createElementNS(SVG_NAMESPACE, "path");
  path.setAttribute("d", squares.join(""));
  svg.append(path);
  return svg;
}
