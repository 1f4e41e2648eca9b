import assert from "node:assert/strict";
import { test } from "node:test";
import { load } from "./support.js";

const { Terminals } = await load("data/hub/terminals.js");
const { withControl } = await load("views/terminal/keys.js");
const SIZE = { cols: 80, rows: 24 };

function made(answer = { terminals: [] }, kept = null) {
  const sent = [];
  const shown = [];
  const socket = {
    isJoined: true,
    emit: (name, payload) => sent.push([name.replace("terminal:", ""), payload]),
    ask: async () => answer,
  };
  const storage = { getItem: () => kept, setItem() {} };
  const observer = { onChange() {}, onOutput: (...output) => shown.push(output) };
  return { terminals: new Terminals("s", socket, observer, storage), sent, shown };
}

test("the first visit opens a shell, and a later one finds those that there are", async () => {
  const first = made();
  await first.terminals.joined(() => SIZE);
  assert.deepEqual(
    first.sent.map(([name]) => name),
    ["create"],
  );
  const later = made({
    terminals: [
      { terminalId: "a", attached: false },
      { terminalId: "b", attached: true },
    ],
  });
  await later.terminals.joined(() => SIZE);
  assert.deepEqual(
    later.terminals.list.map(({ id, phase }) => [id, phase]),
    [
      ["a", "opening"],
      ["b", "elsewhere"],
    ],
  );
  assert.deepEqual(
    later.sent.map(([name, { terminalId }]) => [name, terminalId]),
    [["create", "a"]],
  );
});

test("a hub that lists no terminals is asked for those that this tab had", async () => {
  const { terminals, sent } = made(null, '["x"]');
  await terminals.joined(() => SIZE);
  assert.deepEqual(
    sent.map(([, { terminalId }]) => terminalId),
    ["x"],
  );
});

test("the end of a terminal names its session: others may have terminals of that id", async () => {
  const { terminals, sent } = made({ terminals: [{ terminalId: "a", attached: true }] });
  await terminals.joined(() => SIZE);
  terminals.close(terminals.find("a"));
  assert.deepEqual(sent, [["close", { sessionId: "s", terminalId: "a" }]]);
});

test("a size that is measured while a shell opens is told as soon as it is open", async () => {
  const { terminals, sent } = made();
  await terminals.joined(() => SIZE);
  const [terminal] = terminals.list;
  terminals.resize(terminal, 48, 40);
  assert.equal(sent.length, 1);
  terminals.receive("terminal:ready", { terminalId: terminal.id });
  terminals.receive("terminal:ready", { terminalId: terminal.id });
  assert.deepEqual(sent.slice(1), [["resize", { terminalId: terminal.id, cols: 48, rows: 40 }]]);
});

test("a replay is told from what comes next, and how the shell ended is said", async () => {
  const { terminals, shown } = made();
  await terminals.joined(() => SIZE);
  const { id } = terminals.list[0];
  const ids = { sessionId: "s", terminalId: id };
  terminals.receive("terminal:output", { ...ids, data: "all", replay: true });
  terminals.receive("terminal:output", { terminalId: id, data: "npm's" });
  terminals.receive("terminal:output", { ...ids, data: "new" });
  assert.deepEqual(shown, [
    [id, "all", true],
    [id, "npm's", true],
    [id, "new", false],
  ]);
  terminals.receive("terminal:exit", { ...ids, code: 3, signal: null });
  assert.equal(terminals.list[0].text, "The shell has ended with code 3.");
  terminals.receive("terminal:exit", { terminalId: "unknown", code: 0 });
});

test("Ctrl makes a control character of one character, and leaves a paste alone", () => {
  assert.deepEqual(["c", "C", "[", " ", "?", "é", "ls"].map(withControl), [
    "\x03",
    "\x03",
    "\x1b",
    "\0",
    "\x7f",
    "é",
    "ls",
  ]);
});
