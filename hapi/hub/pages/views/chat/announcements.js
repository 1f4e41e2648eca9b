// What screen readers announce while a session is open.

import { questionsOf } from "./questions.js";

/**
 * @import { AgentCatalog } from "../../data/agents.js"
 * @import { PermissionRequest, Session } from "../../data/types.js"
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
      const newest = requests.at(-1);
      if (newest && requests.length > before.requests) return `${label} ${wish(newest)}`;
      if (thinking === before.thinking) return null;
      return thinking ? `${label} is working` : `${label} is ready`;
    },
  };
}

/** @param {PermissionRequest} request */
function wish(request) {
  const questions = questionsOf(request)?.map(({ question }) => question) ?? [];
  if (questions.length === 0) return `asks for permission: ${request.tool}`;
  const count = questions.length === 1 ? "a question" : `${questions.length} questions`;
  return `asks ${count}: ${questions.join(" ")}`;
}
