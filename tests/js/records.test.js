// Search and usage: what is asked of the hub, and what is shown of its answer.

import assert from "node:assert/strict";
import { test } from "node:test";
import { load } from "./support.js";

const {
  bySession,
  isSearchable,
  nameParts,
  partsOf,
  queryOf,
  resultAddress,
  searchAddress,
  wordsOf,
} = await load("data/records/search.js");
const { compactCount, withDaysBetween } = await load("data/records/usage-summary.js");

const DAY = 24 * 60 * 60 * 1000; // ms

test("the last word of a query may still grow", () => {
  assert.equal(queryOf("fibon"), "fibon*");
  assert.equal(queryOf("one two"), "one two*");
  assert.equal(queryOf("数据"), "数据*");
  assert.equal(queryOf("one "), "one ");
  assert.equal(queryOf("f"), "f");
  assert.equal(queryOf("one*"), "one*");
  assert.equal(queryOf('"one two'), '"one two');
  assert.equal(queryOf('"one two" thr'), '"one two" thr*');
  assert.equal(queryOf(""), "");
});

test("names are searched for all words and phrases of a query, in any case", () => {
  assert.deepEqual(wordsOf('Shop* "two words" ;'), ["shop", "two words"]);
  assert.deepEqual(wordsOf("f"), []);
  assert.deepEqual(wordsOf("的"), ["的"]);
  assert.deepEqual(nameParts("My Webshop", wordsOf("shop my")), [
    { text: "My", isMatch: true },
    { text: " Web", isMatch: false },
    { text: "shop", isMatch: true },
  ]);
  assert.equal(nameParts("My Webshop", wordsOf("shop blog")), null);
  assert.equal(nameParts("My Webshop", []), null);
});

test("punctuation alone is not searched for", () => {
  assert.equal(isSearchable(' "*" ;--'), false);
  assert.equal(isSearchable("的"), true);
});

/** @param {string} text @param {[number, number][]} marks */
const snippet = (text, marks, hasMoreBefore = false, hasMoreAfter = false) => ({
  text,
  marks,
  hasMoreBefore,
  hasMoreAfter,
});

test("a snippet alternates between text and matches, and says where it is cut", () => {
  assert.deepEqual(partsOf(snippet("a needle here", [[2, 8]], true, true)), [
    { text: "… a ", isMatch: false },
    { text: "needle", isMatch: true },
    { text: " here …", isMatch: false },
  ]);
  assert.deepEqual(partsOf(snippet("needle", [[0, 6]])), [{ text: "needle", isMatch: true }]);
  assert.deepEqual(partsOf(snippet("plain", [])), [{ text: "plain", isMatch: false }]);
});

test("marks that overlap lose nothing and repeat nothing", () => {
  const parts = partsOf(
    snippet("abcdef", [
      [0, 4],
      [2, 5],
    ]),
  );
  assert.equal(parts.map((part) => part.text).join(""), "abcdef");
});

test("addresses hold any text", () => {
  assert.equal(searchAddress("a&b=c d"), "/search?q=a%26b%3Dc+d");
  assert.equal(searchAddress(""), "/search");
  const result = { sessionId: "s/1", messageId: "m&1" };
  assert.equal(resultAddress(result), "/sessions/s%2F1?message=m%261");
});

test("results of one session that follow each other stand together", () => {
  const results = ["a", "a", "b", "a"].map((sessionId) => ({ sessionId, sessionTitle: sessionId }));
  const groups = bySession(results);
  assert.deepEqual(
    groups.map((group) => [group.title, group.results.length]),
    [
      ["a", 2],
      ["b", 1],
      ["a", 1],
    ],
  );
});

/** @param {string} key */
const day = (key) => ({
  key,
  inputTokens: 1,
  outputTokens: 1,
  cacheReadTokens: 0,
  cacheCreationTokens: 0,
  totalTokens: 2,
  uncachedTokens: 2,
  requests: 1,
});

test("days without use stand between the others, the newest first", () => {
  const to = Date.parse("2026-11-27T10:00:00Z");
  const days = withDaysBetween([day("2026-11-24"), day("2026-11-26")], { from: to - 7 * DAY, to });
  assert.deepEqual(
    days.map((each) => [each.key, each.totalTokens]),
    [
      ["2026-11-26", 2],
      ["2026-11-25", 0],
      ["2026-11-24", 2],
    ],
  );
  const long = withDaysBetween([day("2020-01-01"), day("2026-11-26")], { from: 0, to });
  assert.deepEqual(
    long.map((each) => each.key),
    ["2026-11-26", "2020-01-01"],
  );
});

test("counts are short", () => {
  assert.equal(compactCount(0), "0");
  assert.equal(compactCount(1_234_567), "1.2M");
});
