// The service worker: shows notifications and answers from them, also when no page is open, and keeps what the page needs
// to open without a network. It has no access token: what may answer a request comes with its notification.

const worker = /** @type {any} */ (globalThis);

/** The build that the hub serves, and the files that its page needs at once; the hub writes both here. */
const BUILD = "";
/** @type {string[]} */
const FILES = [];

/** The caches belong to the origin, on which other hubs may be served below other paths. */
const BASE_PATH = new URL(worker.registration.scope).pathname.replace(/\/$/, "");
const CACHE_PREFIX = BASE_PATH ? `${BASE_PATH} hapi-` : "hapi-"; // as lib/storage.js names what the page keeps
const CACHE = `${CACHE_PREFIX}${BUILD}`;
const SHELLS = ["./", "./sessions/-", "./sessions/-/changes"]; // documents by their depth below the page's root
const DOWN = [502, 503, 504]; // what a proxy replies for a hub that is away
const [OK, NOT_FOUND] = [200, 404];
const ANSWER_TIMEOUT = 20_000; // ms
/** The page's own places; another hub may be served below any other path, within the scope of this worker. */
const PLACES = /^(?:$|(?:sessions|machines|search|waiting|usage|settings)(?:\/|$))/;

const LANGUAGE_PATH = /\/languages\/([a-z]+)\.json$/;

const root = () => worker.registration.scope;
/** The path of an address from the page's root, null outside of it. @param {string} url */
const pathOf = (url) =>
  url.startsWith(root()) ? new URL(url).pathname.slice(new URL(root()).pathname.length) : null;
/** Whether an address is one of this hub's page. @param {string} url */
const isPlace = (url) => PLACES.test(pathOf(url) ?? "-");
/** @param {string} path @param {string} [base] */
const addressOf = (path, base = root()) => new URL(path.replace(/^\//, ""), base).href;

// --- notifications ---

worker.addEventListener("push", (/** @type {any} */ event) => {
  event.waitUntil(receive(event.data));
});

/** @param {{ json(): any } | null} data */
async function receive(data) {
  const message = parsed(data);
  if (message.data?.type === "close") await close(message);
  else await show(message);
}

/** @param {{ json(): any } | null} data */
function parsed(data) {
  try {
    return data?.json() ?? {};
  } catch {
    return {};
  }
}

/** @param {any} message */
async function show(message) {
  const data = message.data ?? {};
  const [allow, deny] = await Promise.all([t("Allow"), t("Deny")]);
  await worker.registration.showNotification(String(message.title ?? "HAPI"), {
    body: String(message.body ?? ""),
    tag: message.tag,
    renotify: Boolean(message.tag),
    requireInteraction: data.type === "permission-request",
    icon: addressOf("icons/192.png"),
    badge: addressOf("icons/badge.png"),
    data,
    actions: data.answer
      ? [
          { action: "allow", title: allow },
          { action: "deny", title: deny },
        ]
      : [],
  });
}

/**
 * Close the notification of a request that was answered elsewhere. Safari wants something to be shown for each message, so
 * there the notification says so instead. @param {any} message
 */
async function close(message) {
  const shown = await worker.registration.getNotifications({ tag: message.tag });
  const hasActions = "actions" in (worker.Notification?.prototype ?? {});
  if (hasActions) for (const notification of shown) notification.close();
  else
    await worker.registration.showNotification(String(message.title ?? "HAPI"), {
      body: String(message.body ?? ""),
      tag: message.tag,
      silent: true,
      data: message.data,
    });
}

worker.addEventListener("notificationclick", (/** @type {any} */ event) => {
  const { notification, action } = event;
  notification.close();
  const isAnswer = (action === "allow" || action === "deny") && notification.data?.answer;
  event.waitUntil(isAnswer ? answer(notification, action) : open(notification.data?.url ?? "/"));
});

/** @param {any} notification @param {"allow" | "deny"} decision */
async function answer(notification, decision) {
  const { data, tag, title, body } = notification;
  const status = await fetch(addressOf("api/notifications/answer"), {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify({ token: data.answer, decision }),
    credentials: "omit",
    signal: AbortSignal.timeout(ANSWER_TIMEOUT),
  }).then(
    (response) => (response.ok ? OK : response.status),
    () => null,
  );
  if (status === OK) return;
  const isAnswered = status === NOT_FOUND;
  const problem = isAnswered
    ? await t("The request has been answered already.")
    : await t("The answer did not reach the agent. Open the session to answer.");
  const again = isAnswered ? { ...data, answer: undefined } : { ...data };
  await show({ title, body: `${body}\n${problem}`, tag, data: again });
}

/** Show a place of the page, in a window that is open if there is one. @param {string} path */
async function open(path) {
  const windows = await worker.clients.matchAll({ type: "window", includeUncontrolled: true });
  const own = windows.filter((/** @type {any} */ window) => isPlace(window.url));
  const client = own.find((/** @type {any} */ window) => window.focused) ?? own[0];
  if (!client) {
    await worker.clients.openWindow(addressOf(path));
    return;
  }
  client.postMessage({ type: "open", path });
  await client.focus().catch(() => {}); // only after a click, which some browsers forget
}

// --- the language: the one whose texts are kept, and English without any ---

worker.addEventListener("message", (/** @type {any} */ event) => {
  const { type, language } = event.data ?? {};
  if (type === "language") event.waitUntil(keepLanguage(String(language)));
});

/** Keep the texts of this language and no other. @param {string} language */
async function keepLanguage(language) {
  if (!BUILD) return;
  const cache = await caches.open(CACHE);
  const wanted = addressOf(`assets/${BUILD}/languages/${language}.json`);
  const others = (await languageFiles(cache)).filter(({ url }) => url !== wanted);
  await Promise.all(others.map((request) => cache.delete(request)));
  if (language !== "en" && !(await cache.match(wanted))) await cache.add(wanted);
}

/** The language of this build or the one before. */
async function keptLanguage() {
  const names = (await caches.keys()).filter((name) => name.startsWith(CACHE_PREFIX));
  const lists = await Promise.all(
    names.map(async (name) => languageFiles(await caches.open(name))),
  );
  const [first] = lists.flat();
  return (first && LANGUAGE_PATH.exec(first.url)?.[1]) ?? "en";
}

/** @param {Cache} cache */
async function languageFiles(cache) {
  return (await cache.keys()).filter(({ url }) => LANGUAGE_PATH.test(url));
}

/** A sentence in the language of the page. @param {string} sentence in English @returns {Promise<string>} */
async function t(sentence) {
  const cache = await caches.open(CACHE);
  const [file] = await languageFiles(cache);
  const texts = file && (await (await cache.match(file))?.json());
  return texts?.[sentence] ?? sentence;
}

// --- the page without a network ---

worker.addEventListener("install", (/** @type {any} */ event) => {
  event.waitUntil(keepBuild());
  worker.skipWaiting();
});

worker.addEventListener("activate", (/** @type {any} */ event) => {
  event.waitUntil(removeOtherBuilds().then(() => worker.clients.claim()));
});

async function keepBuild() {
  if (!BUILD) return;
  const cache = await caches.open(CACHE);
  await cache.addAll([
    ...FILES.map((path) => addressOf(`assets/${BUILD}/${path}`)),
    ...SHELLS.map((path) => new Request(addressOf(path), { cache: "reload" })),
    addressOf("icon.svg"),
  ]);
  await keepLanguage(await keptLanguage());
}

/** Pages of another build load their files from the hub, which serves the one before this too. */
async function removeOtherBuilds() {
  const names = await caches.keys();
  const old = names.filter((name) => name.startsWith(CACHE_PREFIX) && name !== CACHE);
  await Promise.all(old.map((name) => caches.delete(name)));
}

worker.addEventListener("fetch", (/** @type {any} */ event) => {
  const { request } = event;
  const path = pathOf(request.url);
  if (!BUILD || request.method !== "GET" || path === null) return;
  if (request.mode === "navigate") {
    if (isPlace(request.url)) event.respondWith(documentFor(request, path));
  } else if (path.startsWith(`assets/${BUILD}/`) || path === "icon.svg")
    event.respondWith(kept(request));
});

/** The hub's document; without the hub the one that was kept, of the same build as the kept files. @param {Request} request @param {string} path */
async function documentFor(request, path) {
  const response = await fetch(request).catch(() => null);
  if (response && !DOWN.includes(response.status)) return response;
  const shell = SHELLS[path.split("/").length - 1] ?? null;
  const cache = await caches.open(CACHE);
  const found = shell === null ? undefined : await cache.match(addressOf(shell));
  return found ?? response ?? Response.error();
}

/** A file of this build, whose content never changes. @param {Request} request */
async function kept(request) {
  const cache = await caches.open(CACHE);
  return (await cache.match(request)) ?? fetch(request);
}
