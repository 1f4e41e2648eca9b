"""Names of the methods that runners and session processes serve; on the wire each has its owner's
id and a colon in front.
"""

from __future__ import annotations

from collections.abc import Mapping

# Runners
SPAWN_SESSION = "spawn-happy-session"
STOP_SESSION = "stop-session"
STOP_RUNNER = "stop-runner"
RUNNER_HANDOFF = "runner-handoff"  # ours: how a hand-off to a replacement goes
LIST_MACHINE_DIRECTORY = "list-directory"
PATH_EXISTS = "path-exists"
AGENT_AVAILABILITY = "agent-availability"
LIST_AGY_MODELS = "listAgyModels"
LIST_OPENCODE_MODELS_FOR_CWD = "listOpencodeModelsForCwd"
LIST_GROK_MODELS_FOR_CWD = "listGrokModelsForCwd"
# Last part of the path of `GET /api/machines/ID/…` -> the method that lists the models
MACHINE_MODELS: Mapping[str, str] = {
    "codex-models": "listCodexModels",
    "cursor-models": "listCursorModels",
    "agy-models": LIST_AGY_MODELS,
    "pi-models": "listPiModelsForMachine",
    "opencode-models": LIST_OPENCODE_MODELS_FOR_CWD,
    "opencode-model-variants": "listOpencodeModelVariants",
    "grok-models": LIST_GROK_MODELS_FOR_CWD,
    "copilot-models": "listCopilotModelsForCwd",
    # Of our own:
    "claude-models": "listClaudeModelsForMachine",
    "gemini-models": "listGeminiModelsForMachine",
    "kimi-models": "listKimiModelsForMachine",
    "qwen-models": "listQwenModelsForMachine",
}

# Session processes
KILL_SESSION = "killSession"
ABORT = "abort"
SWITCH = "switch"
HANDOFF_LOCAL = "handoff-local"
PERMISSION = "permission"
LIST_PERMISSION_RULES = "list-permission-rules"
REMOVE_PERMISSION_RULE = "remove-permission-rule"
SET_SESSION_CONFIG = "set-session-config"
STEER_QUEUED_MESSAGE = "steer-queued-message"
LIST_SLASH_COMMANDS = "listSlashCommands"
LIST_SKILLS = "listSkills"
GIT_STATUS = "git-status"
GIT_DIFF_NUMSTAT = "git-diff-numstat"
GIT_DIFF_FILE = "git-diff-file"
READ_FILE = "readFile"
STAT_FILES = "statFiles"
LIST_DIRECTORY = "listDirectory"
RIPGREP = "ripgrep"
# Of HAPI's own sessions (hapi.protocol.work)
SEARCH_CONTENT = "searchContent"
GIT_LOG = "git-log"
GIT_COMMIT_FILES = "git-commit-files"
GIT_COMMIT_DIFF = "git-commit-diff"
GIT_ACTIONS = "git-actions"
GIT_STAGE = "git-stage"
GIT_DISCARD = "git-discard"
GIT_COMMIT = "git-commit"
GIT_PUSH = "git-push"
UPLOAD_FILE = "uploadFile"
DELETE_UPLOAD = "deleteUpload"
READ_GENERATED_IMAGE = "readGeneratedImage"
# Last part of the path of `GET /api/sessions/ID/…` -> the method that lists the models
SESSION_MODELS: Mapping[str, str] = {
    "codex-models": "listCodexModels",
    "cursor-models": "listCursorModels",
    "opencode-models": "listOpencodeModels",
    "opencode-reasoning-effort-options": "listOpencodeReasoningEffortOptions",
    "grok-models": "listGrokModels",
    "grok-reasoning-effort-options": "listGrokReasoningEffortOptions",
    "copilot-models": "listCopilotModels",
    "pi-models": "listPiModels",
    "agy-models": LIST_AGY_MODELS,
}
