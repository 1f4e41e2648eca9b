// What a person does with the open session. No DOM: the view shows what comes of it.

import { errorMessage, statusOf, Unreachable } from "../../lib/errors.js";
import { t } from "../../lib/language.js";
import { sessionAddress } from "../../data/addresses.js";
import { forgetAnswer } from "../../data/composer/answer-drafts.js";
import { chosenOption, isRejection, takesReasons } from "../../data/sessions/permissions.js";
import { movedQueue } from "../../data/conversation/queue.js";
import { canResume, isStarting } from "../../data/sessions/sessions.js";

/**
 * @import { Api } from "../../data/hub/api.js"
 * @import { Outbox } from "../../data/store/outbox.js"
 * @import { Store } from "../../data/store/store.js"
 * @import { Answers, Attachment, Choice, Decision, Go, Json, PermissionRequest, UserBlock } from "../../data/types.js"
 */

const READ_RETRY_DELAY = 2000; // ms
const NOT_ANSWERABLE = t(
  "The hub did not take this answer: another one is on its way, or the hub doesn't know this request. Try again.",
);
/** @type {Record<number, string>} */
const REFUSALS = {
  403: t("You don't have access to this session."),
  404: t("This session does not exist or has been deleted."),
};

/**
 * @typedef {object} Surroundings
 * @property {Store} store
 * @property {Api} api
 * @property {Outbox} outbox
 * @property {string} id of the session
 * @property {Go} go
 * @property {(id: string) => void} [onMoved] called before the session is shown that this one goes on as
 * @property {(text: string | null) => void} showStatus for an action that takes a while
 * @property {(text: string, options?: { tone?: "plain" | "bad" }) => void} notify
 */

export class SessionActions {
  /** @param {Surroundings} surroundings */
  constructor({ store, api, outbox, id, go, onMoved = () => {}, showStatus, notify }) {
    this._store = store;
    this._api = api;
    this._outbox = outbox;
    this._id = id;
    this._go = go;
    this._onMoved = onMoved;
    this._showStatus = showStatus;
    this._notify = notify;
    this._closed = false;
    this._isRefused = false; // the hub does not show the session
    this.resuming = false;
    /** @type {string | null} why the session can't be shown */
    this.problem = null;
    /** @type {Map<string, Decision>} by request id */
    this.decisions = new Map();
  }

  get session() {
    return this._store.sessions.get(this._id);
  }

  /** Read the session and its messages, again and again while that fails; what the hub refuses only when it tells of it. */
  async open() {
    this._isRefused = false;
    try {
      await this._store.readConversation(this._id);
      this.problem = null;
    } catch (error) {
      this.problem = problemText(error);
      this._isRefused = this._store.refusals.has(this._id);
      if (!this._isRefused && !this._closed)
        setTimeout(() => {
          if (!this._closed) this.open();
        }, READ_RETRY_DELAY);
    }
    this._store.changed();
  }

  /** Follow what the hub says of the session: that it is gone, or, after that, that there is one. */
  followRefusal() {
    const refusal = this._store.refusals.get(this._id);
    if (refusal !== undefined) {
      this._isRefused = true;
      this.problem = problemText(refusal);
    } else if (this._isRefused && this.session) this.open();
  }

  /** The session is no longer on screen. */
  close() {
    this._closed = true;
  }

  /** Whether the hub says that there is no such session, or does not show it. */
  get isGone() {
    return this._isRefused && !this.session;
  }

  /** Whether the session could not be read yet, which is tried again and again. */
  get isUnread() {
    return !this.session && this.problem !== null && !this._isRefused;
  }

  /** Whether a message can be sent. */
  get acceptsMessages() {
    const { session } = this;
    if (!session || this.problem !== null) return false;
    return session.active || isStarting(session) || canResume(session);
  }

  /**
   * @param {string} text
   * @param {Attachment[]} attachments
   * @param {number | null} scheduledAt when the agent shall get it, in ms since the epoch; null: as soon as it can
   * @param {UserBlock[]} behind messages that wait and that it goes ahead of: they are sent again
   */
  send(text, attachments = [], scheduledAt = null, behind = []) {
    const held = !this.session?.active;
    this._deliver(() => {
      this._outbox.add(this._id, text, { held, attachments, scheduledAt });
      if (behind.length > 0) this._outbox.sendAgain(this._id, behind.map(written));
    });
  }

  /** Send a message now that waits for its time. @param {UserBlock} block */
  sendNow(block) {
    this._outbox.sendAgain(this._id, [written(block)]);
  }

  /** Move a message that waits for the agent among those that do. @param {UserBlock[]} queued @param {UserBlock} block @param {-1 | 1} by */
  move(queued, block, by) {
    this._outbox.sendAgain(this._id, movedQueue(queued, block.localId, by).map(written));
  }

  /** @param {UserBlock} block */
  retry(block) {
    this._deliver(() => this._outbox.retry(block.localId, { held: !this.session?.active }));
  }

  /** Hand a message to the outbox; a session that has ended is resumed for it. @param {() => void} put */
  _deliver(put) {
    const session = this.session;
    put();
    if (canResume(session) && !isStarting(session)) {
      this.resume().catch((error) => this._outbox.failHeld(this._id, errorMessage(error)));
    }
  }

  /** Start the session's agent again. It may go on as another session. */
  async resume() {
    this.resuming = true;
    this._showStatus(t("Resuming…"));
    try {
      await this._store.keepDuring(this._id, () => this._reopen());
    } catch (error) {
      this._notify(errorMessage(error), { tone: "bad" });
      throw error;
    } finally {
      this.resuming = false;
      this._showStatus(null);
    }
  }

  /** Have the session reopened, and show the one that it goes on as once that has been read. */
  async _reopen() {
    const { sessionId, memory } = await this._api.reopenSession(this._id);
    const { hasConversationContent, metadata } = this.session ?? {};
    if (memory === "new" && hasConversationContent) {
      const agent = this._store.catalog.label(metadata?.flavor);
      this._notify(
        t(
          "{agent} began anew: it does not remember the conversation so far, which stays on this page.",
          { agent },
        ),
        { tone: "bad" },
      );
    }
    this._outbox.moveSession(this._id, sessionId);
    if (sessionId === this._id) await this._store.readConversation(sessionId);
    else await this._follow(sessionId);
    this._outbox.releaseHeld(sessionId);
  }

  /** Show the session that this one goes on as, unless the person has gone elsewhere. @param {string} next */
  async _follow(next) {
    await this._store.readConversation(next).catch(() => {}); // its view reads it again until that succeeds, and says why it fails
    if (this._store.openId !== this._id) return;
    this._onMoved(next);
    this._go(sessionAddress(next), { replace: true });
  }

  abort() {
    return this._orNotify(() => this._api.abort(this._id));
  }

  /** Take the agent from its own program in a terminal, whatever that does. */
  takeOver() {
    return this._orNotify(() => this._api.takeOver(this._id));
  }

  /** @param {number} [limit] messages */
  loadOlder(limit) {
    return this._orNotify(() => this._store.conversations.readOlder(this._id, limit));
  }

  loadNewer() {
    return this._orNotify(() => this._store.conversations.readNewer(this._id));
  }

  loadLatest() {
    return this._orNotify(() => this._store.conversations.readLatest(this._id));
  }

  /** @param {string} messageId @returns {Promise<boolean | null>} whether there is such a message; null after a failure */
  loadAround(messageId) {
    return this._orNotify(() => this._store.conversations.readAround(this._id, messageId));
  }

  /** Take back a message that the agent has not received. Returns its text, null if it could not be taken back. @param {UserBlock} block */
  async cancel(block) {
    return this._orNotify(async () => {
      const { status, localId } = await this._api.cancelMessage(this._id, block.localId);
      if (status === "cancelled") {
        if (localId === null)
          this._notify(
            t("This message had left the queue already: it may have been changed in another tab."),
          );
        this._store.transcript(this._id).remove(block.messageId, block.localId);
        this._store.changed();
        return written(block).text;
      }
      const isReceived = status === "invoked";
      this._notify(
        isReceived
          ? t("The agent has already received this message.")
          : t("It is not known yet whether the agent has received this message."),
      );
      await this._store.conversations.catchUp(this._id);
      return null;
    });
  }

  /** Send a message again of which it is not known whether the agent has it. @param {UserBlock} block */
  retryQueued(block) {
    return this._orNotify(async () => {
      const { status } = await this._api.retryMessage(this._id, block.messageId ?? "");
      if (status === "retry-unavailable")
        this._notify(t("The session can't take this message again right now."));
    });
  }

  /**
   * Answer a permission request.
   * @param {string} requestId
   * @param {PermissionRequest} request
   * @param {Choice} choice
   * @param {Answers} [answers] to the agent's questions
   * @param {string} [reason] what the agent should do instead of what is denied
   */
  async decide(requestId, request, choice, answers, reason) {
    this.decisions.set(requestId, { choice });
    this._store.changed();
    try {
      await this._store.readCatalog();
      const [verdict, body] = this._answer(choice, request);
      const isHeard = takesReasons(this.session, request);
      await this._api.answerPermission(this._id, requestId, verdict, {
        ...body,
        ...(answers && { answers }),
        ...(reason && isHeard && { reason }),
      });
      if (reason && !isHeard) this.send(reason);
      forgetAnswer(requestId);
    } catch (error) {
      if (statusOf(error) === 404) {
        await this._explainMissing(requestId, choice);
      } else {
        const failed = { choice, error: errorMessage(error) };
        this.decisions.set(requestId, failed);
        if (error instanceof Unreachable) this._forgetWhenBack(requestId, failed);
      }
    }
    this._store.changed();
  }

  /** Once the hub is back, that it could not be reached is no longer true. @param {string} requestId @param {Decision} failed */
  _forgetWhenBack(requestId, failed) {
    const failedAt = Date.now();
    const unwatch = this._store.watch(() => {
      const isCurrent = this.decisions.get(requestId) === failed;
      const { phase, since } = this._store.connection;
      if (isCurrent && !(phase === "live" && since >= failedAt)) return;
      unwatch();
      if (!isCurrent) return;
      this.decisions.delete(requestId);
      this._store.changed();
    });
  }

  /**
   * What the hub is sent for a choice.
   * @param {Choice} choice
   * @param {PermissionRequest} request
   * @returns {[verdict: "approve" | "deny", body: Json]}
   */
  _answer(choice, request) {
    const option = chosenOption(request, choice);
    if (option) return [isRejection(option) ? "deny" : "approve", { optionId: option.id }];
    return this._store.catalog.approval(this.session?.metadata?.flavor, choice, request);
  }

  /** The hub has no open request of this id: it was answered elsewhere, or it can't be answered here. @param {string} requestId @param {Choice} choice */
  async _explainMissing(requestId, choice) {
    await this._store.readSession(this._id).catch(() => {}); // an event brings the same news
    const isOpen = Object.hasOwn(this.session?.agentState?.requests ?? {}, requestId);
    if (isOpen) {
      this.decisions.set(requestId, { choice, error: NOT_ANSWERABLE });
    } else {
      this.decisions.delete(requestId);
      this._notify(t("This request was answered elsewhere or has been withdrawn."));
    }
  }

  /**
   * @template Result
   * @param {() => Promise<Result>} act
   * @returns {Promise<Result | null>}
   */
  async _orNotify(act) {
    try {
      return await act();
    } catch (error) {
      this._notify(errorMessage(error), { tone: "bad" });
      return null;
    }
  }
}

/** Why a session can't be shown. @param {unknown} error */
function problemText(error) {
  return REFUSALS[statusOf(error) ?? 0] ?? errorMessage(error);
}

/** What a person wrote. @param {UserBlock} block */
function written({ localId, source, text, attachments }) {
  return { localId, text: source ?? text, attachments };
}
