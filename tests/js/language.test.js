import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { load } from "./support.js";

const PAGES = fileURLToPath(new URL("../../hapi/hub/pages", import.meta.url));
const catalogue = JSON.parse(readFileSync(join(PAGES, "languages/zh.json"), "utf8"));
const { languageFor, localeFor, parts, plural, t, useLanguage } = await load("lib/language.js");

test("the language is the chosen one, or else the first of the system's that the page has", () => {
  assert.equal(languageFor("zh", ["en-US"]), "zh");
  assert.equal(languageFor(null, ["fr-FR", "zh-Hans-CN", "en"]), "zh");
  assert.equal(languageFor(null, ["fr-FR", "en-GB", "zh"]), "en");
  assert.equal(languageFor("xx", []), "en");
});

test("dates and numbers are those of the system's country, if it speaks the language", () => {
  assert.equal(localeFor("en", ["de", "en-GB"]), "en-GB");
  assert.equal(localeFor("en", ["de"]), "en");
  assert.equal(localeFor("zh", ["zh-TW", "en"]), "zh-CN");
});

test("a sentence without a translation stays English, and a place without a value stays", () => {
  assert.equal(
    t("Not in any catalogue: {name}, {other}", { name: "{other}" }),
    "Not in any catalogue: {other}, {other}",
  );
  assert.equal(t("constructor"), "constructor");
  assert.equal(plural(1, "{count} odd file", "{count} odd files"), "1 odd file");
  assert.equal(plural(0, "{count} odd file", "{count} odd files"), "0 odd files");
  assert.deepEqual(parts("on {machine} now", { machine: 7 }), ["on ", 7, " now"]);
});

test("a language has a text for each of its plural forms, or one for all", () => {
  useLanguage("pl", {
    "{count} files": {
      one: "{count} plik",
      few: "{count} pliki",
      many: "{count} plików",
      other: "{count} pliku",
    },
  });
  const files = (count) => plural(count, "{count} file", "{count} files");
  assert.deepEqual([1, 2, 5, 22].map(files), ["1 plik", "2 pliki", "5 plików", "22 pliki"]);
  useLanguage("zh", {
    "{count} files": "{count} 个文件",
    "Tell {label} what to do.": "告诉 {label} 要做什么。",
  });
  assert.deepEqual([1, 2].map(files), ["1 个文件", "2 个文件"]);
  assert.equal(t("Tell {label} what to do.", { label: "Codex" }), "告诉 Codex 要做什么。");
  useLanguage("en", {});
});

/** The scripts of the page. @returns {string[]} */
function scripts(directory = PAGES) {
  return readdirSync(directory, { withFileTypes: true }).flatMap((entry) => {
    const path = join(directory, entry.name);
    if (entry.isDirectory()) return entry.name === "vendor" ? [] : scripts(path);
    return entry.name.endsWith(".js") ? [path] : [];
  });
}

/** The string literals among the arguments of a call whose parenthesis is at `start`. */
function literals(source, start) {
  const token = /"(?:[^"\\]|\\.)*"|`(?:[^`\\]|\\.)*`|[()[\]{}]/g;
  token.lastIndex = start;
  const found = [];
  let depth = 0;
  for (let match = token.exec(source); match; match = token.exec(source)) {
    if ("([{".includes(match[0])) depth += 1;
    else if (")]}".includes(match[0])) depth -= 1;
    else if (depth === 1 && match[0][0] === '"') found.push(JSON.parse(match[0]));
    if (depth === 0) break;
  }
  return found;
}

/** The names of permission modes, which the hub has. @returns {string[]} */
function modeLabels() {
  const source = readFileSync(join(PAGES, "../../protocol/agents/modes.py"), "utf8");
  return [...source.matchAll(/\bPermissionMode\("[^"]+", "([^"]+)"/g)].map(([, label]) => label);
}

/** The English texts of the page: what is given to `t` and `parts`, and the second form given to `plural`. */
function texts() {
  const found = new Set(modeLabels());
  for (const path of scripts()) {
    const source = readFileSync(path, "utf8").replace(/^\s*(\/\/|\*|\/\*).*$/gm, "");
    for (const match of source.matchAll(/(?<![\w.]|function )(t|parts|plural)\((?=\s*[^)\s])/g)) {
      const [first, second] = literals(source, match.index + match[1].length);
      const text = match[1] === "plural" ? second : first;
      if (text !== undefined) found.add(text);
    }
  }
  return found;
}

test("each text of the page is translated, and nothing else is", () => {
  const wanted = texts();
  assert.ok(wanted.size > 700, String(wanted.size));
  assert.deepEqual(
    [...wanted].filter((text) => !Object.hasOwn(catalogue, text)),
    [],
  );
  assert.deepEqual(
    Object.keys(catalogue).filter((text) => !wanted.has(text)),
    [],
  );
});

test("a translation has the places of its sentence and no space too many", () => {
  const places = (text) => (text.match(/\{\w+\}/g) ?? []).toSorted();
  for (const [text, translated] of Object.entries(catalogue)) {
    assert.deepEqual(places(translated), places(text), text);
    assert.equal(translated, translated.trim(), text);
    assert.notEqual(translated, "", text);
  }
});
