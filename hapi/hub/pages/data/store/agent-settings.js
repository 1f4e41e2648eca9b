// The settings of one session's agent, with the lists that are read from the hub where the session tells none.

import { listPaths, NO_LISTS, routeLists, sessionSettings } from "../sessions/session-settings.js";

/**
 * @import { Api } from "../hub/api.js"
 * @import { Store } from "./store.js"
 * @import { Session } from "../types.js"
 * @import { RouteLists, SessionSetting } from "../sessions/session-settings.js"
 */

export class AgentSettings {
  /** @param {{ api: Api, store: Store, id: string }} options `id`: of the session */
  constructor({ api, store, id }) {
    this._api = api;
    this._store = store;
    this._id = id;
    /** @type {RouteLists} */
    this._lists = NO_LISTS;
    this._listedFor = "";
  }

  /** @returns {SessionSetting[]} */
  all() {
    const session = this._store.sessions.get(this._id);
    return session ? sessionSettings(session, this._store.catalog, this._lists) : [];
  }

  /** Ask the session's own routes for what its offer does not have. @param {Session} session */
  async readLists(session) {
    const paths = listPaths(session);
    const wanted = JSON.stringify([paths, session.active]);
    if (wanted === this._listedFor) return;
    this._listedFor = wanted;
    if (!session.active || (!paths.models && !paths.efforts)) return;
    const [models, efforts] = await Promise.all(
      [paths.models, paths.efforts].map((path) =>
        path ? this._api.sessionList(this._id, path).catch(() => null) : null,
      ),
    );
    this._lists = routeLists(models, efforts);
    this._store.changed();
  }

  /** Whether the person may not change a setting. @param {SessionSetting} setting */
  isRefused({ scope }) {
    return !this._store.access.allows(scope);
  }

  /** @param {SessionSetting} setting @param {string} value */
  set(setting, value) {
    return this._api.setSetting(this._id, setting.path, setting.body(value));
  }
}
