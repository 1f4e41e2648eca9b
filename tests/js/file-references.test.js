import assert from "node:assert/strict";
import { test } from "node:test";
import { load } from "./support.js";

const { fileNamed, fileNamedBy, fileReferences, linkedFile } = await load(
  "data/work/file-references.js",
);

test("files with a line are found in a text", () => {
  const found = (text) => fileReferences(text).map(({ path, line }) => [path, line]);
  assert.deepEqual(found("See src/app.py:12 and ./a.js:3:7, or (/home/x/b.c:9)."), [
    ["src/app.py", 12],
    ["./a.js", 3],
    ["/home/x/b.c", 9],
  ]);
  for (const none of [
    "12:30",
    "http://host.example:80/x",
    "a:b",
    "v1.2:3",
    "x.py",
    "user@host.org:22x",
    "example.com:443",
  ])
    assert.deepEqual(found(none), [], none);
});

test("code that is the name of a file is found, other code is not", () => {
  assert.deepEqual(fileNamed("src/app.py:12"), { start: 0, end: 13, path: "src/app.py", line: 12 });
  assert.equal(fileNamed("src/app.py").line, null);
  for (const none of ["app.py", "a / b.c", "npm test", "obj.method", "x".repeat(400)])
    assert.equal(fileNamed(none), null, none);
});

test("hostile texts are looked at in a moment", () => {
  const start = performance.now();
  for (const unit of ["a", "a/", "a.", "a+", "~", ".a:", "a.b:1", "./", "a-"])
    fileReferences(`${unit.repeat(9000).slice(0, 19_990)}:1`);
  assert.ok(performance.now() - start < 1500);
});

test("a document names files by relative addresses, within the session's directory", () => {
  const named = (address) => fileNamedBy("docs/guide.md", address);
  assert.equal(named("../assets/my%20logo.png?raw=1"), "assets/my logo.png");
  assert.equal(named("./a.md#part"), "docs/a.md");
  assert.equal(named("/README.md"), "README.md");
  assert.equal(named("100%.txt"), "docs/100%.txt");
  assert.equal(fileNamedBy("/w/docs/guide.md", "../a.md"), "/w/a.md");
  for (const other of [
    "",
    "#part",
    "https://a.example/b",
    "javascript:a",
    "//a.example/b",
    "../../x",
  ])
    assert.equal(named(other), null);
});

test("the address of a link names a file with or without a line, or something else", () => {
  const found = (address) => {
    const file = linkedFile(address);
    return file && [file.path, file.line];
  };
  assert.deepEqual(found("src/app.py:12"), ["src/app.py", 12]);
  assert.deepEqual(found("app.py:12:7"), ["app.py", 12]);
  assert.deepEqual(found("../docs/my%20file.md#L3-L9"), ["../docs/my file.md", 3]);
  assert.deepEqual(found("README.md"), ["README.md", null]);
  for (const file of [
    "main.py",
    "docs/x.md",
    "lib.rs",
    "run.sh",
    "docs/x.com",
    "./example.com",
    "Makefile.in",
  ])
    assert.deepEqual(found(file), [file, null]);
  for (const host of [
    "example.com",
    "www.example.org/a/b.html",
    "example.com:443",
    "a.example.io",
    "bbc.co.uk/x.md",
  ])
    assert.equal(found(host), null, host); // the target is shown beside the label
  for (const none of ["//host/a.js", "javascript:a.b", "data:x/y.js", "#top", "a/b", "%", "x/"])
    assert.equal(found(none), null, none);
  assert.equal(found(`${"a/".repeat(200)}b.js`), null);
});
