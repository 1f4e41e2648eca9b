// The address of the page, where it means this machine only: an address that is handed out is then of no use elsewhere.

import { h } from "./dom.js";
import { t } from "./language.js";

/** Whether a host name means the machine itself. @param {string} name as in `location.hostname` */
export function isLoopback(name) {
  return (
    name === "localhost" ||
    name.endsWith(".localhost") ||
    name === "[::1]" ||
    /^127(?:\.\d+){3}$/.test(name)
  );
}

/**
 * Why other devices cannot open an address of this page, and what to do; null if they may be able to.
 * @param {{ host: string, hostname: string }} page
 */
export function loopbackNote({ host, hostname } = location) {
  if (!isLoopback(hostname)) return null;
  return t(
    "Other devices cannot open {host}: start HAPI with --tunnel, --public-url or --host 0.0.0.0, then open this page at the address that it prints.",
    { host },
  );
}

/** That note as a paragraph, in which no option is broken into two lines. */
export function loopbackHint() {
  const parts = loopbackNote()?.split(/(--[\w-]+)/);
  return parts
    ? h(
        "p",
        { class: "hint caution" },
        parts.map((part) => (part.startsWith("--") ? h("code", null, part) : part)),
      )
    : null;
}
