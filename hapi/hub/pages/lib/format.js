// Times, paths, counts and reasons as text for people.

import { LOCALE, t } from "./language.js";

const MINUTE = 60_000; // ms
// Unicode's general categories Cc and Cf, the separators of lines, and the letters that are blank. Joiners are marked
// after ASCII only: emoji and the scripts of Persia and India need them.
const HIDDEN =
  /[\p{Cc}\p{Cf}\u2028\u2029\u115f\u1160\u3164](?<![\t\n\r]|(?<![!-~])[\u200c\u200d])/gu;

/**
 * A text whose invisible characters are marks such as "<U+202E>": it reads as what it is to a machine.
 * @param {string} text
 */
export function visible(text, hidden = HIDDEN) {
  return text.replace(
    hidden,
    (found) => `<U+${found.codePointAt(0)?.toString(16).toUpperCase().padStart(4, "0")}>`,
  );
}

/**
 * A time in the past as "now", "5 min", "3 h", "2 d", or its date.
 * @param {number} then
 */
export function relativeTime(then, now = Date.now()) {
  const minutes = Math.floor((now - then) / MINUTE);
  if (minutes < 1) return t("now");
  if (minutes < 60) return t("{count} min", { count: minutes });
  if (minutes < 24 * 60) return t("{count} h", { count: Math.floor(minutes / 60) });
  if (minutes < 7 * 24 * 60) return t("{count} d", { count: Math.floor(minutes / 1440) });
  return new Date(then).toLocaleDateString(LOCALE);
}

/**
 * Hours and minutes of a time.
 * @param {number} time
 */
export function timeOfDay(time) {
  return new Date(time).toLocaleTimeString(LOCALE, { hour: "2-digit", minute: "2-digit" });
}

/**
 * A time as machines read it; null for what is no time.
 * @param {number} time
 */
export function isoTime(time) {
  const date = new Date(time);
  return Number.isNaN(date.getTime()) ? null : date.toISOString();
}

/**
 * "Today", or the date of a time.
 * @param {number} time
 */
export function dayLabel(time) {
  if (isToday(time)) return t("Today");
  return new Date(time).toLocaleDateString(LOCALE, {
    weekday: "short",
    day: "numeric",
    month: "short",
  });
}

/** @param {number} time */
export function isToday(time) {
  return new Date(time).toDateString() === new Date().toDateString();
}

/** @param {number} time */
export function dateAndTime(time) {
  return t("{day}, {time}", { day: dayLabel(time), time: timeOfDay(time) });
}

/**
 * A duration as "42 s" or "3 min 5 s".
 * @param {number} ms
 */
export function duration(ms) {
  const total = Math.max(0, Math.floor(ms / 1000));
  const [minutes, seconds] = [Math.floor(total / 60), total % 60];
  return minutes === 0
    ? t("{seconds} s", { seconds })
    : t("{minutes} min {seconds} s", { minutes, seconds });
}

/**
 * A number of bytes as "512 bytes", "34 kB" or "1.5 MB".
 * @param {number} bytes
 */
export function fileSize(bytes) {
  if (bytes < 1000) return t("{count} bytes", { count: bytes });
  if (bytes < 1_000_000) return `${Math.round(bytes / 1000)} kB`;
  return `${(bytes / 1_000_000).toFixed(1)} MB`;
}

/**
 * The table's own value for `key`, not one that every object inherits, such as "constructor".
 * @template Value
 * @param {Record<string, Value>} table
 * @param {string | null | undefined} key
 * @returns {Value | undefined}
 */
export function ownValue(table, key) {
  return typeof key === "string" && Object.hasOwn(table, key) ? table[key] : undefined;
}

/**
 * `path` with the home directory of its machine written as ~.
 * @param {string | null | undefined} path
 * @param {string | null | undefined} home
 */
export function abbreviateHome(path, home) {
  if (!path || !home || home === "/") return path ?? "";
  if (path === home) return "~";
  return path.startsWith(`${home}/`) ? `~${path.slice(home.length)}` : path;
}

/**
 * `text` with a full stop at its end, unless it ends a sentence already.
 * @param {string} text
 */
export function sentence(text) {
  return /[.!?…。！？]$/.test(text) ? text : t("{sentence}.", { sentence: text });
}
