// When the page is drawn anew: once for all changes before the next frame, and less often where that takes long.

const HIDDEN_REDRAW_DELAY = 200; // ms
const MIN_LONG_DRAW = 16; // ms; after a draw of live text that takes longer
const PAUSE_FACTOR = 3; // the next one waits for so many times as long

/**
 * As `coalesced`, and after two calls that took long the next one waits for several times as long. One alone does not
 * count: on a busy machine any call can be held up.
 * @param {() => void} run
 */
export function paced(run) {
  let restsUntil = 0; // ms of performance.now()
  let before = 0; // ms that the last call took
  let isScheduled = false;
  const soon = coalesced(() => {
    const began = performance.now();
    run();
    const took = performance.now() - began;
    const cost = Math.min(took, before);
    before = took;
    restsUntil = cost > MIN_LONG_DRAW ? performance.now() + PAUSE_FACTOR * cost : 0;
  });
  const go = () => {
    isScheduled = false;
    soon();
  };
  return () => {
    const rest = restsUntil - performance.now();
    if (isScheduled) return;
    isScheduled = rest > 0;
    if (rest > 0) setTimeout(go, rest);
    else soon();
  };
}

/**
 * A function that calls `run` once, soon, however often it is called.
 * @param {() => void} run
 */
export function coalesced(run) {
  let isScheduled = false;
  const go = () => {
    isScheduled = false;
    run();
  };
  return () => {
    if (isScheduled) return;
    isScheduled = true;
    if (document.visibilityState === "visible") requestAnimationFrame(go);
    else setTimeout(go, HIDDEN_REDRAW_DELAY);
  };
}
