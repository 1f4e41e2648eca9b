// A long press on a touch screen and the context menu of mouse and keyboard, as one gesture.

const DURATION = 500; // ms
const MAX_MOVE = 10; // px; a finger that moves on scrolls

/**
 * Call `open` for a long press or a wish for the context menu inside `node`; the click that ends the press does nothing.
 * @param {HTMLElement} node
 * @param {(target: Element) => boolean} open returns whether there is a menu for the element
 */
export function longPress(node, open) {
  let timer = 0;
  let openedAt = -Infinity; // ms of performance.now(), by a long press
  let [startX, startY] = [0, 0];
  let swallowsClick = false;

  /** @param {EventTarget | null} target */
  const show = (target) => {
    if (performance.now() - openedAt < DURATION) return true; // some browsers report the same press twice
    return target instanceof Element && open(target);
  };
  const cancel = () => clearTimeout(timer);

  node.addEventListener("contextmenu", (event) => {
    cancel();
    if (show(event.target)) event.preventDefault();
  });
  /** @param {PointerEvent} event */
  function press(event) {
    cancel();
    swallowsClick = false;
    if (event.pointerType !== "touch") return;
    [startX, startY] = [event.clientX, event.clientY];
    const { target } = event;
    timer = setTimeout(() => {
      swallowsClick = show(target);
      openedAt = performance.now();
    }, DURATION);
  }

  node.addEventListener("pointerdown", press);
  node.addEventListener("pointermove", (event) => {
    if (Math.hypot(event.clientX - startX, event.clientY - startY) > MAX_MOVE) cancel();
  });
  for (const kind of ["pointerup", "pointercancel"]) node.addEventListener(kind, cancel);
  node.addEventListener(
    "click",
    (event) => {
      if (!swallowsClick) return;
      swallowsClick = false;
      event.preventDefault();
      event.stopPropagation();
    },
    true,
  );

  return { press, show };
}
