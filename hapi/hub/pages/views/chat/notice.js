// Why nothing happens in a session, or who has it, and the way to change that.

import { button, fill, h } from "../../lib/dom.js";
import { sentence } from "../../lib/format.js";
import { t } from "../../lib/language.js";
import { canResume, endReason, isStarting } from "../../data/sessions/sessions.js";

/** @import { Session } from "../../data/types.js" */

/**
 * The notice of a session; null while it is open to the page, or not known yet.
 * @param {Session | undefined} session
 * @param {string | null} problem why the session can't be shown
 * @param {boolean} [resuming] its agent is being started again
 * @param {string | null} [refusal] why this person cannot resume it
 * @returns {{ text: string, resumable: boolean, isLocal?: boolean } | null} isLocal: it can be taken over from its terminal
 */
export function noticeOf(session, problem, resuming = false, refusal = null) {
  if (problem !== null) return { text: sentence(problem), resumable: false };
  if (session?.active && session.agentState?.controlledByUser) {
    const host = session.metadata?.host;
    const text = host
      ? t("The agent's own program has the terminal of {host}.", { host })
      : t("The agent's own program has the terminal.");
    const hint = t("A message takes over when its turn has ended.");
    return { text: `${text} ${hint}`, resumable: false, isLocal: true };
  }
  if (!session || session.active) return null;
  if (resuming) return { text: t("Resuming the session…"), resumable: false };
  if (isStarting(session)) return { text: t("Starting the agent…"), resumable: false };
  if (canResume(session) && refusal !== null)
    return { text: `${endReason(session)} ${refusal}`, resumable: false };
  const resumable = canResume(session);
  const hint = resumable
    ? t("Send a message to resume the session.")
    : t("This session can't be resumed: the agent saved no conversation.");
  return { text: `${endReason(session)} ${hint}`, resumable };
}

/** @param {{ resume: () => void, takeOver: () => void }} act @param {string | null} refusal why this person cannot resume it */
export function sessionNotice({ resume, takeOver }, refusal) {
  const node = h("div", { class: "notice", hidden: true });
  let shown = "";

  /** @param {Session | undefined} session @param {{ problem: string | null, resuming: boolean }} actions */
  function draw(session, { problem, resuming }) {
    const notice = noticeOf(session, problem, resuming, refusal);
    const version = JSON.stringify(notice);
    if (version === shown) return;
    shown = version;
    node.hidden = notice === null;
    fill(
      node,
      h("p", null, notice?.text),
      notice?.resumable && button(t("Resume"), { on: { click: resume } }),
      notice?.isLocal && button(t("Take over now"), { on: { click: takeOver } }),
    );
  }

  return { node, draw };
}
