import assert from "node:assert/strict";
import { test } from "node:test";
import { load } from "./support.js";

const { changesIn, diffFiles, isDiff, withoutFileHead } = await load("data/conversation/diffs.js");
const { diffLines, diffRows } = await load("lib/code/diff-lines.js");

const DIFF = [
  "diff --git a/a.sql b/a.sql",
  "--- a/a.sql\t2026-11-26",
  "+++ b/a.sql\t2026-11-26",
  "@@ -1,2 +1,3 @@",
  " select 1;",
  "--- a comment that goes",
  "+++ two that come",
  "+-- the second",
  "--- b.txt",
  "+++ /dev/null",
  "@@ -1 +0,0 @@",
  "-gone",
  "\\ No newline at end of file",
].join("\n");

test("a diff is recognized by its beginning", () => {
  assert.ok(isDiff(DIFF));
  assert.ok(isDiff("--- a\n+++ b\n"));
  assert.ok(isDiff("@@ -1,2 +1,2 @@\n a"));
  assert.ok(!isDiff("--- a heading\ntext"));
  assert.ok(!isDiff("- a list\n+ of things"));
});

test("lines of a hunk are no heads of files, whatever they look like", () => {
  assert.deepEqual(
    diffLines(DIFF).map(({ kind }) => kind),
    ["meta", "meta", "meta", "hunk", "same", "minus", "plus", "plus"].concat([
      "meta",
      "meta",
      "hunk",
      "minus",
      "meta",
    ]),
  );
  assert.deepEqual(
    diffLines("-old\n+new").map(({ kind }) => kind),
    ["minus", "plus"],
  );
});

test("the rows of a diff have numbers, and none of the marks that only programs need", () => {
  const shown = (text) =>
    diffRows(text).map(({ kind, old, new: next, text: line, cut }) =>
      kind === "head" ? line : `${kind} ${old} ${next} ${line}${cut ? " cut" : ""}`,
    );
  assert.deepEqual(shown(DIFF), [
    "a.sql",
    "same 1 1 select 1;",
    "minus 2 null -- a comment that goes",
    "plus null 2 ++ two that come",
    "plus null 3 -- the second",
    "b.txt",
    "minus 1 null gone cut",
  ]);
  const one = "--- a/x.py\n+++ b/x.py\n@@ -3 +3 @@ def f():\n-a\n+b\n@@ -9,2 +9 @@\n c\n-d";
  assert.deepEqual(shown(one), [
    "def f():",
    "minus 3 null a",
    "plus null 3 b",
    "⋯",
    "same 9 9 c",
    "minus 10 null d",
  ]);
  assert.deepEqual(shown(" kept\n-old\n+new\n…"), [
    "same null null kept",
    "minus null null old",
    "plus null null new",
    "same null null …",
  ]);
  assert.deepEqual(shown("diff --git a/x b/y\nrename from x\nrename to y"), [
    "rename from x",
    "rename to y",
  ]);
});

test("the files of a diff are named with the lines they add and remove", () => {
  assert.deepEqual(diffFiles(DIFF), [
    { path: "a.sql", added: 2, removed: 1 },
    { path: "b.txt", added: 0, removed: 1 },
  ]);
  assert.deepEqual(diffFiles("-old\n+new\n+er"), [{ path: "", added: 2, removed: 1 }]);
  assert.deepEqual(diffFiles("text"), []);
});

test("changes in a record that are malformed are left out", () => {
  assert.deepEqual(changesIn([{ path: 5, diff: "@@" }, { path: "a" }, null, "x"]), [
    { path: "", text: "@@", added: 0, removed: 0 },
  ]);
  assert.deepEqual(changesIn("x"), []);
  assert.equal(withoutFileHead("--- a\n+++ a\n@@ -1 +1 @@\n-a\n+b"), "@@ -1 +1 @@\n-a\n+b");
});
