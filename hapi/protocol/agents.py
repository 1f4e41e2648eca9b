"""The table of coding agents: everything that HAPI knows of each one. Pure data.

A new agent is one entry in `AGENTS`, which the runner, the hub, the session, the command line and
the page read. Users add agents in `settings.json` (`hapi.configured_agents`), with the defaults of
`Agent`.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from attrs import field, frozen

# --- permission modes ----------------------------------------------------------------------------


@frozen
class PermissionMode:
    """A permission mode: its label on the page and who enforces it.

    `enforced_by`: "session" if HAPI answers the agent's requests and the agent keeps its initial
    mode, "agent" if the agent has a mode of its own. `grants`: what HAPI approves without asking a
    person; None: it always asks.
    """

    name: str
    label: str
    enforced_by: Literal["session", "agent"]
    grants: Literal["reading", "each request", "everything"] | None = None


PERMISSION_MODES: Mapping[str, PermissionMode] = {
    mode.name: mode
    for mode in (
        PermissionMode("default", "Ask before acting", "session"),
        PermissionMode("acceptEdits", "Accept edits", "agent"),
        PermissionMode("auto", "Automatic", "agent"),
        PermissionMode("bypassPermissions", "Allow everything", "agent", "everything"),
        PermissionMode("plan", "Plan only", "agent"),
        PermissionMode("ask", "Answer questions only", "agent"),
        PermissionMode("debug", "Debug", "agent"),
        PermissionMode("autoReview", "Review automatically", "agent"),
        PermissionMode("read-only", "Read freely, ask to write", "session", "reading"),
        PermissionMode("safe-yolo", "Allow each request", "session", "each request"),
        PermissionMode("yolo", "Allow everything", "session", "everything"),
        PermissionMode("request-review", "Ask before acting", "session"),
        PermissionMode("always-proceed", "Allow everything", "session", "everything"),
    )
}
UNRESTRICTED_MODES = ("yolo", "bypassPermissions", "always-proceed")  # what `--yolo` selects

SANDBOX_MODES = ("default", "read-only", "safe-yolo", "yolo")
GENERIC_MODES = ("default", "yolo")  # what HAPI can enforce for every agent

# --- the form for a new session (runnerState.capabilities.agentConfigs) --------------------------


@frozen
class FormField:
    """One field of the page's form for a new session.

    `source`: where its choices come from; None: the agent manages it.
    """

    id: str
    section: str
    kind: str
    source: str | None = None


def _model(source: str, kind: str = "select") -> FormField:
    return FormField("model", "model", kind, source)


def _effort(source: str) -> FormField:
    return FormField("effort", "effort", "select", source)


PERMISSION_FIELD = FormField("permission", "permission", "select", "static")
MANAGED_PERMISSION_FIELD = FormField("permission", "permission", "status")
SERVICE_TIER_FIELD = FormField("serviceTier", "settings", "select", "model")
COLLABORATION_FIELD = FormField("collaborationMode", "settings", "select", "static")

# --- agents --------------------------------------------------------------------------------------

EFFORT_SETTINGS = ("effort", "modelReasoningEffort")  # two wire names of the reasoning effort


@frozen
class Agent:
    """One coding agent. The defaults are those of an agent that only `settings.json` knows."""

    name: str  # the flavor on the wire
    label: str  # for people
    # --- its process, as HAPI's own sessions start it
    command: tuple[
        str, ...
    ] = ()  # program and arguments that speak ACP on stdio; (): not startable
    programs: tuple[str, ...] = ()  # names the program may have, the preferred one first
    program_variable: str | None = None  # environment variable that holds the program's path
    arguments_variable: str | None = None  # environment variable with its arguments, a JSON list
    forwarded_variables: tuple[
        tuple[str, str], ...
    ] = ()  # HAPI's variable, the agent's own name for it
    root_environment: Mapping[str, str] = field(factory=dict)  # added when HAPI runs as root
    environment: Mapping[str, str] = field(factory=dict, repr=False)  # from settings.json
    auth_method: str | None = None  # the ACP login method to use, from settings.json
    login_command: str | None = None  # logs in in a terminal, for agents that name no command
    configuration_error: str | None = None  # what is wrong with its entry in settings.json
    gets_tools: bool = True  # whether our MCP server is offered to it
    # --- where it comes from
    package: str = ""  # npm:NAME or pypi:NAME of its program, else the address of its instructions
    minimum_version: str | None = None  # of the package, where an older one is known not to work
    tried_version: str | None = None  # the version with which sessions were run; None: none was
    tried: str = ""  # what the runs of `tried_version` did not get to, for people
    # --- what can be chosen
    permission_modes: tuple[str, ...] = (
        SANDBOX_MODES  # the first one is the default; (): the agent decides
    )
    has_fixed_modes: bool = False  # only these, whatever else the agent offers (settings.json)
    has_model: bool = True  # whether a model can be chosen
    models: tuple[str, ...] = ()  # suggestions of the page
    lists_models: bool = False  # whether hubs ask its sessions for their models
    # The shape of an entry in its list of models: id and name, or besides the efforts of each
    # model, its provider, or all that Codex says of it
    model_entries: Literal["plain", "efforts", "provider", "codex"] = "plain"
    lists_efforts: bool = False  # whether hubs ask its sessions for their reasoning efforts
    settings: tuple[str, ...] = ()  # wire names of what can be changed besides mode and model
    form: tuple[FormField, ...] = ()  # fields for a new session; (): npm's hub has no name for it
    # --- the arguments a runner gives its session (runner.md §6.5)
    spawn_settings: tuple[str, ...] | None = (
        None  # settings a spawn passes on; None: the same as `settings`
    )
    resume_option: str = "--resume"
    has_starting_mode: bool = True
    existing_session: Literal["always", "fork", "never"] = (
        "always"  # when `--existing-session-id` is given
    )
    forks: bool = False  # understands `--fork-session`
    makes_worktrees: bool = False  # makes its git worktrees itself (`--cursor-worktree`)
    remote_only: bool = False  # cannot be spawned into a web terminal
    token_variable: str | None = None  # environment variable for the token of a spawn request
    # --- the session at the hub
    approval_style: Literal["decision", "tools", "plain"] = (
        "plain"  # how the page words an approval
    )
    reads_attached_paths: bool = False  # reads a file that a prompt names as `@path`
    may_rest: bool = True  # whether its session survives that its process ends and starts again
    is_steerable: bool = False  # takes messages in the middle of a turn
    slow_start: bool = False  # a resume waits until the session says that it is ready
    # --- npm's session program
    npm_program: str | None = (
        None  # the program it starts for this agent; None: it does not know the agent
    )
    npm_program_variable: str | None = None  # environment variable that holds that program's path
    npm_server_variable: str | None = None  # environment variable that takes precedence over both

    @property
    def install(self) -> str:
        """How to install its program: a command, else the address of the instructions."""
        registry, _, name = self.package.partition(":")
        match registry:
            case "npm":
                return f"npm install -g {name}"
            case "pypi":
                return f"uv tool install {name}"
        return self.package

    @property
    def session_id_field(self) -> str:
        """The key of the session's metadata that holds the agent's own session id."""
        return f"{self.name}SessionId"

    @property
    def model_list_method(self) -> str:
        """The RPC by which hubs ask a session for its models."""
        return f"list{self.name.capitalize()}Models"

    @property
    def effort_list_method(self) -> str:
        """The RPC by which hubs ask a session for its reasoning efforts."""
        return f"list{self.name.capitalize()}ReasoningEffortOptions"

    @property
    def effort_settings(self) -> tuple[str, ...]:
        """The wire names under which a session reports its reasoning effort."""
        return tuple(name for name in self.settings if name in EFFORT_SETTINGS)

    @property
    def unrestricted_mode(self) -> str | None:
        """The permission mode that `--yolo` means for this agent."""
        return next((mode for mode in UNRESTRICTED_MODES if mode in self.permission_modes), None)

    def passes(self, setting: str) -> bool:
        """Whether a spawn hands `setting` (its wire name) to the session."""
        return setting in (self.settings if self.spawn_settings is None else self.spawn_settings)


AGENTS: Mapping[str, Agent] = {
    agent.name: agent
    for agent in (  # in the order in which npm's runner lists them
        Agent(
            "agy",
            "Antigravity",
            permission_modes=("request-review", "always-proceed"),
            lists_models=True,
            form=(_model("machine"), PERMISSION_FIELD),
            spawn_settings=("effort",),
            remote_only=True,
            approval_style="tools",
            npm_program="agy",
        ),
        Agent(
            "claude",
            "Claude",
            ("claude-agent-acp",),  # npm: @agentclientprotocol/claude-agent-acp
            ("claude-agent-acp", "claude-code-acp"),  # the latter is its former name
            forwarded_variables=(("HAPI_CLAUDE_PATH", "CLAUDE_CODE_EXECUTABLE"),),
            root_environment={
                "IS_SANDBOX": "1"
            },  # as root it refuses to bypass permissions without
            permission_modes=("default", "acceptEdits", "auto", "bypassPermissions", "plan"),
            models=("sonnet", "opus", "haiku"),
            settings=("effort",),
            form=(_model("static"), _effort("static"), PERMISSION_FIELD),
            existing_session="fork",
            forks=True,
            reads_attached_paths=True,
            token_variable="CLAUDE_CODE_OAUTH_TOKEN",
            approval_style="tools",
            npm_program="claude",
            npm_program_variable="HAPI_CLAUDE_PATH",
            login_command="claude /login",
            package="npm:@agentclientprotocol/claude-agent-acp",
            tried_version="0.100.0",
        ),
        Agent(
            "codex",
            "Codex",
            ("codex-acp",),
            ("codex-acp",),
            lists_models=True,
            model_entries="codex",
            settings=("modelReasoningEffort", "serviceTier", "collaborationMode"),
            form=(
                _model("machine"),
                _effort("model"),
                PERMISSION_FIELD,
                SERVICE_TIER_FIELD,
                COLLABORATION_FIELD,
            ),
            resume_option="resume",
            has_starting_mode=False,
            approval_style="decision",
            is_steerable=True,
            npm_program="codex",
            npm_server_variable="HAPI_CODEX_APP_SERVER_BIN",
            login_command="codex login",
            package="npm:@agentclientprotocol/codex-acp",
            tried_version="2.6.0",
        ),
        Agent(
            "dsh",
            "DSH",
            ("dsh-acp-demo",),
            ("dsh-acp-demo",),
            program_variable="HAPI_DSH_ACP_COMMAND",
            arguments_variable="HAPI_DSH_ACP_ARGS_JSON",
            permission_modes=(),
            has_model=False,
            form=(MANAGED_PERMISSION_FIELD,),
            remote_only=True,
            npm_program="dsh-acp-demo",
            npm_program_variable="HAPI_DSH_ACP_COMMAND",
        ),
        Agent(
            "copilot",
            "Copilot",
            ("copilot", "--acp", "--stdio"),
            ("copilot",),
            program_variable="COPILOT_CLI_PATH",
            lists_models=True,
            settings=("copilotAgentMode",),
            form=(_model("directory"), PERMISSION_FIELD),
            existing_session="never",
            approval_style="decision",
            npm_program="copilot",
            npm_program_variable="COPILOT_CLI_PATH",
            login_command="copilot login",
            package="npm:@github/copilot",
            tried_version="1.0.102",
            tried="with a key of one's own",
        ),
        Agent(
            "cursor",
            "Cursor",
            ("cursor-agent", "acp"),
            ("cursor-agent", "agent"),
            permission_modes=("default", "plan", "ask", "debug", "autoReview", "yolo"),
            lists_models=True,
            form=(_model("machine", "dependent-select"), PERMISSION_FIELD),
            makes_worktrees=True,
            approval_style="decision",
            npm_program="agent",
            login_command="cursor-agent login",
            package="https://cursor.com/docs/cli/acp",
        ),
        Agent(
            "gemini",
            "Gemini",
            ("gemini", "--experimental-acp"),
            ("gemini",),
            permission_modes=(*SANDBOX_MODES, "acceptEdits", "plan"),
            form=(_model("static"), PERMISSION_FIELD),
            spawn_settings=("modelReasoningEffort",),
            approval_style="decision",
            login_command="gemini",
            package="npm:@google/gemini-cli",
            tried_version="0.61.0",
            tried="does not always load its own sessions",
            may_rest=False,
        ),
        Agent(
            "grok",
            "Grok",
            ("grok", "agent", "stdio"),
            ("grok",),
            permission_modes=("default", "auto", "plan", "bypassPermissions"),
            lists_models=True,
            model_entries="efforts",
            lists_efforts=True,
            settings=("effort",),
            form=(_model("directory"), _effort("model"), PERMISSION_FIELD),
            approval_style="decision",
            npm_program="grok",
            package="npm:@xai-official/grok",
            tried_version="1.0.41",
            tried="starts; no prompt was answered",
        ),
        Agent(
            "kimi",
            "Kimi",
            ("kimi", "acp"),
            ("kimi",),
            form=(_model("static"), PERMISSION_FIELD),
            existing_session="never",
            approval_style="decision",
            npm_program="kimi",
            login_command="kimi login",
            package="npm:@moonshot-ai/kimi-code",
            tried_version="2.1.0",
            tried="starts and asks for a login; kimi-cli 1.49.0 of PyPI was run whole",
        ),
        Agent(
            "opencode",
            "OpenCode",
            ("opencode", "acp"),
            ("opencode",),
            permission_modes=("default", "plan", "yolo"),
            lists_models=True,
            lists_efforts=True,
            settings=("modelReasoningEffort",),
            form=(_model("directory"), _effort("model"), PERMISSION_FIELD),
            approval_style="decision",
            npm_program="opencode",
            login_command="opencode auth login",
            package="npm:opencode-ai",
            tried_version="1.18.33",
        ),
        Agent(
            "pi",
            "Pi",
            ("pi-acp",),
            ("pi-acp",),
            permission_modes=(),
            lists_models=True,
            model_entries="provider",
            settings=("effort",),
            form=(_model("machine", "grouped-select"), _effort("static"), MANAGED_PERMISSION_FIELD),
            resume_option="--session-id",
            approval_style="tools",
            is_steerable=True,
            slow_start=True,
            npm_program="pi",
            package="npm:pi-acp",
            tried_version="0.0.34",
            tried="opened no session",
        ),
        # The commands of the following agents are those of the ACP registry
        # (github.com/agentclientprotocol/registry, as of 2026-10), or were run.
        Agent(
            "qwen",
            "Qwen Code",
            ("qwen", "--acp"),
            ("qwen",),
            permission_modes=GENERIC_MODES,
            spawn_settings=EFFORT_SETTINGS,
            package="npm:@qwen-code/qwen-code",
            tried_version="0.24.4",
        ),
        Agent(
            "vibe",
            "Mistral Vibe",
            ("vibe-acp",),
            ("vibe-acp",),
            permission_modes=GENERIC_MODES,
            spawn_settings=EFFORT_SETTINGS,
            package="pypi:mistral-vibe",
            tried_version="3.0.2",
        ),
        Agent(
            "fast-agent",
            "fast-agent",
            ("fast-agent", "acp", "-x"),
            ("fast-agent",),
            permission_modes=GENERIC_MODES,
            spawn_settings=EFFORT_SETTINGS,
            package="pypi:fast-agent-mcp",
            tried_version="0.10.48",
            tried="asks for no permissions",
        ),
        Agent(
            "kilo",
            "Kilo",
            ("kilo", "acp"),
            ("kilo",),
            permission_modes=GENERIC_MODES,
            spawn_settings=EFFORT_SETTINGS,
            package="npm:@kilocode/cli",
            tried_version="7.8.1",
            tried="resuming was not tried",
        ),
        Agent(
            "cline",
            "Cline",
            ("cline", "--acp"),
            ("cline",),
            permission_modes=GENERIC_MODES,
            spawn_settings=EFFORT_SETTINGS,
            package="npm:cline",
            tried_version="3.0.65",
            tried="starts and asks for a login",
        ),
        Agent(
            "droid",
            "Factory Droid",
            ("droid", "exec", "--output-format", "acp"),
            ("droid",),
            environment={
                "DROID_DISABLE_AUTO_UPDATE": "true",
                "FACTORY_DROID_AUTO_UPDATE_ENABLED": "false",
            },
            permission_modes=GENERIC_MODES,
            spawn_settings=EFFORT_SETTINGS,
            package="npm:droid",
            tried_version="0.215.0",
            tried="starts and asks for a login",
        ),
        Agent(
            "auggie",
            "Auggie",
            ("auggie", "--acp"),
            ("auggie",),
            environment={"AUGMENT_DISABLE_AUTO_UPDATE": "1"},
            permission_modes=GENERIC_MODES,
            spawn_settings=EFFORT_SETTINGS,
            package="npm:@augmentcode/auggie",
            tried_version="0.36.0",
            tried="starts and asks for a login",
        ),
        Agent(
            "qoder",
            "Qoder",
            ("qodercli", "--acp"),
            ("qodercli",),
            permission_modes=GENERIC_MODES,
            spawn_settings=EFFORT_SETTINGS,
            package="npm:@qoder-ai/qodercli",
            tried_version="1.1.52",
            tried="starts and asks for a login",
        ),
        Agent(
            "goose",
            "goose",
            ("goose", "acp"),
            ("goose",),
            permission_modes=GENERIC_MODES,
            spawn_settings=EFFORT_SETTINGS,
            package="https://github.com/block/goose",
        ),
        Agent(
            "junie",
            "Junie",
            ("junie", "--acp=true"),
            ("junie",),
            permission_modes=GENERIC_MODES,
            spawn_settings=EFFORT_SETTINGS,
            package="https://junie.jetbrains.com",
        ),
        Agent(
            "amp",
            "Amp",
            ("amp-acp",),
            ("amp-acp",),
            permission_modes=GENERIC_MODES,
            spawn_settings=EFFORT_SETTINGS,
            package="https://github.com/tao12345666333/amp-acp",
        ),
        Agent(
            "stakpak",
            "Stakpak",
            ("stakpak", "acp"),
            ("stakpak",),
            permission_modes=GENERIC_MODES,
            spawn_settings=EFFORT_SETTINGS,
            package="https://github.com/stakpak/agent",
        ),
        Agent(
            "demo",
            "Demo",
            (sys.executable, "-P", "-m", "hapi.session.demo.agent"),
            permission_modes=("default", "plan", "acceptEdits", "bypassPermissions", "yolo"),
            models=("swift", "thorough"),
            spawn_settings=("modelReasoningEffort",),
        ),
    )
}

DEFAULT_AGENT = "claude"  # the wire's default
DEMO = "demo"  # built in: needs no program on the machine


def agent_named(name: str) -> Agent:
    """The agent `name`; for one that only a `settings.json` knows, the defaults."""
    known = AGENTS.get(name)
    if known is not None:
        return known
    return Agent(
        name,
        name.capitalize(),
        permission_modes=GENERIC_MODES,
        spawn_settings=EFFORT_SETTINGS,
    )


def agents_with(setting: str) -> frozenset[str]:
    """Names of the agents whose `setting` (its wire name) can be changed while a session runs."""
    return frozenset(name for name, agent in AGENTS.items() if setting in agent.settings)


def agent_form(agent: Agent) -> dict[str, Any]:
    """The entry of `agent` in `runnerState.capabilities.agentConfigs`."""
    fields = agent.form or (
        PERMISSION_FIELD if agent.permission_modes else MANAGED_PERMISSION_FIELD,
    )
    return {"flavor": agent.name, "fields": [_form_field(each) for each in fields]}


def _form_field(each: FormField) -> dict[str, str]:
    choices = (
        {"availability": "managed", "unavailableReason": "Managed by agent"}
        if each.source is None
        else {"optionSource": each.source, "availability": "both"}
    )
    return {"id": each.id, "section": each.section, "kind": each.kind} | choices


def agent_catalog(agents: Sequence[Agent] = tuple(AGENTS.values())) -> dict[str, Any]:
    """What a page has to know of agents and permission modes (`GET /api/agents`).

    `generic` describes an agent that is not listed; its `name` and `label` are empty.
    """
    modes = [
        {
            "name": mode.name,
            "label": mode.label,
            "unrestricted": mode.grants in ("each request", "everything"),
        }
        for mode in PERMISSION_MODES.values()
    ]
    return {
        "agents": [_catalog_entry(agent) for agent in agents],
        "generic": _catalog_entry(agent_named("")),
        "permissionModes": modes,
    }


def _catalog_entry(agent: Agent) -> dict[str, Any]:
    return {
        "name": agent.name,
        "label": agent.label,
        "permissionModes": list(agent.permission_modes),
        "hasModel": agent.has_model,
        "models": list(agent.models),
        "settings": list(agent.settings),
        "approvalStyle": agent.approval_style,
        "steerable": agent.is_steerable,
    }
