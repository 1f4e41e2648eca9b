// The settings of one device: what it is told of, how much is shown, quiet hours, silent sessions.

import { titleOf } from "../../data/sessions.js";
import { h } from "../../lib/dom.js";
import { orToast } from "../../lib/dialog.js";

/**
 * @import { PushDevice } from "../../data/push.js"
 * @import { Store } from "../../data/store.js"
 * @import { NotificationSettings, NotifiedDevice } from "../../data/types.js"
 */

/** @typedef {(change: Partial<NotificationSettings>) => Promise<unknown>} Change */

const KINDS = /** @type {const} */ ([
  ["permission-request", "A permission or a question waits for me"],
  ["ready", "A turn is finished"],
  ["ended", "A session has ended"],
  ["stuck", "A session is silent in the middle of a turn"],
]);
const DETAILS = /** @type {const} */ ([
  ["minimal", "Only that something happened"],
  ["title", "The session and the tool"],
  ["command", "Also the command"],
]);
const USUAL_QUIET = { start: "22:00", end: "07:00" };
const MAX_SESSIONS = 50; // that can be muted here; the latest

/** @param {NotifiedDevice} device @param {PushDevice} push @param {Store} store */
export function deviceSettings(device, push, store) {
  const { id } = device;
  let { settings } = device;
  const current = () => settings;
  /** @type {Change} */
  const change = (values) =>
    orToast(async () => {
      settings = (await push.change(id, values)).settings;
    });
  return h(
    "div",
    { class: "notify-form" },
    h(
      "fieldset",
      { class: "field" },
      h("legend", null, "Tell me when"),
      kindFields(current, change),
    ),
    detailField(id, current, change),
    quietFields(id, current, change),
    check("Also while I look at the page", settings.whileVisible, (whileVisible) =>
      change({ whileVisible }),
    ),
    sessionFields(store, current, change),
  );
}

/** @param {() => NotificationSettings} settings @param {Change} change */
function kindFields(settings, change) {
  return KINDS.map(([kind, label]) =>
    check(label, settings().kinds.includes(kind), (checked) =>
      change({ kinds: withOrWithout(settings().kinds, kind, checked) }),
    ),
  );
}

/** @param {string} id @param {() => NotificationSettings} settings @param {Change} change */
function detailField(id, settings, change) {
  const detail = h(
    "select",
    { id: `detail-${id}` },
    DETAILS.map(([value, label]) =>
      h("option", { value, selected: value === settings().detail }, label),
    ),
  );
  detail.addEventListener("change", () =>
    change({ detail: /** @type {NotificationSettings["detail"]} */ (detail.value) }),
  );
  return h("div", { class: "field" }, h("label", { for: detail.id }, "Show"), detail);
}

/** @param {Store} store @param {() => NotificationSettings} settings @param {Change} change */
function sessionFields(store, settings, change) {
  const sessions = [...store.sessions.values()]
    .toSorted((a, b) => b.updatedAt - a.updatedAt)
    .slice(0, MAX_SESSIONS);
  if (sessions.length === 0) return null;
  return h(
    "details",
    { class: "notify-sessions" },
    h("summary", null, "Sessions"),
    h("p", { class: "hint" }, "A session without a check mark is silent."),
    sessions.map((session) =>
      check(titleOf(session), !settings().mutedSessions.includes(session.id), (checked) =>
        change({ mutedSessions: withOrWithout(settings().mutedSessions, session.id, !checked) }),
      ),
    ),
  );
}

/** @param {string} label @param {boolean} checked @param {(checked: boolean) => void} change */
function check(label, checked, change) {
  const box = h("input", { type: "checkbox", checked });
  box.addEventListener("change", () => change(box.checked));
  return h("label", { class: "check" }, box, label);
}

/** @template T @param {readonly T[]} list @param {T} item @param {boolean} has @returns {T[]} */
function withOrWithout(list, item, has) {
  const others = list.filter((each) => each !== item);
  return has ? [...others, item] : others;
}

/** @param {string} id @param {() => NotificationSettings} settings @param {Change} change */
function quietFields(id, settings, change) {
  const quiet = settings().quietHours;
  const start = timeField(quiet?.start ?? USUAL_QUIET.start, `quiet-start-${id}`);
  const end = timeField(quiet?.end ?? USUAL_QUIET.end, `quiet-end-${id}`);
  const times = h(
    "div",
    { class: "notify-times", hidden: !quiet },
    h("label", { for: start.id }, "From"),
    start,
    h("label", { for: end.id }, "until"),
    end,
  );
  const save = () => {
    if (!start.value || !end.value) return;
    const { timeZone } = Intl.DateTimeFormat().resolvedOptions();
    change({ quietHours: { start: start.value, end: end.value, timeZone } });
  };
  start.addEventListener("change", save);
  end.addEventListener("change", save);
  const box = check("Quiet hours", Boolean(quiet), (checked) => {
    times.hidden = !checked;
    if (checked) save();
    else change({ quietHours: null });
  });
  return h("div", { class: "field" }, box, times);
}

/** @param {string} value @param {string} id */
const timeField = (value, id) => h("input", { type: "time", value, id, required: true });
