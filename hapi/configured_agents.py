"""The coding agents of this machine.

The table is `hapi.protocol.agents`. `settings.json` adds agents or changes known ones under the key
`agents`, an object by agent name, e.g. `{"qwen": {"command": ["qwen", "--acp"], "label": "Qwen
Code", "permissionModes": ["default", "yolo"], "environment": {}, "authMethod": "openai",
"loginCommand": "qwen"}}`. Everything but `command` is optional, and a known agent keeps what its
entry leaves out. An agent must speak ACP over stdio.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
from collections.abc import Mapping
from typing import Any, Literal

from attrs import evolve

from hapi.protocol.agents import AGENTS, DEFAULT_AGENT, DEMO, Agent, agent_named

UnavailableReason = Literal["not_found", "invalid_configuration"]

BUILT_IN: Mapping[str, Agent] = {name: agent for name, agent in AGENTS.items() if agent.command}
_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,39}")


def configured_agents(settings: Mapping[str, Any]) -> dict[str, Agent]:
    """All agents by name: the built-in ones and those of `settings`.

    An agent whose entry cannot be used has a `configuration_error`.
    """
    found = dict(BUILT_IN)
    entries = settings.get("agents")
    for name, entry in entries.items() if isinstance(entries, Mapping) else ():
        if isinstance(name, str) and _NAME.fullmatch(name):
            found[name] = _configured(agent_named(name), entry)
    return found


def default_agent(settings: Mapping[str, Any], environ: Mapping[str, str] = os.environ) -> str:
    """The agent that plain `hapi` starts.

    It is the setting `defaultAgent`, else claude if it is installed, else the demo agent.
    """
    named = settings.get("defaultAgent")
    if isinstance(named, str) and named:
        return named
    is_installed = unavailable_reason(BUILT_IN[DEFAULT_AGENT], environ) is None
    return DEFAULT_AGENT if is_installed else DEMO


def unavailable_reason(
    agent: Agent, environ: Mapping[str, str] = os.environ
) -> UnavailableReason | None:
    """Why `agent` cannot be started here, None if it can. Searches PATH at each call."""
    if agent.configuration_error is not None or (
        agent.arguments_variable and _arguments(environ, agent.arguments_variable) is None
    ):
        return "invalid_configuration"
    return None if resolve_command(agent, environ) is not None else "not_found"


def resolve_command(
    agent: Agent, environ: Mapping[str, str] = os.environ
) -> tuple[str, ...] | None:
    """The command of `agent` with the program's full path; None if there is no such program."""
    if agent.name == DEMO and not agent.programs:
        return agent.command
    named = environ.get(agent.program_variable or "", "")
    arguments = agent.command[1:]
    if agent.arguments_variable and agent.arguments_variable in environ:
        arguments = _arguments(environ, agent.arguments_variable) or ()
    for program in (named,) if named else agent.programs:
        found = shutil.which(os.path.expanduser(program), path=environ.get("PATH"))
        if found is not None:
            return (found, *arguments)
    return None


def own_program_path(agent: Agent, environ: Mapping[str, str] = os.environ) -> str | None:
    """The agent's own program, for local mode; None if there is none here."""
    own = agent.own_program
    if own is None:
        return None
    named = environ.get(own.variable or "", "")
    for program in (named,) if named else own.programs:
        found = shutil.which(os.path.expanduser(program), path=environ.get("PATH"))
        if found is not None:
            return found
    return None


def agent_environment(agent: Agent, environ: Mapping[str, str], is_root: bool) -> dict[str, str]:
    """The variables that the process of `agent` needs besides `environ`, which takes precedence."""
    wanted = {
        theirs: environ[ours] for ours, theirs in agent.forwarded_variables if environ.get(ours)
    }
    if is_root:
        wanted |= agent.root_environment
    missing = {name: value for name, value in wanted.items() if name not in environ}
    return missing | dict(agent.environment)


def _configured(agent: Agent, entry: Any) -> Agent:
    """`agent` with the changes of its entry in `settings.json`."""
    key = f"agents.{agent.name}"

    def invalid(part: str, requirement: str) -> Agent:
        return evolve(agent, configuration_error=f"{key}{part} in settings.json{requirement}")

    if not isinstance(entry, Mapping):
        return invalid("", " must be an object")
    command = entry.get("command", agent.command)
    if isinstance(command, str):
        try:
            command = shlex.split(command)
        except ValueError as error:
            return invalid(".command", f": {error}")
    if not _is_string_list(command) or not command:
        return invalid(".command", " must be a string or a list of strings")
    modes = entry.get("permissionModes", agent.permission_modes)
    if not _is_string_list(modes):
        return invalid(".permissionModes", " must be a list of strings")
    environment = entry.get("environment", agent.environment)
    if not isinstance(environment, Mapping) or not _is_string_list(list(environment.values())):
        return invalid(".environment", " must be an object of strings")
    for name in ("authMethod", "loginCommand"):
        if not isinstance(entry.get(name, ""), str):
            return invalid(f".{name}", " must be a string")
    gets_tools = entry.get("mcp", agent.gets_tools)
    if not isinstance(gets_tools, bool):
        return invalid(".mcp", " must be true or false")
    label = entry.get("label")
    if "command" in entry:
        agent = evolve(
            agent, programs=(command[0],), program_variable=None, arguments_variable=None
        )
    return evolve(
        agent,
        label=label if isinstance(label, str) and label else agent.label,
        command=tuple(command),
        permission_modes=tuple(modes),
        has_fixed_modes="permissionModes" in entry,
        environment=dict(environment),
        auth_method=entry.get("authMethod", agent.auth_method) or None,
        login_command=entry.get("loginCommand", agent.login_command) or None,
        gets_tools=gets_tools,
    )


def _is_string_list(value: Any) -> bool:
    return isinstance(value, list | tuple) and all(isinstance(item, str) for item in value)


def _arguments(environ: Mapping[str, str], variable: str) -> tuple[str, ...] | None:
    """The JSON list in `variable`: () if it is not set, None if it is not a list of strings."""
    try:
        found = json.loads(environ.get(variable) or "[]")
    except ValueError:
        return None
    return tuple(found) if _is_string_list(found) else None
