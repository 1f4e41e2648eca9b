// Where completions come from: the session's offer, the hub's routes and the list of sessions.

import { t } from "../../lib/language.js";
import {
  commandCompletions,
  distinguished,
  fileCompletions,
  matching,
  promptCompletions,
  sessionCompletions,
} from "./completions.js";
import { commandsOf } from "../sessions/offer.js";

/**
 * @import { Api } from "../hub/api.js"
 * @import { Store } from "../store/store.js"
 * @import { Completion, Token } from "./completions.js"
 * @import { Json, SavedPrompt } from "../types.js"
 */

const COMMANDS_TTL = 60_000; // ms
const SEARCH_DELAY = 150; // ms without a further key
const MAX_FILES = 20;
const MAX_SESSIONS = 6;

export class CompletionSources {
  /**
   * @param {Pick<Api, "commands" | "skills" | "savedPrompts" | "findFiles">} api
   * @param {Pick<Store, "sessions" | "machines">} store
   * @param {string} sessionId
   */
  constructor(api, store, sessionId) {
    this._api = api;
    this._store = store;
    this._id = sessionId;
    /** @type {Promise<[commands: Json, skills: Json, prompts: SavedPrompt[]]> | null} */
    this._listed = null;
    this._listedAt = 0;
    /** @type {ReturnType<typeof setTimeout> | undefined} */
    this._timer = undefined;
  }

  /** @param {Token} token @param {(items: Completion[], note?: string) => void} show */
  find(token, show) {
    clearTimeout(this._timer);
    if (token.mark === "/") this._findCommands(token.query, show);
    else this._findMentions(token.query, show);
  }

  /** @param {string} query @param {(items: Completion[], note?: string) => void} show */
  async _findCommands(query, show) {
    const session = this._store.sessions.get(this._id);
    const flavor = session?.metadata?.flavor;
    const offered = commandsOf(session);
    show(matching(commandCompletions(offered, null, null, flavor), query));
    const [commands, skills, prompts] = await this._lists();
    const known = [
      ...commandCompletions(offered, commands, skills, flavor),
      ...promptCompletions(prompts),
    ];
    const items = matching(known, query);
    show(items, items.length === 0 && !query ? t("The agent has told no commands yet.") : "");
  }

  _lists() {
    const isStale = Date.now() - this._listedAt > COMMANDS_TTL;
    if (!this._listed || isStale) {
      this._listedAt = Date.now();
      this._listed = Promise.all([
        this._api.commands(this._id).catch(() => null),
        this._api.skills(this._id).catch(() => null),
        this._api.savedPrompts().catch(() => []),
      ]);
    }
    return this._listed;
  }

  /** What was read may have changed. */
  forget() {
    this._listed = null;
  }

  /** @param {string} query @param {(items: Completion[], note?: string) => void} show */
  _findMentions(query, show) {
    const { sessions, machines } = this._store;
    const found = sessionCompletions(sessions.values(), query, this._id, machines);
    const first = found.slice(0, MAX_SESSIONS);
    show(distinguished(first));
    if (!this._store.sessions.get(this._id)?.active) return;
    this._timer = setTimeout(async () => {
      const answer = await this._api.findFiles(this._id, query, MAX_FILES).catch(() => null);
      const files = fileCompletions(answer);
      const isRefused = answer?.success === false;
      show(
        distinguished([...files, ...first]),
        isRefused ? t("The session cannot search its files.") : "",
      );
    }, SEARCH_DELAY);
  }
}
