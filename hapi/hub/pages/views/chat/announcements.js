// What screen readers announce while a session is open.

import { plural, t } from "../../lib/language.js";
import { questionsOf } from "./blocks/questions.js";

/**
 * @import { AgentCatalog } from "../../data/sessions/agents.js"
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
      if (newest && requests.length > before.requests) return wish(newest, label);
      if (thinking === before.thinking) return null;
      return thinking ? t("{label} is working", { label }) : t("{label} is ready", { label });
    },
  };
}

/** @param {PermissionRequest} request @param {string} label of the agent */
function wish(request, label) {
  const questions = questionsOf(request)?.map(({ question }) => question) ?? [];
  if (questions.length === 0)
    return t("{label} asks for permission: {tool}", { label, tool: request.tool });
  return plural(
    questions.length,
    "{label} asks a question: {questions}",
    "{label} asks {count} questions: {questions}",
    { label, questions: questions.join(" ") },
  );
}
