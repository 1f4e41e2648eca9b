// What differs between agents: their names, permission modes, and how they want a decision said.

import { own } from "./words.js";

const LABELS = {
  agy: "Antigravity", claude: "Claude Code", codex: "Codex", copilot: "Copilot", cursor: "Cursor", demo: "Demo", dsh: "DSH",
  gemini: "Gemini", grok: "Grok", kimi: "Kimi", opencode: "OpenCode", pi: "Pi",
};

const CLAUDE = ["default", "acceptEdits", "auto", "bypassPermissions", "plan"];
const CODEX = ["default", "read-only", "safe-yolo", "yolo"];
const OTHER = ["default", "plan", "acceptEdits", "bypassPermissions"]; // demo, and agents that only their runner knows
const MODES = {
  claude: CLAUDE,
  codex: CODEX, gemini: CODEX, kimi: CODEX, copilot: CODEX,
  opencode: ["default", "plan", "yolo"],
  cursor: ["default", "plan", "ask", "debug", "autoReview", "yolo"],
  grok: ["default", "auto", "plan", "bypassPermissions"],
  agy: ["request-review", "always-proceed"],
  pi: [], dsh: [],
};

const MODE_LABELS = {
  default: "Ask before acting",
  acceptEdits: "Accept edits",
  auto: "Automatic",
  bypassPermissions: "Allow everything",
  plan: "Plan only",
  "read-only": "Read freely, ask to write",
  "safe-yolo": "Allow everything, sandboxed",
  yolo: "Allow everything",
  ask: "Answer questions only",
  debug: "Debug",
  autoReview: "Review automatically",
  "request-review": "Ask before acting",
  "always-proceed": "Allow everything",
};

const MODELS = { claude: ["sonnet", "opus", "haiku"], demo: ["swift", "thorough"] };
const EDIT_TOOLS = ["Edit", "MultiEdit", "Write", "NotebookEdit"];
const SAYS_DECISION = ["codex", "gemini", "grok", "kimi", "copilot", "opencode", "cursor"];
const CLAUDE_STYLE = ["claude", "agy", "pi"];

export const agentLabel = (flavor) => own(LABELS, flavor) ?? flavor ?? "Claude Code";
export const permissionModes = (flavor) => (flavor ? own(MODES, flavor) ?? OTHER : CLAUDE);
export const modeLabel = (mode) => own(MODE_LABELS, mode) ?? mode;
export const hasModel = (flavor) => flavor !== "dsh";
export const knownModels = (flavor) => own(MODELS, flavor) ?? [];
export const isUnbounded = (mode) => ["bypassPermissions", "yolo", "always-proceed", "safe-yolo"].includes(mode);

/** What to send for a button: `choice` is "allow", "session" or "deny"; returns [verdict, body] for the hub. */
export function decisionFor(flavor, choice, request) {
  const verdict = choice === "deny" ? "deny" : "approve";
  if (SAYS_DECISION.includes(flavor)) {
    return [verdict, { decision: { allow: "approved", session: "approved_for_session", deny: "abort" }[choice] }];
  }
  if (choice !== "session") return [verdict, {}];
  if (flavor && !CLAUDE_STYLE.includes(flavor)) return [verdict, { decision: "approved_for_session" }];
  if (EDIT_TOOLS.includes(request.tool)) return [verdict, { mode: "acceptEdits" }];
  const command = request.tool === "Bash" && request.arguments?.command;
  return [verdict, { allowTools: [command ? `Bash(${command})` : request.tool] }];
}
