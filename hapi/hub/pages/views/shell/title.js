// The title of the document.

/** @param {string} view @param {number} asking sessions that need a person */
export function pageTitle(view, asking) {
  const title = view ? `${view} · HAPI` : "HAPI";
  return asking > 0 ? `(${asking}) ${title}` : title;
}
