// Recorded conversations in which one field of one record is not what it should be: that record suffers, and no other.

import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { installDom, load } from "./support.js";

installDom();
globalThis.location = { pathname: "/" };
const { blocksOf } = await load("data/conversation/blocks.js");
const { withDays } = await load("data/conversation/day-marks.js");
const { Transcript } = await load("data/conversation/transcript.js");
const { findIn } = await load("data/conversation/find.js");
const { describeUsage, knownUsage, turnFacts } = await load("data/sessions/usage.js");
const { openPlan } = await load("data/conversation/todos.js");
const { offerOf, commandsOf, sessionModes } = await load("data/sessions/offer.js");
const { sessionSettings } = await load("data/sessions/session-settings.js");
const { AgentCatalog } = await load("data/sessions/agents.js");
const { rulesOf, ruleText } = await load("data/sessions/permissions.js");
const { readable } = await load("data/sessions/sessions.js");
const { blockNamed } = await load("data/conversation/block-keys.js");
const { drawBlock } = await load("views/chat/blocks/block.js");

const HUGE = "word ".repeat(10_000);

/** @param {number} depth */
function nested(depth) {
  let made = "deep";
  for (let level = 0; level < depth; level += 1) made = level % 2 ? { type: made } : [made];
  return made;
}

const REMOVED = Symbol("the field is left out");
const DEEP = nested(200);
const VALUES = [
  ...[REMOVED, null, 0, -1, 1e308, true, false, "", "text", "__proto__", "constructor", HUGE],
  ...[[], {}, [null], [[]], [7], [{}], { type: null }, { toString: null }, { length: -1 }, DEEP],
];

/** Every record of a conversation in a recording of the wire. */
function* recordsIn(value) {
  if (Array.isArray(value)) for (const each of value) yield* recordsIn(each);
  else if (value && typeof value === "object") {
    if (["user", "agent"].includes(value.role) && typeof value.content === "object") yield value;
    for (const each of Object.values(value)) yield* recordsIn(each);
  } else if (typeof value === "string" && /^\S{0,3}[[{]/.test(value) && value.includes('"role"')) {
    yield* recordsIn(JSON.parse(value.slice(value.search(/[[{]/))));
  }
}

/** The lines of the recordings in a folder beside this one. @param {string} folder */
function* recordings(folder) {
  const place = fileURLToPath(new URL(`../${folder}/`, import.meta.url));
  for (const name of readdirSync(place).sort())
    if (name.endsWith(".jsonl"))
      for (const line of readFileSync(place + name, "utf8")
        .trim()
        .split("\n"))
        yield JSON.parse(line);
}

const RECORDS = [
  ...new Map(
    [...recordings("fixtures")]
      .flatMap((line) => [...recordsIn(line)])
      .map((record) => [JSON.stringify(record), record]),
  ).values(),
];

/** Where the fields of a value are. @param {any} value @param {(string | number)[]} at */
function* placesIn(value, at = []) {
  if (typeof value !== "object" || value === null) return;
  for (const [key, each] of Object.entries(value)) {
    const place = [...at, key];
    yield place;
    yield* placesIn(each, place);
  }
}

/** `value` with another one at a place. */
function changed(value, [key, ...rest], odd) {
  const copy = Array.isArray(value) ? [...value] : { ...value };
  if (rest.length > 0) copy[key] = changed(value[key], rest, odd);
  else if (odd === REMOVED) delete copy[key];
  else copy[key] = odd;
  return copy;
}

const messageOf = (content, index) => ({
  id: `m${index}`,
  seq: index,
  createdAt: 1000 * index,
  content,
});
const CONVERSATION = RECORDS.map(messageOf);
const SESSION = { id: "s", active: true, metadata: {} };

const context = () => ({
  active: true,
  expanded: new Map(),
  decisions: new Map(),
  image: () => [],
  save: () => [],
  attachedPicture: () => [],
});

/** The blocks of a conversation in which one message is another one, by key. */
function blocksWith(index, message) {
  const messages = [...CONVERSATION.slice(0, index), ...message, ...CONVERSATION.slice(index + 1)];
  const blocks = withDays(blocksOf(messages, [], null));
  return new Map(blocks.map((block) => [block.key, block]));
}

/** What is compared of a block. */
const contentOf = (block) => {
  try {
    return JSON.stringify(block);
  } catch {
    return "not JSON";
  }
};

/** How a test names what it changed. */
const label = (place, odd) =>
  `${place.join(".")} = ${odd === REMOVED ? "left out" : (JSON.stringify(odd)?.slice(0, 60) ?? odd)}`;

test("the recordings hold records of all kinds", () => {
  const kinds = new Set(
    RECORDS.map(({ role, content }) => [role, content.type, content.data?.type].join(" ")),
  );
  for (const kind of [
    ...["user text ", "agent codex message", "agent codex reasoning", "agent codex tool-call"],
    ...["agent codex tool-call-result", "agent codex plan", "agent codex token_count"],
    ...["agent output assistant", "agent output user", "agent output system"],
    ...["agent event message", "agent event ready"],
  ])
    assert.ok(kinds.has(kind), kind);
});

/** What other parts of the page read of the blocks of a conversation. */
function checkReadings(blocks, about) {
  for (const block of blocks)
    if (block.kind === "turn")
      assert.doesNotMatch(turnFacts(block).join(" "), /NaN|undefined|null/, about);
  const usage = describeUsage(knownUsage(null, blocks));
  assert.doesNotMatch(JSON.stringify(usage), /NaN|undefined/, about);
  openPlan(SESSION, blocks);
  blockNamed(blocks, "m7");
  findIn(blocks, "");
}

test("a record with one odd field leaves all blocks of the other records as they are", () => {
  const whole = blocksWith(0, [CONVERSATION[0]]);
  const drawings = { count: 0 };
  CONVERSATION.forEach((message, index) => {
    const without = blocksWith(index, []);
    const independent = [...whole].filter(
      ([key, block]) =>
        without.has(key) &&
        contentOf(without.get(key)) === contentOf(block) &&
        !["day", "turn", "plan"].includes(block.kind), // these are of several records
    );
    for (const place of placesIn(message.content))
      for (const odd of VALUES) {
        const content = changed(message.content, place, odd);
        const about = `${JSON.stringify(message.content).slice(0, 200)} with ${label(place, odd)}`;
        const blocks = blocksWith(index, [{ ...message, content }]);
        for (const [key, block] of independent)
          assert.equal(contentOf(blocks.get(key)), contentOf(block), about);
        for (const [key, block] of blocks)
          if (!whole.has(key) || contentOf(whole.get(key)) !== contentOf(block)) {
            const node = drawBlock(block, context());
            drawings.count += 1;
            if (block.kind !== "odd") assert.notEqual(node.dataset.kind, "odd", about);
            assert.ok(node.textContent.length < 150_000, about);
            if (block.kind === "odd") continue;
            assert.doesNotMatch(node.textContent, /\bNaN\b|undefined|\[object /, about);
            assert.notEqual(node.querySelector(".block.odd") && block.kind !== "odd", true, about);
          }
        checkReadings([...blocks.values()], about);
      }
  });
  assert.ok(drawings.count > 1000);
});

test("a message with one odd field beside its record leaves the other messages where they are", () => {
  const messages = CONVERSATION.slice(0, 6);
  const fields = [
    ...["id", "seq", "createdAt", "invokedAt", "localId", "scheduledAt", "deliveryState"],
    ...["content", "standsAt", "sessionId"],
  ];
  messages.forEach((message, index) => {
    for (const field of fields)
      for (const odd of VALUES) {
        const transcript = new Transcript();
        const list = messages.with(index, changed(message, [field], odd));
        transcript.addPage({
          messages: list,
          page: { direction: "latest", hasMore: false, epoch: 1 },
        });
        transcript.upsert(list[index]);
        const others = transcript.ordered().filter(({ id }) => id !== list[index].id);
        const known = messages.filter(({ id }) => id !== message.id && id !== list[index].id);
        const about = label([field], odd);
        assert.deepEqual(
          others.map(({ id }) => id).filter((id) => known.some((each) => each.id === id)),
          known.map(({ id }) => id),
          about,
        );
        for (const block of withDays(blocksOf(transcript.ordered(), [], null))) {
          if (block.kind === "odd") continue;
          const { textContent } = drawBlock(block, context());
          assert.doesNotMatch(textContent, /NaN|undefined|\[object |Invalid Date/, about);
        }
      }
  });
});

const METADATA = {
  path: "/home/dev/shop",
  flavor: "claude",
  usage: {
    contextTokens: 120,
    contextWindow: 1000,
    inputTokens: 100,
    outputTokens: 20,
    cost: { amount: 0.1, currency: "EUR" },
    turnMs: 1200,
    turns: 1,
  },
  offer: {
    modes: [{ id: "default", name: "Ask", description: "d", unrestricted: true }],
    mode: "default",
    models: [{ id: "m", name: "M", description: "d" }],
    model: "m",
    efforts: [{ id: "low", name: "Low" }],
    effort: "low",
    effortSetting: "effort",
    serviceTiers: [{ id: "standard", name: "Standard" }],
    serviceTier: "standard",
    options: [{ id: "o", name: "O", choices: [{ id: "on", name: "On" }], current: "on" }],
    commands: [{ name: "init", description: "d", hint: "h" }],
  },
  permissionRules: [{ id: "r", kind: "command", prefix: ["git", "status"] }],
  agentMemory: { state: "kept", at: 1 },
  agentRest: { since: 1 },
  capabilities: { conversationHistory: { forkCurrent: true } },
};

test("an odd field of a session's usage, offer and rules leaves everything else to be shown", () => {
  for (const place of placesIn(METADATA))
    for (const odd of VALUES) {
      const session = readable({
        ...SESSION,
        updatedAt: 1,
        metadata: changed(METADATA, place, odd),
      });
      const about = label(place, odd);
      const catalog = new AgentCatalog();
      const usage = describeUsage(session.metadata?.usage);
      assert.doesNotMatch(JSON.stringify(usage), /NaN|undefined|\[object /, about);
      offerOf(session);
      commandsOf(session);
      sessionModes(session, catalog);
      sessionSettings(session, catalog);
      for (const { label: what, value } of rulesOf(session.metadata).map(ruleText))
        assert.deepEqual([typeof what, typeof value], ["string", "string"], about);
    }
});
