import assert from "node:assert/strict";
import { test } from "node:test";
import { load, MemoryStorage } from "./support.js";

const { parseNumstat, parseStatus, totals, unquoted, withCounts } = await load(
  "data/work/working-tree.js",
);
const { newFileDiff, parseFileDiff, sideBySide } = await load("data/work/hunks.js");
const { Review, placeOf, promptOf } = await load("data/work/review.js");
const { isText, pictureType } = await load("data/work/file-content.js");
const { WorkRequests } = await load("data/work/work-requests.js");

const ZERO = "0".repeat(40);
const STATUS = [
  "# branch.oid 1234567890",
  "# branch.head main",
  "# branch.upstream origin/main",
  "# branch.ab +2 -3",
  `1 .M N... 100644 100644 100644 ${ZERO} ${ZERO} src/with space.py`,
  `1 MM N... 100644 100644 100644 ${ZERO} ${ZERO} both.py`,
  `1 AM S.M. 100644 100644 100644 ${ZERO} ${ZERO} library`,
  `2 R. N... 100644 100644 100644 ${ZERO} ${ZERO} R100 new.py\told.py`,
  `u UU N... 100644 100644 100644 100644 ${ZERO} ${ZERO} ${ZERO} torn.py`,
  '? "line\\nfeed \\"quoted\\" \\\\ \\303\\274.txt"',
  "? bad\uFFFDname",
  "",
].join("\n");

test("the status of a working tree is read with staged and unstaged changes apart", () => {
  const tree = parseStatus(STATUS);
  assert.deepEqual(
    [tree.branch, tree.commit, tree.upstream, tree.ahead, tree.behind],
    ["main", "1234567890", "origin/main", 2, 3],
  );
  const names = (files) => files.map(({ path, kind }) => [path, kind]);
  assert.deepEqual(names(tree.staged), [
    ["both.py", "modified"],
    ["library", "submodule"],
    ["new.py", "renamed"],
  ]);
  assert.equal(tree.staged[2].from, "old.py");
  assert.deepEqual(names(tree.unstaged), [
    ["src/with space.py", "modified"],
    ["both.py", "modified"],
    ["library", "submodule"],
    ["torn.py", "conflict"],
  ]);
  assert.deepEqual(names(tree.untracked), [
    ['line\nfeed "quoted" \\ ü.txt', "untracked"],
    ["bad\uFFFDname", "untracked"],
  ]);
  assert.deepEqual(
    tree.untracked.map(({ exact }) => exact),
    [true, false],
  );
});

test("a repository without a commit, and one whose head is detached", () => {
  const tree = parseStatus("# branch.oid (initial)\n# branch.head (detached)\n");
  assert.deepEqual([tree.branch, tree.commit], [null, null]);
});

test("odd lines of a status hurt nobody", () => {
  for (const odd of ["1", "2 R.", "u", "?", "#", "# branch.ab x", "!", "1 .M N"])
    assert.doesNotThrow(() => parseStatus(odd), odd);
});

test("a name in quotes is read with its escapes", () => {
  assert.equal(unquoted('"a\\tb\\303\\274"'), "a\tbü");
  assert.equal(unquoted("plain"), "plain");
  assert.equal(unquoted('"'), '"');
});

const changed = (path, from = null, kind = "modified") => ({
  path,
  from,
  kind,
  added: null,
  removed: null,
  binary: false,
});

test("counts of lines find their files", () => {
  const counts = parseNumstat("3\t1\ta.py\n-\t-\tpicture.png\n1\t1\tlibrary\n");
  const [counted, binary, submodule, other] = withCounts(
    [
      changed("a.py"),
      changed("picture.png"),
      changed("library", null, "submodule"),
      changed("other"),
    ],
    counts,
  );
  assert.deepEqual([counted.added, counted.removed], [3, 1]);
  assert.equal(binary.binary, true);
  assert.equal(submodule.added, null);
  assert.equal(other.added, null);
  assert.deepEqual(totals([counted, binary, other]), { files: 3, added: 3, removed: 1 });
});

test("counts of lines find a file whatever its name was and is", () => {
  const renames = [
    ["src/{old => new}/b.py", "src/old/b.py", "src/new/b.py"],
    ["old => new.py", "old", "new.py"],
    ["{a => b}/x/y", "a/x/y", "b/x/y"],
    ["{sub/deep => p}/mv", "sub/deep/mv", "p/mv"],
    ["sub/{mv => deep/other}", "sub/mv", "sub/deep/other"],
    ["sub/{ => deep}/mv", "sub/mv", "sub/deep/mv"],
    ["sub/{x => a => b}", "sub/x", "sub/a => b"],
    ['"sub/tab\\tx" => "sub/\\303\\274 {x"', "sub/tab\tx", "sub/ü {x"],
    ['plain => "q\\"q"', "plain", 'q"q'],
  ];
  for (const [written, from, path] of renames) {
    const [file] = withCounts([changed(path, from, "renamed")], parseNumstat(`4\t2\t${written}\n`));
    assert.deepEqual([file.added, file.removed], [4, 2], written);
  }
  const plain = [
    ['"q\\"q"', 'q"q'],
    ["a => b", "a => b"],
    ["{a => b}", "{a => b}"],
  ];
  for (const [written, path] of plain) {
    const [file] = withCounts([changed(path)], parseNumstat(`4\t2\t${written}\n`));
    assert.deepEqual([file.added, file.removed], [4, 2], written);
  }
});

test("the counts of a session in a subdirectory find files there and elsewhere in the repository", () => {
  const counts = parseNumstat(
    "1\t0\tx\n2\t0\tapps/shop/x\n3\t0\tapps/x\n4\t0\tapps/shop/{ => deep}/mv\n5\t0\t{apps/shop => lib}/a\n",
  );
  const files = [
    changed("../../x"),
    changed("x"),
    changed("../x"),
    changed("deep/mv", "mv", "renamed"),
    changed("../../lib/a", "a", "renamed"),
  ];
  assert.deepEqual(
    withCounts(files, counts, "apps/shop/").map(({ added }) => added),
    [1, 2, 3, 4, 5],
  );
});

const DIFF = `diff --git a/x b/x
old mode 100644
new mode 100755
--- a/x
+++ b/x
@@ -1,4 +1,5 @@ def f():
 one
-two
--- three
+zwei
+++ drei
+vier
 five
\\ No newline at end of file
@@ -10 +11,0 @@
-ten
`;

test("a diff becomes rows with the numbers of both sides", () => {
  const diff = parseFileDiff(DIFF);
  assert.deepEqual(diff.facts, ["Made executable"]);
  assert.equal(diff.rows, 8);
  const [first, second] = diff.hunks;
  assert.equal(first.head, "def f():");
  assert.deepEqual(
    first.rows.map(({ kind, old, new: now, text }) => [kind, old, now, text]),
    [
      ["same", 1, 1, "one"],
      ["minus", 2, null, "two"],
      ["minus", 3, null, "-- three"],
      ["plus", null, 2, "zwei"],
      ["plus", null, 3, "++ drei"],
      ["plus", null, 4, "vier"],
      ["same", 4, 5, "five"],
    ],
  );
  assert.equal(first.rows.at(-1).cut, true);
  assert.deepEqual(second.rows, [{ kind: "minus", old: 10, new: null, text: "ten", cut: false }]);
});

test("side by side, removed lines stand beside the added lines that follow them", () => {
  const [hunk] = parseFileDiff(DIFF).hunks;
  const texts = sideBySide(hunk.rows).map(({ left, right }) => [left?.text, right?.text]);
  assert.deepEqual(texts, [
    ["one", "one"],
    ["two", "zwei"],
    ["-- three", "++ drei"],
    [undefined, "vier"],
    ["five", "five"],
  ]);
});

test("binary files, renames and new files say what they are", () => {
  assert.equal(parseFileDiff("Binary files a/x and b/x differ\n").binary, true);
  const moved = parseFileDiff('similarity index 100%\nrename from "a\\tb"\nrename to c\n');
  assert.deepEqual(moved.facts, ["Renamed from a\tb"]);
  assert.deepEqual(parseFileDiff("").rows, 0);
  const fresh = newFileDiff("a\nb");
  assert.deepEqual(
    fresh.hunks[0].rows.map(({ new: line, text, cut }) => [line, text, cut]),
    [
      [1, "a", false],
      [2, "b", true],
    ],
  );
  assert.equal(newFileDiff("").rows, 0);
});

test("a diff of 5 MB is read in a moment", () => {
  const line = `+${"x".repeat(49)}\n`;
  const text = `@@ -0,0 +1,100000 @@\n${line.repeat(100_000)}`;
  const start = performance.now();
  const diff = parseFileDiff(text);
  assert.equal(diff.rows, 100_000);
  assert.ok(performance.now() - start < 2000);
});

const comment = (more) => ({
  id: "1",
  path: "src/a.py",
  side: "new",
  first: 3,
  last: 4,
  quote: ["+a", "+b"],
  text: "Why?",
  ...more,
});

test("comments are kept on the device and sent as one prompt", () => {
  const storage = new MemoryStorage();
  const review = new Review(storage, "s");
  review.put(comment());
  review.put(comment({ id: "2", side: "old", last: 3, quote: ["-```"], text: "Keep it." }));
  review.put(comment({ text: "Why so?" }));
  const again = new Review(storage, "s");
  assert.equal(again.comments.length, 2);
  assert.equal(placeOf(again.comments[1]), "src/a.py:3 (before the change)");
  assert.equal(
    promptOf(again.comments, "Have a look."),
    "Have a look.\n\nsrc/a.py:3-4\n```diff\n+a\n+b\n```\nWhy so?\n\n" +
      "src/a.py:3 (before the change)\n````diff\n-```\n````\nKeep it.",
  );
  again.remove("1");
  again.clear();
  assert.equal(storage.items.size, 0);
  assert.deepEqual(
    new Review(new MemoryStorage({ "hapi.review.s": '[1,{"id":1}]' }), "s").comments,
    [],
  );
  assert.deepEqual(new Review(new MemoryStorage({ "hapi.review.s": "{" }), "s").comments, []);
});

test("a long quote is cut, so that the prompt stays readable", () => {
  const prompt = promptOf([comment({ quote: Array(50).fill(`+${"y".repeat(1000)}`) })]);
  assert.ok(prompt.length < 4500);
  assert.match(prompt, /\n…\n```\n/);
});

test("what the bytes of a file are", () => {
  assert.ok(isText(new TextEncoder().encode("text")));
  assert.ok(!isText(new Uint8Array([137, 80, 0, 1])));
  assert.equal(pictureType("a/b.PNG"), "image/png");
  assert.equal(pictureType("a/constructor"), null);
  assert.equal(pictureType("a.svg"), null);
});

test("a session that cannot do something says which way it cannot", async () => {
  const kindOf = async (error, isActive = true) => {
    const requests = new WorkRequests({ request: async () => error }, "s", () => isActive);
    return requests.workingTree().then(
      () => "none",
      ({ kind }) => kind,
    );
  };
  const starting = { error: "The session is still starting; try again in a moment." };
  assert.equal(await kindOf({ success: false, ...starting }, false), "offline");
  const missing = { success: false, error: "RPC handler not registered: s:git-status" };
  assert.equal(await kindOf(missing), "unsupported");
  assert.equal(await kindOf(missing, false), "offline");
  assert.equal(
    await kindOf({ success: false, error: "fatal: not a git repository (or any …)" }),
    "no-repository",
  );
  assert.equal(await kindOf({ success: false, error: "Disk on fire" }), "refused");
  assert.equal(await kindOf(null), "refused");
  assert.equal(await kindOf({ success: true, stdout: 3 }), "none");
});
