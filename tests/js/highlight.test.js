import assert from "node:assert/strict";
import { readdirSync } from "node:fs";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { installDom, load } from "./support.js";

installDom();
const { highlightedLines } = await load("lib/code/highlight.js");
const { KNOWN_LANGUAGES, languageNamed, languageOfPath } = await load("lib/code/languages.js");

const GRAMMARS = fileURLToPath(
  new URL("../../hapi/hub/pages/vendor/highlight/languages", import.meta.url),
);

const tokens = (kinds, ...ranges) => ({ kinds, ranges: Uint32Array.from(ranges) });
const drawn = (lines) =>
  lines.map((parts) => parts.map((part) => part.outerHTML ?? part).join("|"));

test("each line has its own part of a token that spans lines", () => {
  const code = "a /* b\n\nc */ d\ne";
  assert.deepEqual(
    drawn(highlightedLines(code, tokens(["comment", "keyword"], 2, 12, 0, 13, 14, 1))),
    [
      'a |<span class="hl-comment">/* b</span>',
      "",
      '<span class="hl-comment">c */</span>| |<span class="hl-keyword">d</span>',
      "e",
    ],
  );
});

test("every way to cut a text into tokens keeps the text", () => {
  let seed = 3;
  const random = (below) => {
    seed = (seed * 1103515245 + 12345) % 2147483648;
    return seed % below;
  };
  for (let round = 0; round < 500; round += 1) {
    const code = Array.from({ length: 30 }, () => "ab \n"[random(4)]).join("");
    const ranges = [];
    for (let at = random(4); at < code.length; at += random(3)) {
      const end = Math.min(code.length, at + 1 + random(9));
      ranges.push(at, end, random(2));
      at = end;
    }
    const lines = highlightedLines(code, tokens(["x", "y"], ...ranges));
    const text = lines.map((parts) => parts.map((part) => part.textContent ?? part).join(""));
    assert.equal(text.join("\n"), code);
  }
});

test("without tokens the lines are plain", () => {
  assert.deepEqual(highlightedLines("a\n\nb", null), [["a"], [""], ["b"]]);
});

test("the languages that are known are those whose grammars are there", () => {
  const there = readdirSync(GRAMMARS).map((name) => name.replace(".min.js", ""));
  assert.deepEqual([...KNOWN_LANGUAGES].sort(), there.sort());
});

test("a language is known by the names and endings that people use", () => {
  const named = { js: "javascript", TSX: "typescript", "C++": "cpp", yml: "yaml", toml: "ini" };
  for (const [name, language] of Object.entries(named)) assert.equal(languageNamed(name), language);
  const files = {
    "src/app.py": "python",
    "a/Dockerfile": "dockerfile",
    "Dockerfile.dev": "dockerfile",
    Makefile: "makefile",
    "CMakeLists.txt": "cmake",
    "x.d.ts": "typescript",
    ".bashrc": "bash",
    README: null,
    "a.b/constructor": null,
    "photo.png": null,
  };
  for (const [path, language] of Object.entries(files))
    assert.equal(languageOfPath(path), language, path);
});
