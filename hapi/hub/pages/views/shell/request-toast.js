// A notice that a session asks for permission, with the answers on it. Loaded when the first one comes.

import { h } from "../../lib/dom.js";
import { toast } from "../../lib/dialog.js";
import { t } from "../../lib/language.js";
import { sessionAddress } from "../../data/addresses.js";
import { namedOptions } from "../../data/sessions/permissions.js";
import { pendingRequests, titleOf } from "../../data/sessions/sessions.js";
import { describeTool } from "../../data/conversation/tools.js";
import { SessionActions } from "../chat/actions.js";
import { questionsOf } from "../chat/blocks/questions.js";

/**
 * @import { Api } from "../../data/hub/api.js"
 * @import { Outbox } from "../../data/store/outbox.js"
 * @import { Store } from "../../data/store/store.js"
 * @import { Choice, Go, PermissionRequest } from "../../data/types.js"
 */

const DURATION = 20_000; // ms; long enough to read a command
const MAX_TEXT = 160; // characters

/**
 * Show the newest request of a session. False if it has none (any more).
 * @param {string} id of the session
 * @param {{ store: Store, api: Api, outbox: Outbox, go: Go, isOnScreen: () => boolean }} surroundings
 */
export async function requestToast(id, { store, api, outbox, go, isOnScreen }) {
  await store.readSession(id);
  if (isOnScreen()) return true; // its view was opened meanwhile
  const session = store.sessions.get(id);
  const newest = session && pendingRequests(session)?.at(-1);
  if (!newest) return false;
  const [requestId, request] = newest;
  const open = () => go(sessionAddress(id));
  const actions = new SessionActions({
    store,
    api,
    outbox,
    id,
    go,
    showStatus: () => {},
    notify: toast,
  });
  /** @param {Choice} choice */
  const answer = async (choice) => {
    await actions.decide(requestId, request, choice);
    const problem = actions.decisions.get(requestId)?.error;
    if (problem) toast(problem, { tone: "bad", action: [t("Open"), open] });
  };
  const text = h(
    "span",
    { class: "toast-text" },
    h("strong", null, titleOf(session)),
    h("span", null, summaryOf(request)),
  );
  const isSimple = questionsOf(request) === null && namedOptions(request).length === 0;
  const mayAnswer = isSimple && store.access.allows("approve");
  const dismiss = toast(text, {
    duration: DURATION,
    topic: `session:${id}`,
    actions: mayAnswer
      ? [
          [t("Allow"), () => answer("allow")],
          [t("Deny"), () => answer("deny")],
          [t("Open"), open],
        ]
      : [[t("Answer"), open]],
  });
  const unwatch = store.watch(() => {
    const now = store.sessions.get(id);
    const isOpen = Object.hasOwn(now?.agentState?.requests ?? {}, requestId);
    if (isOpen && text.isConnected) return;
    dismiss();
    unwatch();
  });
  return true;
}

/** What is asked, on a line or two. @param {PermissionRequest} request */
function summaryOf(request) {
  const questions = questionsOf(request);
  if (questions) return clipped(String(questions[0]?.question ?? request.tool));
  const { title, details } = describeTool({ name: request.tool, input: request.arguments });
  const command = details.find(({ form }) => form === "command");
  return clipped(command ? command.text : title);
}

/** @param {string} text */
function clipped(text) {
  const line = text.replace(/\s+/g, " ").trim();
  return line.length > MAX_TEXT ? `${line.slice(0, MAX_TEXT)}…` : line;
}
