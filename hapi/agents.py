"""Which coding agents there are: how each is started, what it can be told, whether it is on this machine.

The table is data. `settings.json` adds to it or changes it under the key `agents`, an object by agent name:
`{"qwen": {"command": ["qwen", "--acp"], "label": "Qwen Code", "permissionModes": ["default", "yolo"], "environment": {}}}`;
all but `command` may be left out, and a known agent keeps what the settings do not name. An agent must speak ACP over stdio.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import sys
from collections.abc import Mapping
from typing import Any, Literal

from attrs import evolve, field, frozen

Lack = Literal["not_found", "invalid_configuration"]

CLAUDE_MODES = ("default", "acceptEdits", "auto", "bypassPermissions", "plan")
SANDBOX_MODES = ("default", "read-only", "safe-yolo", "yolo")
OTHER_MODES = (
    "default",
    "plan",
    "acceptEdits",
    "bypassPermissions",
    "yolo",
)  # an agent only the settings know
DEMO = "demo"
PREFERRED = "claude"
_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,39}")


@frozen
class Agent:
    """One agent. The first of `permission_modes` is its default; none: it asks as it likes."""

    name: str  # the wire's flavor
    label: str  # for people
    command: tuple[str, ...]  # program and arguments that make it speak ACP on stdio
    looks_for: tuple[str, ...]  # names the program may have, the preferred one first
    permission_modes: tuple[str, ...] = SANDBOX_MODES
    models: bool = True  # whether a model can be chosen
    efforts: tuple[
        str, ...
    ] = ()  # the settings, by their wire names, that mean its reasoning effort
    program_variable: str | None = None  # environment: where its program is
    arguments_variable: str | None = None  # environment: its arguments, a JSON list
    passed_on: tuple[
        tuple[str, str], ...
    ] = ()  # environment: our variable, the agent's own name for it
    environment: Mapping[str, str] = field(factory=dict, repr=False)
    for_root: Mapping[str, str] = field(factory=dict)  # besides, when we run as root
    problem: str | None = None  # what is wrong with its entry in the settings

    @property
    def session_id_field(self) -> str:
        """The key of the session's metadata that holds the agent's own session id."""
        return f"{self.name}SessionId"

    @property
    def yolo_mode(self) -> str | None:
        """What `--yolo` means for this agent."""
        return next(
            (
                mode
                for mode in ("yolo", "bypassPermissions", "always-proceed")
                if mode in self.permission_modes
            ),
            None,
        )

    def availability(self, environ: Mapping[str, str] = os.environ) -> Lack | None:
        """Why it cannot be started here, None when it can. Looks at PATH anew each time."""
        if self.problem is not None or (
            self.arguments_variable and _arguments(environ, self.arguments_variable) is None
        ):
            return "invalid_configuration"
        return None if self.resolved(environ) is not None else "not_found"

    def resolved(self, environ: Mapping[str, str] = os.environ) -> tuple[str, ...] | None:
        """Its command with the program's full path; None when there is no such program."""
        if self.name == DEMO and not self.looks_for:
            return self.command
        named = environ.get(self.program_variable or "", "")
        arguments = self.command[1:]
        if self.arguments_variable and self.arguments_variable in environ:
            arguments = _arguments(environ, self.arguments_variable) or ()
        for program in (named,) if named else self.looks_for:
            found = shutil.which(os.path.expanduser(program), path=environ.get("PATH"))
            if found is not None:
                return (found, *arguments)
        return None

    def environment_for(self, environ: Mapping[str, str], root: bool) -> dict[str, str]:
        """What its process needs beside `environ`; what the user has set wins."""
        wanted = {theirs: environ[ours] for ours, theirs in self.passed_on if environ.get(ours)}
        wanted |= {name: value for name, value in self.for_root.items() if root}
        return {name: value for name, value in wanted.items() if name not in environ} | dict(
            self.environment
        )


def _acp(name: str, label: str, *command: str, also: tuple[str, ...] = (), **more: Any) -> Agent:
    return Agent(name, label, command, (command[0], *also), **more)


BUILT_IN: Mapping[str, Agent] = {
    agent.name: agent
    for agent in (
        _acp(
            "claude",
            "Claude",
            "claude-agent-acp",  # npm: @agentclientprotocol/claude-agent-acp, formerly @zed-industries/claude-code-acp
            also=("claude-code-acp",),
            permission_modes=CLAUDE_MODES,
            efforts=("effort",),
            passed_on=(("HAPI_CLAUDE_PATH", "CLAUDE_CODE_EXECUTABLE"),),
            for_root={
                "IS_SANDBOX": "1"
            },  # Claude Code refuses to bypass permissions as root without it
        ),
        _acp("codex", "Codex", "codex-acp", efforts=("modelReasoningEffort",)),
        _acp(
            "opencode",
            "OpenCode",
            "opencode",
            "acp",
            permission_modes=("default", "plan", "yolo"),
            efforts=("modelReasoningEffort",),
        ),
        _acp("gemini", "Gemini", "gemini", "--experimental-acp"),
        _acp(
            "cursor",
            "Cursor",
            "cursor-agent",
            "acp",
            also=("agent",),
            permission_modes=("default", "plan", "ask", "debug", "autoReview", "yolo"),
        ),
        _acp(
            "copilot", "Copilot", "copilot", "--acp", "--stdio", program_variable="COPILOT_CLI_PATH"
        ),
        _acp("kimi", "Kimi", "kimi", "acp"),
        _acp(
            "grok",
            "Grok",
            "grok",
            "agent",
            "stdio",
            permission_modes=("default", "auto", "plan", "bypassPermissions"),
            efforts=("effort",),
        ),
        _acp(
            "dsh",
            "dsh",
            "dsh-acp-demo",
            permission_modes=(),
            models=False,
            program_variable="HAPI_DSH_ACP_COMMAND",
            arguments_variable="HAPI_DSH_ACP_ARGS_JSON",
        ),
        _acp("pi", "Pi", "pi-acp", permission_modes=(), efforts=("effort",)),
        Agent(
            DEMO,
            "Demo",
            (sys.executable, "-P", "-m", "hapi.session.demo.agent"),
            (),
            OTHER_MODES,
            models=True,
        ),
    )
}


def agents(
    settings: Mapping[str, Any], environ: Mapping[str, str] = os.environ
) -> dict[str, Agent]:
    """All agents by name: the built-in ones and those of the settings. An entry that makes no sense has a `problem`."""
    found = dict(BUILT_IN)
    added = settings.get("agents")
    for name, entry in added.items() if isinstance(added, Mapping) else ():
        if isinstance(name, str) and _NAME.fullmatch(name):
            found[name] = _from_settings(name, entry, found.get(name))
    return found


def default_agent(settings: Mapping[str, Any], environ: Mapping[str, str] = os.environ) -> str:
    """What plain `hapi` starts: the setting `defaultAgent`, else claude where there is one, else the demo agent."""
    named = settings.get("defaultAgent")
    if isinstance(named, str) and named:
        return named
    return PREFERRED if BUILT_IN[PREFERRED].availability(environ) is None else DEMO


def _from_settings(name: str, entry: Any, known: Agent | None) -> Agent:
    agent = known or Agent(name, name.capitalize(), (), (), OTHER_MODES)
    if not isinstance(entry, Mapping):
        return evolve(agent, problem=f"agents.{name} in settings.json must be an object")
    command = entry.get("command", None if known is None else known.command)
    if isinstance(command, str):
        try:
            command = shlex.split(command)
        except ValueError as error:
            return evolve(agent, problem=f"agents.{name}.command in settings.json: {error}")
    if not _texts(command) or not command:
        return evolve(
            agent,
            problem=f"agents.{name}.command in settings.json must be a text or a list of texts",
        )
    modes = entry.get("permissionModes", agent.permission_modes)
    environment = entry.get("environment", agent.environment)
    if not _texts(modes):
        return evolve(
            agent, problem=f"agents.{name}.permissionModes in settings.json must be a list of texts"
        )
    if not isinstance(environment, Mapping) or not _texts(list(environment.values())):
        return evolve(
            agent, problem=f"agents.{name}.environment in settings.json must be an object of texts"
        )
    label = entry.get("label")
    own_command = "command" in entry
    return evolve(
        agent,
        label=label if isinstance(label, str) and label else agent.label,
        command=tuple(command),
        looks_for=(command[0],) if own_command else agent.looks_for,
        program_variable=None if own_command else agent.program_variable,
        arguments_variable=None if own_command else agent.arguments_variable,
        permission_modes=tuple(modes),
        environment=dict(environment),
    )


def _texts(value: Any) -> bool:
    return isinstance(value, list | tuple) and all(isinstance(item, str) for item in value)


def _arguments(environ: Mapping[str, str], variable: str) -> tuple[str, ...] | None:
    """The JSON list in `variable`, () when it is not set, None when it is no list of texts."""
    try:
        found = json.loads(environ.get(variable) or "[]")
    except ValueError:
        return None
    return tuple(found) if _texts(found) else None
