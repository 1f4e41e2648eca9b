// What was looked at: per session the last change that was on screen, kept on this device.

const KEY = "hapi.seen";
const MANY = 500; // sessions remembered

export class Seen {
  constructor(storage) {
    this._storage = storage;
    this._times = new Map(restored(storage));
    this._since = this._times.size > 0 ? 0 : Date.now(); // on a new device nothing old counts as unread
  }

  isUnread(id, updatedAt) {
    return updatedAt > (this._times.get(id) ?? this._since);
  }

  mark(id, updatedAt) {
    if ((this._times.get(id) ?? 0) >= updatedAt) return;
    this._times.delete(id);
    this._times.set(id, updatedAt);
    try {
      this._storage.setItem(KEY, JSON.stringify([...this._times].slice(-MANY)));
    } catch { /* full: unread marks are not worth more */ }
  }
}

function restored(storage) {
  try {
    return JSON.parse(storage.getItem(KEY) ?? "[]");
  } catch {
    return [];
  }
}
