import assert from "node:assert/strict";
import { test } from "node:test";
import { load } from "./support.js";

const format = {
  ...(await load("lib/format.js")),
  ...(await load("lib/paths.js")),
  ...(await load("data/sessions/agent-availability.js")),
};
const { ApiError, errorMessage, explained, problemOf, statusOf, Unreachable } =
  await load("lib/errors.js");

test("times in the past are short", () => {
  const minutes = (count) => format.relativeTime(0, count * 60_000);
  assert.deepEqual([0, 1, 59, 60, 1439, 1440, 10_079].map(minutes), [
    "now",
    "1 min",
    "59 min",
    "1 h",
    "23 h",
    "1 d",
    "6 d",
  ]);
  assert.doesNotMatch(minutes(10_080), / d$/);
});

test("durations are seconds, and minutes from the first on", () => {
  assert.deepEqual([-1, 999, 59_999, 60_000, 185_000].map(format.duration), [
    "0 s",
    "0 s",
    "59 s",
    "1 min 0 s",
    "3 min 5 s",
  ]);
});

test("the home directory is written as ~ and read back", () => {
  assert.equal(format.abbreviateHome("/home/dev/a", "/home/dev"), "~/a");
  assert.equal(format.abbreviateHome("/home/dev", "/home/dev"), "~");
  assert.equal(format.abbreviateHome("/home/developer", "/home/dev"), "/home/developer");
  assert.equal(format.abbreviateHome("/a", "/"), "/a");
  assert.equal(format.abbreviateHome(undefined, "/home/dev"), "");
  assert.equal(format.expandHome(" ~/a/ ", "/home/dev"), "/home/dev/a/");
  assert.equal(format.expandHome("~", "/home/dev"), "/home/dev");
  assert.equal(format.expandHome("/a//", undefined), "/a");
  assert.equal(format.expandHome("/", undefined), "/");
});

test("a path is cut into the parts that are left out of it one by one", () => {
  assert.deepEqual(format.pathParts("/home/dev/shop"), ["/home/", "dev/", "shop"]);
  assert.deepEqual(format.pathParts("~/shop/"), ["~/", "shop/"]);
  assert.deepEqual(format.pathParts("C:\\work\\shop"), ["C:\\", "work\\", "shop"]);
  assert.deepEqual(format.pathParts("~"), ["~"]);
  assert.deepEqual(format.pathParts("/"), ["/"]);
});

test("absolute paths are those of Unix and Windows", () => {
  assert.deepEqual(["/a", "C:\\a", "c:/a", "a", "~/a", ""].map(format.isAbsolute), [
    true,
    true,
    true,
    false,
    false,
    false,
  ]);
});

test("a table has only its own words", () => {
  assert.equal(format.ownValue({ a: 1 }, "a"), 1);
  for (const key of ["constructor", "__proto__", "toString", null, undefined])
    assert.equal(format.ownValue({ a: 1 }, key), undefined);
  assert.equal(format.unavailableReason("not_found"), "not installed on this machine");
  assert.equal(format.unavailableReason("else"), "else");
  assert.equal(format.unavailableReason(undefined), "not available");
});

test("sentences have their full stop", () => {
  assert.deepEqual(["a", "a.", "a…", "a?"].map(format.sentence), ["a.", "a.", "a…", "a?"]);
});

test("the error of a response is its JSON, its text, or its status", async () => {
  const of = (body, status = 500, headers = {}) =>
    ApiError.of(new Response(body, { status, headers }));
  assert.deepEqual(
    { ...(await of('{"error":"No","code":"c"}', 409)) },
    { status: 409, code: "c", retryAfter: null, requestId: null },
  );
  assert.equal((await of('{"error":"No"}')).message, "No");
  assert.equal((await of("plain")).message, "plain");
  assert.equal((await of("<html>")).message, "The hub returned status 500.");
  assert.equal((await of("{}", 429, { "Retry-After": "7" })).retryAfter, 7);
});

test("a refusal of the hub is told from a proxy that does not reach it", async () => {
  const of = (text, status) => problemOf(new Response(text, { status }));
  const stored = await of('{"error":"The database is busy, try again"}', 503);
  assert.deepEqual([stored.status, stored.message], [503, "The database is busy, try again"]);
  for (const text of ["", "<h1>503</h1>", "no healthy upstream", '{"message":"x"}'])
    assert.ok((await of(text, 503)) instanceof Unreachable);
  assert.equal((await of("Internal Server Error", 500)).status, 500);
  assert.match(explained("Internal Server Error"), /log says more/);
});

test("a failure of the hub has the id of its request, a refusal has not", async () => {
  const of = async (body, status, headers = {}) =>
    errorMessage(await problemOf(new Response(body, { status, headers })));
  assert.match(
    await of("Internal Server Error", 500, { "X-Request-Id": "4f1c" }),
    /Its log says more\. \(Request 4f1c\)$/,
  );
  assert.equal(
    await of('{"error":"No space left","requestId":"4f1c"}', 507),
    "No space left (Request 4f1c)",
  );
  assert.equal(await of('{"error":"No","requestId":"4f1c"}', 409), "No");
});

test("errors are sentences that say what to do", () => {
  const limited = new ApiError(429, null, "x");
  limited.retryAfter = 7;
  assert.equal(errorMessage(limited), "Too many attempts. Try again in 7 seconds.");
  const sentence = "Too many requests of this kind: try again in 7 s";
  assert.equal(errorMessage(new ApiError(429, "too_many_requests", sentence)), sentence);
  assert.match(
    errorMessage(new ApiError(409, "no_machine_online", "x")),
    /offline. Start its runner/,
  );
  assert.equal(errorMessage(new ApiError(400, "constructor", "As it is")), "As it is");
  assert.match(errorMessage(new Unreachable()), /hub does not respond/);
  assert.equal(errorMessage("text"), "text");
  assert.match(explained("RPC handler not registered: x"), /not connected right now/);
  assert.match(explained("operation has timed out"), /did not respond in time/);
  assert.equal(statusOf(new ApiError(404, null, "x")), 404);
  assert.equal(statusOf(new Error("x")), null);
});
