// Making and updating DOM nodes. Text becomes text nodes; there is no way from here to markup.

const SVG = "http://www.w3.org/2000/svg";
const AS_PROPERTY = new Set(["value", "checked", "disabled", "selected", "hidden", "readOnly", "open", "indeterminate"]);

/** An element. `props`: attributes, `on` = {event: listener}, properties such as `value`; null and false leave an attribute out. */
export function h(tag, props, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(props ?? {})) {
    if (name === "on") {
      for (const [event, listener] of Object.entries(value)) node.addEventListener(event, listener);
    } else if (AS_PROPERTY.has(name)) {
      node[name] = value;
    } else if (value !== null && value !== undefined && value !== false) {
      node.setAttribute(name, value === true ? "" : String(value));
    }
  }
  return put(node, ...children);
}

/** Append strings, nodes and (nested) lists of them; null, undefined and false are left out. */
export function put(node, ...children) {
  for (const child of children.flat(Infinity)) {
    if (child === null || child === undefined || child === false) continue;
    node.append(child instanceof Node ? child : document.createTextNode(String(child)));
  }
  return node;
}

/** Replace everything in `node`. */
export function fill(node, ...children) {
  node.replaceChildren();
  return put(node, ...children);
}

/** A line icon from a path of a 24x24 grid. Decorative: the button around it carries the name. */
export function icon(name) {
  const svg = document.createElementNS(SVG, "svg");
  svg.setAttribute("viewBox", "0 0 24 24");
  svg.setAttribute("class", "icon");
  svg.setAttribute("aria-hidden", "true");
  const path = document.createElementNS(SVG, "path");
  path.setAttribute("d", ICONS[name]);
  svg.append(path);
  return svg;
}

const ICONS = {
  plus: "M12 5v14M5 12h14",
  back: "M15 5l-7 7 7 7",
  close: "M6 6l12 12M18 6L6 18",
  send: "M12 19V5M5.5 11.5L12 5l6.5 6.5",
  stop: "M7 7h10v10H7z",
  more: "M5 12h.01M12 12h.01M19 12h.01",
  sliders: "M4 7h9M19 7h1M4 17h1M11 17h9M16 4.500v5M8 14.500v5",
  folder: "M3.500 7.500a2 2 0 012-2h4l2 2.500h7a2 2 0 012 2v7.500a2 2 0 01-2 2h-13a2 2 0 01-2-2z",
  up: "M12 19V6M6 11l6-6 6 6",
  down: "M12 5v13M6 13l6 6 6-6",
  chevron: "M9 6l6 6-6 6",
  check: "M5 12.500l4.500 4.500L19 7.500",
  cross: "M7 7l10 10M17 7L7 17",
  tool: "M5 17l6-5-6-5M13 18h7",
  edit: "M4 20h4L19 9l-4-4L4 16zM13 7l4 4",
  machine: "M4 5h16v10H4zM9 19h6M12 15v4",
  thought: "M12 4a6 6 0 00-3.500 10.900V17h7v-2.100A6 6 0 0012 4zM9.500 20h5",
  list: "M9 6h11M9 12h11M9 18h11M4.500 6h.01M4.500 12h.01M4.500 18h.01",
  shield: "M12 3.500l7 2.500v5.500c0 4.300-3 7.500-7 9-4-1.500-7-4.700-7-9V6z",
  copy: "M9 9h10v11H9zM15 9V4H5v11h4",
  leave: "M10 4H5v16h5M15 8l4 4-4 4M19 12H9",
  theme: "M12 4a8 8 0 108 8 6 6 0 01-8-8z",
  search: "M11 5a6 6 0 100 12 6 6 0 000-12zM20 20l-4.500-4.500",
};

/** A button with an icon and a name for readers; `props` as in `h`. */
export function iconButton(name, label, props = {}) {
  return h("button", { type: "button", "aria-label": label, title: label, ...props, class: `icon-button ${props.class ?? ""}`.trim() }, icon(name));
}

/**
 * Make `parent` hold one node per item, in order, keeping the nodes of items that stay.
 * `draw(item)` makes a node; `version(item)` tells whether the kept node still shows the item.
 */
export function keyed(parent, items, key, version, draw) {
  const kept = parent.keyedNodes ?? new Map();
  const next = new Map();
  const staying = new Set(items.map(key));
  for (const [id, entry] of kept) if (!staying.has(id)) entry.node.remove(); // first: so that no other node has to move
  let place = parent.firstChild;
  for (const item of items) {
    const id = key(item);
    const seen = version(item);
    let entry = kept.get(id);
    if (!entry || entry.seen !== seen) {
      const node = draw(item, entry?.node);
      if (entry && entry.node !== node) {
        const hadFocus = entry.node.contains(document.activeElement) ? focusName(document.activeElement) : null;
        if (place === entry.node) place = node;
        entry.node.replaceWith(node);
        if (hadFocus) refocus(node, hadFocus);
      }
      entry = { node, seen };
    }
    next.set(id, entry);
    if (entry.node === place) place = place.nextSibling;
    else parent.insertBefore(entry.node, place);
  }
  parent.keyedNodes = next;
}

function focusName(element) {
  return element.dataset?.focus ?? element.getAttribute("aria-label") ?? element.tagName;
}

/** Give the focus back to the control that stands where the focused one stood before a redraw. */
export function refocus(node, name) {
  const controls = [node, ...node.querySelectorAll("button, a, input, textarea, select, summary")];
  controls.find((control) => focusName(control) === name)?.focus({ preventScroll: true });
}

/** Say `text` to screen readers. */
export function announce(text) {
  const announcer = document.getElementById("announcer");
  announcer.textContent = "";
  setTimeout(() => { announcer.textContent = text; }, 50);
}

/** Call `draw` once, soon, however often the returned function is called. */
export function coalesced(draw) {
  let waiting = false;
  return () => {
    if (waiting) return;
    waiting = true;
    const go = () => { waiting = false; draw(); };
    if (document.visibilityState === "visible") requestAnimationFrame(go);
    else setTimeout(go, 200);
  };
}

/** A random id, also on pages that came over plain HTTP (where crypto.randomUUID is missing). */
export function randomId() {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  bytes[6] = (bytes[6] & 0x0f) | 0x40;
  bytes[8] = (bytes[8] & 0x3f) | 0x80;
  const hex = [...bytes].map((byte) => byte.toString(16).padStart(2, "0")).join("");
  return [hex.slice(0, 8), hex.slice(8, 12), hex.slice(12, 16), hex.slice(16, 20), hex.slice(20)].join("-");
}
