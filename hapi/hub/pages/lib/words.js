// Times, paths and states in words.

const MINUTE = 60_000;

/** "now", "5 min", "3 h", "2 d", or the date. */
export function ago(then, now = Date.now()) {
  const minutes = Math.floor((now - then) / MINUTE);
  if (minutes < 1) return "now";
  if (minutes < 60) return `${minutes} min`;
  if (minutes < 24 * 60) return `${Math.floor(minutes / 60)} h`;
  if (minutes < 7 * 24 * 60) return `${Math.floor(minutes / 1440)} d`;
  return new Date(then).toLocaleDateString();
}

export function clock(then) {
  return new Date(then).toLocaleTimeString([], { hour: "2-digit", minute: "2-digit" });
}

export function day(then) {
  const date = new Date(then);
  if (date.toDateString() === new Date().toDateString()) return "Today";
  return date.toLocaleDateString([], { weekday: "short", day: "numeric", month: "short" });
}

export function seconds(ms) {
  const total = Math.max(0, Math.floor(ms / 1000));
  return total < 60 ? `${total} s` : `${Math.floor(total / 60)} min ${total % 60} s`;
}

/** What `table` itself holds for `key`: not what every object has, such as "constructor". */
export function own(table, key) {
  return Object.hasOwn(table, key) ? table[key] : undefined;
}

/** `path` with the home directory of its machine as ~. */
export function tilde(path, home) {
  if (!path || !home || home === "/") return path ?? "";
  if (path === home) return "~";
  return path.startsWith(`${home}/`) ? `~${path.slice(home.length)}` : path;
}

/** The absolute form of what a person typed. */
export function untilde(path, home) {
  const typed = path.trim();
  if (home && (typed === "~" || typed.startsWith("~/"))) return home + typed.slice(1);
  return typed.length > 1 ? typed.replace(/\/+$/, "") || "/" : typed;
}

export function whyNot(reason) {
  return own({ not_found: "not installed on this machine", invalid_configuration: "set up wrongly on this machine" }, reason) ?? reason ?? "not available";
}

export function plural(count, one, many = `${one}s`) {
  return `${count} ${count === 1 ? one : many}`;
}

/** Why a session is not running any more, from its metadata. */
export function endedWhy(metadata) {
  const { lifecycleState, archiveReason } = metadata ?? {};
  if (lifecycleState === "archived") return archiveReason ? `Ended: ${archiveReason}` : "Archived";
  return "Not connected: its process has gone, or its machine is offline";
}
