// The settings of one device: what it is told of, how much is shown, quiet hours, silent sessions.

import { titleOf } from "../../data/sessions/sessions.js";
import { h } from "../../lib/dom.js";
import { orToast } from "../../lib/dialog.js";
import { t } from "../../lib/language.js";

/**
 * @import { PushDevice } from "../../data/hub/push.js"
 * @import { Store } from "../../data/store/store.js"
 * @import { NotificationSettings, NotifiedDevice } from "../../data/types.js"
 */

/**
 * Saves what is made of the settings that the hub has by then.
 * @typedef {(made: (now: NotificationSettings) => Partial<NotificationSettings>) => void} Change
 */

const KINDS = /** @type {const} */ ([
  ["permission-request", t("A permission or a question waits for me")],
  ["ready", t("A turn is finished")],
  ["ended", t("A session has ended")],
  ["stuck", t("A session is silent in the middle of a turn")],
]);
const DETAILS = /** @type {const} */ ([
  ["minimal", t("Only that something happened")],
  ["title", t("The session and the tool")],
  ["command", t("Also the command")],
]);
const USUAL_QUIET = { start: "22:00", end: "07:00" };
const MAX_SESSIONS = 50; // that can be muted here; the latest

/**
 * `draw` shows what has come into the store since.
 * @param {NotifiedDevice} device @param {PushDevice} push @param {Store} store
 */
export function deviceSettings(device, push, store) {
  const { id } = device;
  const { settings } = device;
  let now = settings;
  let saved = Promise.resolve();
  /** @type {Change} */
  const change = (made) => {
    saved = saved.then(() =>
      orToast(async () => {
        now = (await push.change(id, made(now))).settings;
      }),
    );
  };
  const sessions = sessionFields(store, settings, change);
  const node = h(
    "div",
    { class: "notify-form" },
    h(
      "fieldset",
      { class: "field" },
      h("legend", null, t("Tell me when")),
      kindFields(settings, change),
    ),
    detailField(id, settings, change),
    quietFields(id, settings, change),
    check(t("Also while I look at the page"), settings.whileVisible, (whileVisible) =>
      change(() => ({ whileVisible })),
    ),
    sessions.node,
  );
  return { node, draw: sessions.draw };
}

/** @param {NotificationSettings} settings @param {Change} change */
function kindFields(settings, change) {
  return KINDS.map(([kind, label]) =>
    check(label, settings.kinds.includes(kind), (checked) =>
      change((now) => ({ kinds: withOrWithout(now.kinds, kind, checked) })),
    ),
  );
}

/** @param {string} id @param {NotificationSettings} settings @param {Change} change */
function detailField(id, settings, change) {
  const detail = h(
    "select",
    { id: `detail-${id}` },
    DETAILS.map(([value, label]) =>
      h("option", { value, selected: value === settings.detail }, label),
    ),
  );
  detail.addEventListener("change", () => {
    const value = /** @type {NotificationSettings["detail"]} */ (detail.value);
    change(() => ({ detail: value }));
  });
  return h("div", { class: "field" }, h("label", { for: detail.id }, t("Show")), detail);
}

/** @param {Store} store @param {NotificationSettings} settings @param {Change} change */
function sessionFields(store, settings, change) {
  const node = h(
    "details",
    { class: "notify-sessions", hidden: true },
    h("summary", null, t("Sessions")),
    h("p", { class: "hint" }, t("A session without a check mark is silent.")),
  );
  /** Once the list has been read. */
  function draw() {
    if (!node.hidden || !store.loaded || store.sessions.size === 0) return;
    node.hidden = false;
    const sessions = [...store.sessions.values()]
      .toSorted((a, b) => b.updatedAt - a.updatedAt)
      .slice(0, MAX_SESSIONS);
    const boxes = sessions.map((session) =>
      check(titleOf(session), !settings.mutedSessions.includes(session.id), (checked) =>
        change((now) => ({
          mutedSessions: withOrWithout(now.mutedSessions, session.id, !checked),
        })),
      ),
    );
    node.append(...boxes);
  }
  draw();
  return { node, draw };
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

/** @param {string} id @param {NotificationSettings} settings @param {Change} change */
function quietFields(id, settings, change) {
  const quiet = settings.quietHours;
  const start = timeField(quiet?.start ?? USUAL_QUIET.start, `quiet-start-${id}`);
  const end = timeField(quiet?.end ?? USUAL_QUIET.end, `quiet-end-${id}`);
  const times = h(
    "div",
    { class: "notify-times", hidden: !quiet },
    h("label", { for: start.id }, t("From")),
    start,
    h("label", { for: end.id }, t("until")),
    end,
  );
  const save = () => {
    if (!start.value || !end.value) return;
    const { timeZone } = Intl.DateTimeFormat().resolvedOptions();
    const quietHours = { start: start.value, end: end.value, timeZone };
    change(() => ({ quietHours }));
  };
  start.addEventListener("change", save);
  end.addEventListener("change", save);
  const box = check(t("Quiet hours"), Boolean(quiet), (checked) => {
    times.hidden = !checked;
    if (checked) save();
    else change(() => ({ quietHours: null }));
  });
  return h("div", { class: "field" }, box, times);
}

/** @param {string} value @param {string} id */
const timeField = (value, id) => h("input", { type: "time", value, id, required: true });
