// The times at which a message can be sent later. Pure.

import { dayLabel, isToday, timeOfDay } from "../../lib/format.js";
import { t } from "../../lib/language.js";

const MINUTE = 60_000; // ms
const HOUR = 60 * MINUTE;
const DAY = 24 * HOUR;
const MORNING = 9; // o'clock
export const MAX_AHEAD = 7 * DAY; // what hubs take

/** Times to choose from. @param {number} now @returns {{ label: string, at: number }[]} */
export function suggestedTimes(now) {
  const tomorrow = new Date(now + DAY);
  tomorrow.setHours(MORNING, 0, 0, 0);
  return [
    { label: t("In 5 minutes"), at: now + 5 * MINUTE },
    { label: t("In 30 minutes"), at: now + 30 * MINUTE },
    { label: t("In 1 hour"), at: now + HOUR },
    { label: t("In 4 hours"), at: now + 4 * HOUR },
    { label: t("Tomorrow morning"), at: tomorrow.getTime() },
  ];
}

/** Why a message cannot be sent at a time, null if it can. @param {number} at @param {number} now */
export function timeProblem(at, now) {
  if (!Number.isFinite(at)) return t("Choose a date and a time.");
  if (at <= now) return t("This time has passed.");
  return at > now + MAX_AHEAD ? t("A message can be sent at most 7 days later.") : null;
}

/** When a message will be sent, for a person. @param {number} at */
export function sendingText(at) {
  return isToday(at)
    ? t("Will be sent today at {time}", { time: timeOfDay(at) })
    : t("Will be sent on {day} at {time}", { day: dayLabel(at), time: timeOfDay(at) });
}

/** For when a message is scheduled. @param {number} at */
export function scheduledText(at) {
  return isToday(at)
    ? t("Scheduled for today at {time}", { time: timeOfDay(at) })
    : t("Scheduled for {day} at {time}", { day: dayLabel(at), time: timeOfDay(at) });
}

/** A time as the field for dates and times takes it: in the zone of the device. @param {number} time */
export function localDateTime(time) {
  const zone = new Date(time).getTimezoneOffset() * MINUTE;
  return new Date(time - zone).toISOString().slice(0, 16);
}
