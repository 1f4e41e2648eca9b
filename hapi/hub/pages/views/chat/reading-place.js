// Where a person was reading when they left a conversation, e.g. for its changed files, so that the way back leads there.

/** @typedef {{ id: string, key: string, top: number }} ReadingPlace `id`: of the session; `top`: px of the block `key` below the upper edge */

/** @type {ReadingPlace | null} */
let kept = null;

/** @param {ReadingPlace | null} place null: the end was on screen */
export function keepPlace(place) {
  kept = place;
}

/** The place in a conversation that is opened now; the place in any other one is forgotten. @param {string} id @returns {ReadingPlace | null} */
export function takePlace(id) {
  const place = kept?.id === id ? kept : null;
  kept = null;
  return place;
}
