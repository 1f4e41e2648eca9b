// Draws Mermaid diagrams inside a sandboxed frame (diagram.html). The frame has an origin of its own and a policy that
// lets it load nothing, so that a diagram that gets the better of Mermaid reaches neither the page nor the network. It
// is a classic script: modules would need CORS for such an origin.

(() => {
  const MAX_EDGES = 300; // of one diagram; the time that a layout takes grows faster than their number
  const MAX_TEXT = 20_000; // characters
  const UNWANTED = "script, iframe, object, embed, link, meta, base, image[href], img";
  const LOADS = /url\(\s*["']?(?!["']?#)|@import/i; // what a style would fetch from somewhere
  const FIXED = ["maxEdges", "maxTextSize", "securityLevel", "startOnLoad", "secure"];
  const FIXED_LOOKS = ["htmlLabels", "suppressErrorRendering", "fontFamily", "dompurifyConfig"];

  /**
   * @param {{ id: number, source: string, isDark: boolean }} task
   * @returns {Promise<{ svg: string, width: number, height: number, title: string }>}
   */
  async function draw({ id, source, isDark }) {
    const { mermaid } = /** @type {any} */ (globalThis);
    mermaid.initialize({
      startOnLoad: false,
      securityLevel: "strict",
      theme: isDark ? "dark" : "default",
      htmlLabels: false,
      fontFamily: "system-ui, sans-serif",
      maxTextSize: MAX_TEXT,
      maxEdges: MAX_EDGES,
      suppressErrorRendering: true,
      secure: [...FIXED, ...FIXED_LOOKS],
    });
    try {
      const { svg } = await mermaid.render(`diagram-${id}`, source);
      return drawing(svg);
    } finally {
      document.body.replaceChildren();
    }
  }

  /** The drawing as a file of its own, with its size. @param {string} svg as Mermaid writes it */
  function drawing(svg) {
    const parsed = new DOMParser().parseFromString(svg, "text/html");
    const root = parsed.querySelector("svg");
    if (!root) throw new Error("nothing was drawn");
    for (const node of root.querySelectorAll(UNWANTED)) node.remove();
    for (const node of [root, ...root.querySelectorAll("*")]) removeActions(node);
    const { width, height } = root.viewBox.baseVal;
    root.removeAttribute("style");
    root.setAttribute("width", String(width));
    root.setAttribute("height", String(height));
    const title = root.querySelector("title")?.textContent ?? "";
    return { svg: new XMLSerializer().serializeToString(root), width, height, title };
  }

  /** Remove what acts or loads. @param {Element} node */
  function removeActions(node) {
    for (const { name, value } of [...node.attributes]) {
      const isAddress = /(^|:)(href|src)$/i.test(name) && !value.startsWith("#");
      if (/^on/i.test(name) || isAddress || LOADS.test(value)) node.removeAttribute(name);
    }
    if (node.localName === "style" && LOADS.test(node.textContent ?? "")) node.remove();
  }

  /** @param {MessagePort} port @param {any} task */
  async function answer(port, task) {
    port.postMessage({ id: task.id, started: true });
    try {
      port.postMessage({ id: task.id, drawing: await draw(task) });
    } catch (error) {
      port.postMessage({
        id: task.id,
        problem: String(error instanceof Error ? error.message : error),
      });
    }
  }

  addEventListener("message", ({ source, ports: [port] }) => {
    if (source !== parent || !port) return;
    port.onmessage = ({ data }) => answer(port, data);
  });
})();
