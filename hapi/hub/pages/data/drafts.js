// What was written and not sent yet, kept per session.

/** Texts begun and not sent, by session, as long as the tab lives. */
export class Drafts {
  constructor(storage) {
    this._storage = storage;
  }

  get(id) {
    return this._storage.getItem(`hapi.draft.${id}`) ?? "";
  }

  set(id, text) {
    if (text) this._storage.setItem(`hapi.draft.${id}`, text);
    else this._storage.removeItem(`hapi.draft.${id}`);
  }
}
