// What screen readers announce while a session is open.

/**
 * @import { AgentCatalog } from "../../data/agents.js"
 * @import { Session } from "../../data/types.js"
 */

/** @typedef {{ requests: number, thinking: boolean, after(before: Announcement): string | null }} Announcement */

/**
 * The state of a session as it can be heard; `after` tells what to say when it follows another state.
 * @param {Session | undefined} session
 * @param {AgentCatalog} catalog
 * @returns {Announcement}
 */
export function announcementOf(session, catalog) {
  const requests = Object.values(session?.agentState?.requests ?? {});
  const thinking = Boolean(session?.active && session.thinking);
  const label = catalog.label(session?.metadata?.flavor);
  return {
    requests: requests.length,
    thinking,
    after(before) {
      if (requests.length > before.requests)
        return `${label} asks for permission: ${requests.at(-1)?.tool}`;
      if (thinking === before.thinking) return null;
      return thinking ? `${label} is working` : `${label} is ready`;
    },
  };
}
