import assert from "node:assert/strict";
import { test } from "node:test";
import { load, MemoryStorage } from "./support.js";

const {
  commandCompletions,
  completed,
  distinguished,
  fileCompletions,
  matching,
  sessionCompletions,
  tokenAt,
} = await load("data/composer/completions.js");
const { Drafts, joinedDraft } = await load("data/composer/drafts.js");
const { enteredAnswer, forgetAnswer, keepAnswer } = await load("data/composer/answer-drafts.js");
const { enterChoice, enterSends, setEnterChoice } = await load("data/composer/preferences.js");
const { listPaths, routeLists, sessionSettings } = await load("data/sessions/session-settings.js");
const { AgentCatalog } = await load("data/sessions/agents.js");

const at = (text) => tokenAt(text.replace("|", ""), text.indexOf("|"));

test("a command is the whole text up to the caret, a mention is a word", () => {
  assert.deepEqual(at("/co|mpact"), { mark: "/", query: "co", start: 0, end: 3 });
  assert.equal(at("say /co|"), null);
  assert.equal(at("/compact now|"), null);
  assert.deepEqual(at("look at @src/a| please"), { mark: "@", query: "src/a", start: 8, end: 14 });
  assert.deepEqual(at("(@|"), { mark: "@", query: "", start: 1, end: 2 });
  assert.equal(at("me@example.org|"), null);
  assert.equal(at(`/${"x".repeat(5000)}|`), null);
});

test("what is chosen stands for the token, with one space behind it", () => {
  const chosen = { kind: "file", id: "a.py", label: "a.py", description: "", insert: "@a.py" };
  assert.deepEqual(completed("see @a", { start: 4, end: 6 }, chosen), ["see @a.py ", 10]);
  assert.deepEqual(completed("see @a now", { start: 4, end: 6 }, chosen), ["see @a.py now", 10]);
});

test("commands of the offer and of the routes are listed once, skills as such", () => {
  const offered = [{ id: "compact", name: "compact", description: "Summarize" }];
  const commands = { commands: [{ name: "/compact" }, { name: "cost" }, { name: 7 }, null] };
  const skills = { skills: [{ name: "cost" }, { name: "review" }] };
  const found = commandCompletions(offered, commands, skills, "claude");
  assert.deepEqual(
    found.map(({ kind, insert }) => [kind, insert]),
    [
      ["command", "/compact"],
      ["skill", "/cost"],
      ["skill", "/review"],
    ],
  );
  assert.equal(commandCompletions([], null, skills, "codex")[1].insert, "$review");
  assert.deepEqual(commandCompletions([], { commands: "x" }, { skills: {} }, "claude"), []);
});

test("a query finds what begins with it before what contains it", () => {
  const items = ["review", "pre", "other"].map((id) => ({
    id,
    description: id === "other" ? "re" : "",
  }));
  assert.deepEqual(
    matching(items, "re").map(({ id }) => id),
    ["review", "pre", "other"],
  );
});

test("files with a space in their path are quoted, and other sessions become links", () => {
  const files = fileCompletions({ files: [{ fullPath: "a b.py" }, { fullPath: 1 }, null] });
  assert.deepEqual(
    files.map(({ insert }) => insert),
    ['@"a b.py"'],
  );
  assert.deepEqual(fileCompletions({ success: false }), []);
  const session = (id, name, updatedAt) => ({ id, active: true, updatedAt, metadata: { name } });
  const sessions = [session("1", "Fix [x]", 1), session("2", "Fix y", 2), session("3", "Fix", 3)];
  assert.deepEqual(
    sessionCompletions(sessions, "fix", "3", new Map()).map(({ insert }) => insert),
    ["[Fix y](/sessions/2)", "[Fix  x](/sessions/1)"],
  );
});

test("paths of completions begin at the home directory, and equal names are told apart", () => {
  const machines = new Map([["m", { metadata: { homeDir: "/home/ada" } }]]);
  const session = (id, path) => ({
    ...{ id, active: true, updatedAt: Number(id[0]) },
    metadata: { name: "Fix", machineId: "m", path },
  });
  const sessions = [
    session("3-other-machine", "/home/ada/shop"),
    session("2-second-one", "/home/ada/shop"),
    session("1", "/srv/shop"),
  ];
  const found = distinguished([
    ...fileCompletions({ files: [{ fullPath: "docs/a.md", fileName: "a.md", filePath: "docs" }] }),
    ...sessionCompletions(sessions, "", "", machines),
  ]);
  assert.deepEqual(
    found.map(({ description, place, isAlike }) => [description, place, isAlike === true]),
    [
      ["docs", "docs/a.md", false],
      ["~/shop · 3-other-", "/home/ada/shop", true],
      ["~/shop · 2-second", "/home/ada/shop", true],
      ["/srv/shop", "/srv/shop", true],
    ],
  );
});

test("a draft is kept on the device, follows its session, and is heard of by other tabs", () => {
  const storage = new MemoryStorage();
  const drafts = new Drafts(storage);
  const file = { id: "1", filename: "a.txt", path: "/up/a.txt", mimeType: "text/plain", size: 1 };
  drafts.set("s", "text");
  drafts.setFiles("s", [file]);
  const reloaded = new Drafts(storage);
  assert.deepEqual([reloaded.get("s"), reloaded.files("s")], ["text", [file]]);
  reloaded.move("s", "t");
  assert.deepEqual([drafts.get("s"), drafts.files("s"), drafts.get("t")], ["", [], "text"]);
  const heard = [];
  const unwatch = drafts.watch((id) => heard.push(id));
  drafts.onStorage({ key: "hapi.draft.s" });
  drafts.onStorage({ key: "hapi.draft-files.t" });
  drafts.onStorage({ key: "hapi.theme" });
  drafts.onStorage({ key: null });
  unwatch();
  drafts.onStorage({ key: "hapi.draft.s" });
  assert.deepEqual(heard, ["s", "t"]);
  storage.setItem("hapi.draft-files.t", "[{]");
  assert.deepEqual(drafts.files("t"), []);
  drafts.clear();
  assert.equal(storage.items.size, 0);
});

test("what two tabs write into one draft at the same time is kept", () => {
  assert.equal(joinedDraft("abc", "ab", "ab"), "abc");
  assert.equal(joinedDraft("mine", "", "theirs"), "theirs\nmine");
  assert.equal(joinedDraft("", "", "theirs"), "theirs"); // mine is sent
  assert.equal(joinedDraft("", "ab", "ab"), "");
  assert.equal(joinedDraft("mine", "old", ""), "mine"); // theirs was sent
  assert.equal(joinedDraft("theirs and mine", "", "theirs"), "theirs and mine");
});

test("the place of a message that is edited is kept with the draft", () => {
  const storage = new MemoryStorage();
  new Drafts(storage).setPlace("s", []);
  const drafts = new Drafts(storage);
  assert.deepEqual([drafts.place("s"), drafts.place("t")], [[], null]);
  drafts.setPlace("s", ["a"]);
  drafts.move("s", "t");
  assert.deepEqual([drafts.place("s"), drafts.place("t")], [null, null]);
  storage.setItem("hapi.draft-place.s", "{");
  assert.equal(drafts.place("s"), null);
});

test("a draft that the storage does not take lives as long as the tab", () => {
  const storage = new MemoryStorage();
  storage.setItem = () => {
    throw new Error("full");
  };
  const drafts = new Drafts(storage);
  drafts.set("s", "text");
  assert.equal(drafts.get("s"), "text");
  drafts.set("s", "");
  assert.equal(drafts.get("s"), "");
});

test("Enter sends where there is a keyboard, unless the person has chosen otherwise", () => {
  const plain = { ctrlKey: false, metaKey: false, shiftKey: false };
  const storage = new MemoryStorage();
  assert.equal(enterSends(plain, enterChoice(storage), true), true);
  assert.equal(enterSends(plain, enterChoice(storage), false), false);
  setEnterChoice(storage, "newline");
  assert.equal(enterSends(plain, enterChoice(storage), true), false);
  assert.equal(enterSends({ ...plain, metaKey: true }, enterChoice(storage), true), true);
  setEnterChoice(storage, "send");
  assert.equal(enterSends(plain, enterChoice(storage), false), true);
  assert.equal(enterSends({ ...plain, shiftKey: true }, enterChoice(storage), true), false);
  setEnterChoice(storage, "auto");
  assert.equal(enterChoice(storage), "auto");
});

const agent = (name, more = {}) => ({
  ...{ name, label: name, permissionModes: ["default", "yolo"], hasModel: true, models: [] },
  ...{ settings: [], approvalStyle: "plain", steerable: false },
  ...more,
});
const catalog = new AgentCatalog({
  agents: [
    agent("claude", { models: ["opus"], settings: ["effort"] }),
    agent("opencode", { settings: ["modelReasoningEffort"] }),
    agent("codex", { settings: ["modelReasoningEffort"] }),
    agent("dsh", { hasModel: false, permissionModes: [] }),
  ],
  permissionModes: [{ name: "default", label: "Ask", unrestricted: false }],
});
const session = (flavor, more = {}, metadata = {}) => ({
  ...{ id: "s", active: true, updatedAt: 1, metadata: { flavor, ...metadata } },
  ...more,
});

test("a session that offers nothing has the choices of the table and of the hub's routes", () => {
  const claude = sessionSettings(session("claude", { effort: "high" }), catalog);
  assert.deepEqual(
    claude.map(({ id, current, choices }) => [id, current, choices.length]),
    [
      ["mode", "default", 2],
      ["model", null, 1],
      ["effort", "high", 5],
    ],
  );
  assert.deepEqual(listPaths(session("claude")), { models: null, efforts: null });
  assert.deepEqual(listPaths(session("opencode")), {
    models: "opencode-models",
    efforts: "opencode-reasoning-effort-options",
  });
  const lists = routeLists(
    { success: true, availableModels: [{ modelId: "p/m", name: "M" }], currentModelId: "p/m" },
    { success: true, options: [{ value: "low", name: "Low" }], currentValue: "low" },
  );
  const [, model, effort] = sessionSettings(session("opencode"), catalog, lists);
  assert.deepEqual(
    [model.current, model.mayBeOther, model.body("x")],
    ["p/m", false, { model: "x" }],
  );
  assert.deepEqual(
    [effort.path, effort.body("low")],
    ["model-reasoning-effort", { modelReasoningEffort: "low" }],
  );
  const codex = routeLists(
    {
      success: true,
      models: [{ id: "o", displayName: "O", isDefault: true, supportedReasoningEfforts: ["low"] }],
    },
    null,
  );
  assert.deepEqual([codex.models[0].name, codex.model, codex.efforts[0].id], ["O", "o", "low"]);
  assert.deepEqual(routeLists({ success: false }, { success: false }).models, []);
  assert.deepEqual(sessionSettings(session("dsh"), catalog), []);
});

test("a session that tells its offer is asked for nothing", () => {
  const offer = {
    modes: [{ id: "code", name: "Code" }],
    mode: "code",
    models: [{ id: "m", name: "M" }],
    model: "m",
    efforts: [{ id: "low", name: "Low" }],
    effort: "low",
    effortSetting: "effort",
    options: [{ id: "o", name: "O", choices: [{ id: "1" }], current: "1" }],
  };
  const offering = session("house", {}, { offer });
  assert.deepEqual(listPaths(offering), { models: null, efforts: null });
  assert.deepEqual(
    sessionSettings(offering, catalog).map(({ id, path, current }) => [id, path, current]),
    [
      ["mode", "permission-mode", "code"],
      ["model", "model", "m"],
      ["effort", "effort", "low"],
      ["option-o", "option", "1"],
    ],
  );
});

const { spokenText, utterances } = await load("lib/browser/speech.js");
const { keepPrompt, recentPrompts } = await load("data/composer/recent-prompts.js");

test("code, addresses and marks of Markdown are not read aloud", () => {
  const text =
    "# Done\n\n- **See** [the page](https://x.example/a) at https://y.example\n```js\nx\n```\n| a | b |\n|---|---|\n";
  assert.equal(spokenText(text), "Done\nSee the page at a link\nCode.\na b");
  assert.equal(spokenText("```\nnever closed"), "Code.");
});

test("a long text is read in parts that end at sentences", () => {
  const sentence = `${"word ".repeat(20).trim()}. `;
  const parts = utterances(sentence.repeat(5));
  assert.ok(parts.every((part) => part.length <= 240 && part.endsWith(".")));
  assert.equal(parts.join(" "), sentence.repeat(5).trim());
  assert.equal(utterances("x".repeat(1000)).join(""), "x".repeat(1000));
});

test("what was written last is suggested, without commands and long texts", () => {
  const storage = new MemoryStorage();
  for (const text of ["one", "two", "/compact", "x".repeat(300), "one", " "])
    keepPrompt(storage, text);
  assert.deepEqual(recentPrompts(storage), ["one", "two"]);
  storage.setItem("hapi.recent-prompts", "{");
  assert.deepEqual(recentPrompts(storage), []);
});

test("what is entered for a request outlives the form, until the answer or the logout", () => {
  const storage = new MemoryStorage();
  keepAnswer("r", "0", ["Blue"], storage);
  keepAnswer("r", "reason", ["use ma"], storage);
  assert.deepEqual(enteredAnswer("r", "0", storage), ["Blue"]);
  assert.deepEqual(enteredAnswer("r", "reason", storage), ["use ma"]);
  assert.equal(enteredAnswer("r", "constructor", storage), undefined);
  for (let number = 0; number < 50; number += 1) keepAnswer(`q${number}`, "0", ["x"], storage);
  assert.equal(enteredAnswer("r", "0", storage), undefined);
  assert.deepEqual(enteredAnswer("q0", "0", storage), ["x"]);
  forgetAnswer("q0", storage);
  assert.equal(enteredAnswer("q0", "0", storage), undefined);
  new Drafts(storage).clear();
  assert.equal(enteredAnswer("q49", "0", storage), undefined);
  storage.setItem("hapi.draft-answers", "[");
  assert.equal(enteredAnswer("r", "0", storage), undefined);
});
