"""What HAPI knows of one coding agent."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from attrs import field, frozen

from hapi.protocol.agents.form import FormField
from hapi.protocol.agents.modes import SANDBOX_MODES, UNRESTRICTED_MODES
from hapi.protocol.agents.own_program import OwnCommand

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
    own_program: OwnCommand | None = None  # for local mode; None: HAPI has none for this agent
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
