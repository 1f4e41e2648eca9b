import assert from "node:assert/strict";
import { test } from "node:test";
import { installDom, load } from "./support.js";

installDom();
const { AgentCatalog } = await load("data/sessions/agents.js");
const { modeName, startModes } = await load("data/sessions/offer.js");
const { useLanguage } = await load("lib/language.js");
const { scopeText, tokenName } = await load("views/settings/token-text.js");
const { drawBlock } = await load("views/chat/blocks/block.js");

const context = { active: true, expanded: new Map(), decisions: new Map() };

test("an agent of a machine's own has its label before and after the table is read", () => {
  const machines = new Map();
  const catalogs = [null, { agents: [{ name: "codex", label: "Codex" }] }].map(
    (answer) => new AgentCatalog(answer, machines),
  );
  machines.set("m", [
    { agent: "rich", label: "Rich" },
    { agent: "odd", label: 7 },
  ]);
  for (const catalog of catalogs) {
    assert.equal(catalog.label("rich"), "Rich");
    assert.equal(catalog.label("odd"), "odd");
    assert.equal(catalog.label("none"), "none");
  }
  assert.equal(catalogs[1].label("codex"), "Codex");
});

test("the link to a file shows its label", () => {
  const block = {
    kind: "text",
    key: "k",
    version: "",
    at: 1,
    text: "See [the file](src/app.py:12).",
  };
  assert.equal(drawBlock(block, context).textContent.trim(), "See the file.");
  const fileAddress = (path, line) => ({ address: `/files?${path}&${line}`, follow() {} });
  globalThis.NodeFilter = { SHOW_TEXT: 4 };
  document.createTreeWalker = () => ({ nextNode: () => false }); // there is no name in the text
  const drawn = drawBlock(block, { ...context, fileAddress });
  const link = drawn.querySelector("a");
  assert.equal(link.textContent, "the file");
  assert.equal(link.getAttribute("href"), "/files?src/app.py&12");
});

test("modes that an agent tells, scopes and names of tokens are in the language of the page", () => {
  const modes = [
    { id: "default", name: "Ask before acting" },
    { id: "own", name: "Mode of its own" },
  ];
  const catalog = new AgentCatalog();
  const session = { active: true, metadata: { offer: { modes } } };
  useLanguage("zh", {
    "Ask before acting": "操作前询问",
    "Device paired {value}": "配对的设备 {value}",
  });
  try {
    assert.equal(modeName("default", session, catalog), "操作前询问");
    assert.equal(modeName("own", session, catalog), "Mode of its own");
    assert.equal(startModes({ offer: { modes } }, "x", catalog)[0].name, "操作前询问");
    assert.equal(
      tokenName("Device paired 2026-11-27 07:00:00.000"),
      "配对的设备 2026-11-27 07:00:00.000",
    );
    assert.equal(tokenName("Phone"), "Phone");
  } finally {
    useLanguage("en", {});
  }
  assert.equal(scopeText(["read", "spawn", "odd"]), "read, start sessions, odd");
  assert.equal(scopeText(null), "");
});
