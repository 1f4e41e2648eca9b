// Formulas: TeX between dollar signs becomes MathML. The library is loaded when a text has the first formula.

import { stylesheet } from "../stylesheet.js";
import { vendoredAddress } from "../vendored.js";

const MAX_TEX = 4000; // characters; a longer formula stays text
const OPTIONS = { throwOnError: true, trust: false, maxExpand: 200, maxSize: [20, 100] };

/** @type {Promise<any> | null} */
let loading = null;

/**
 * Draw the formulas in `root`. One that is no TeX stays as it was written.
 * @param {Element} root
 */
export async function drawMath(root) {
  const formulas = [...root.querySelectorAll(".math")].filter(
    (node) => !node.querySelector("math"),
  );
  if (formulas.length === 0) return;
  stylesheet(vendoredAddress("temml/temml.css"));
  loading ??= import(vendoredAddress("temml/temml.mjs"));
  const { default: temml } = await loading;
  for (const node of formulas) drawFormula(node, temml);
}

/** @param {Element} node @param {any} temml */
function drawFormula(node, temml) {
  const source = node.textContent ?? "";
  const displayMode = source.startsWith("$$");
  const tex = displayMode ? source.slice(2, -2) : source.slice(1, -1);
  if (tex.length > MAX_TEX) return;
  const drawn = document.createElement("span");
  try {
    temml.render(tex, drawn, { ...OPTIONS, displayMode });
  } catch {
    return; // not TeX, or more than it may be
  }
  node.setAttribute("title", tex);
  node.replaceChildren(...drawn.childNodes);
}
