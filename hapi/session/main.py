"""The program `hapi AGENT`: reads its arguments, registers early, and loads the rest meanwhile."""

from __future__ import annotations

import os
import signal
import sys
import time
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hapi.configured_agents import (
    configured_agents,
    default_agent,
    own_program_path,
    unavailable_reason,
)
from hapi.home import Home
from hapi.idle_limit import read_idle_limit
from hapi.protocol.agents import Agent
from hapi.protocol.offer.metadata import offered_ids
from hapi.protocol.session import Mode
from hapi.protocol.session_metadata import SessionFacts, take_over_metadata, worktree_of
from hapi.redaction import escape_control
from hapi.remembered_offers import mode_refusal, remembered_offer
from hapi.session.startup.command_line import (
    Arguments,
    WrongUsage,
    initial_mode,
    read_arguments,
    usage_text,
)
from hapi.session.startup.early_registration import (
    EarlyRegistration,
    RegistrationPlan,
    control_port,
)
from hapi.session.startup.session_lock import SessionHeld, SessionLock
from hapi.session.startup.starting_mode import read_starting_mode
from hapi.settings import HubAccess, hub_access, machine_id, read_settings
from hapi.startup import (
    block_unused_imports,
    import_twisted_core,
    lighter_libraries,
    quick_thread_switches,
)
from hapi.switches import read_git_actions, read_terminal

WRONG_USAGE, FAILED = 2, 1


def run(argv: list[str], environ: Mapping[str, str]) -> int:
    """Run a session until it ends; returns the exit code. `argv`: the words after `hapi`.

    Errors of home, settings or token are raised; `hapi.cli.base.errors` has their sentences and
    exit codes.
    """
    home = Home.find(environ).prepare()
    settings = read_settings(home)
    known = configured_agents(settings)
    try:
        arguments = read_arguments(argv, known, default_agent(settings, environ))
        agent = known.get(arguments.agent)
        if agent is None:
            raise WrongUsage(
                f"defaultAgent in settings.json is {arguments.agent!r}, but there is no such agent"
                f" (agents: {', '.join(known)})"
            )
        if arguments.help:
            print(usage_text(known, _mode_names(agent, home, environ)))
            return 0
        if arguments.starting_mode == "local" and agent.own_program is None:
            raise WrongUsage(
                f"{agent.label} has no program of its own for the terminal; leave out --local"
            )
        mode = initial_mode(arguments, agent.unrestricted_mode)
        if mode is not None and not arguments.continues:
            offer = remembered_offer(home, agent, environ)
            if (refused := mode_refusal(agent, mode, offer)) is not None:
                raise WrongUsage(refused)
    except WrongUsage as problem:
        print(f"hapi: {problem}", file=sys.stderr)
        return WRONG_USAGE
    starting_mode = _starting_mode(agent, arguments, environ, settings)
    if (problem_text := _unavailable(agent, environ, starting_mode)) is not None:
        print(f"hapi: {problem_text}", file=sys.stderr)
        return FAILED
    access = hub_access(environ, settings)
    idle_limit = read_idle_limit(environ, settings, arguments.idle_agent)
    git_actions = read_git_actions(environ, settings)
    terminal = read_terminal(environ, settings, has_roots=bool(settings.get("workspaceRoots")))
    try:
        facts = facts_of(arguments, home, environ, machine_id(home), terminal)
    except FileNotFoundError:
        print("hapi: the current directory no longer exists", file=sys.stderr)
        return FAILED
    early = EarlySignals()
    lock = SessionLock(home)
    if arguments.existing_session_id is not None:
        try:
            lock.wait(arguments.existing_session_id, lambda: early.noted)
        except SessionHeld as problem:
            print(f"hapi: {escape_control(problem)}", file=sys.stderr)
            return FAILED
    plan = first_plan(arguments, access, facts, home)
    with quick_thread_switches(), lighter_libraries():
        registration = EarlyRegistration(plan).begin()
        block_unused_imports(access.url)
        import_twisted_core()
        from hapi.session.process import SessionProcess

    process = SessionProcess(
        agent,
        arguments,
        facts,
        mode,
        home,
        dict(environ),
        access,
        settings,
        plan,
        registration,
        early.noted,
        idle_limit,
        git_actions,
        lock,
        starting_mode,
    )
    try:
        return process.main()
    finally:
        lock.release()


def _mode_names(agent: Agent, home: Home, environ: Mapping[str, str]) -> list[str]:
    """The permission modes as far as they are known before the agent runs."""
    known = offered_ids(remembered_offer(home, agent, environ), "modes")
    return list(agent.permission_modes) if known is None else known


def _starting_mode(
    agent: Agent, arguments: Arguments, environ: Mapping[str, str], settings: Mapping[str, Any]
) -> Mode:
    """The mode to begin in. Only a terminal can be given to a program."""
    has_terminal = not arguments.by_runner and os.isatty(0) and os.isatty(1)
    wanted = arguments.starting_mode or read_starting_mode(environ, settings)
    is_local = wanted == "local" and has_terminal and agent.own_program is not None
    return "local" if is_local else "remote"


def _unavailable(agent: Agent, environ: Mapping[str, str], mode: Mode) -> str | None:
    """The sentence for an agent that cannot be started here, None if it can."""
    if mode == "local" and agent.own_program is not None:
        if own_program_path(agent, environ) is not None:
            return None
        programs = " or ".join(agent.own_program.programs)
        return f"{agent.label} is not installed: there is no program {programs} on PATH"
    match unavailable_reason(agent, environ):
        case "not_found":
            programs = " or ".join(agent.programs)
            return f"{agent.label} is not installed: there is no program {programs} on PATH"
        case "invalid_configuration":
            return agent.configuration_error or (
                f"{agent.label} is not configured correctly:"
                f" {agent.arguments_variable} must be a JSON list of strings"
            )
    return None


def facts_of(
    arguments: Arguments,
    home: Home,
    environ: Mapping[str, str],
    machine: str,
    terminal: bool = False,
) -> SessionFacts:
    """Raises FileNotFoundError when the current directory is gone."""
    system = os.uname()
    return SessionFacts(
        path=os.getcwd(),
        host=environ.get("HAPI_HOSTNAME") or system.nodename,
        os="darwin" if system.sysname == "Darwin" else "linux",
        machine_id=machine,
        home_dir=os.path.expanduser("~"),
        hapi_home=str(home.path),
        library=str(Path(__file__).parents[1]),
        pid=os.getpid(),
        started_by="runner" if arguments.by_runner else "terminal",
        flavor=arguments.agent,
        now=int(time.time() * 1000),
        worktree=worktree_of(environ),
        terminal=terminal,
    )


def first_plan(
    arguments: Arguments, access: HubAccess, facts: SessionFacts, home: Home
) -> RegistrationPlan:
    """The plan of the early registration at hub and runner."""
    metadata, existing = facts.metadata(), arguments.existing_session_id

    def announcement(row: dict[str, Any]) -> dict[str, Any]:
        row_metadata = take_over_metadata(metadata, row.get("metadata")) if existing else metadata
        return {"sessionId": row.get("id"), "metadata": row_metadata}

    body = None
    if existing is None:
        asked = {
            "model": arguments.model,
            "modelReasoningEffort": arguments.model_reasoning_effort,
            "effort": arguments.effort,
        }
        chosen = {name: value for name, value in asked.items() if value}
        body = {
            "tag": str(uuid.uuid4()),
            "metadata": metadata,
            "agentState": {"controlledByUser": False},
            **chosen,
        }
    return RegistrationPlan(
        access, facts.machine(), body, existing, announcement, control_port(home)
    )


class EarlySignals:
    """Keeps signals that arrive before there is a session to end."""

    def __init__(self) -> None:
        self.noted: list[int] = []
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda signal_number, frame: self.noted.append(signal_number))
