"""What `hapi doctor --agents` finds out by starting each agent that is found."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred, DeferredList
from twisted.python.failure import Failure

from hapi.cli.base.agent_summary import detect_agents
from hapi.cli.checks.check import Check
from hapi.configured_agents import agent_environment, configured_agents, resolve_command
from hapi.protocol.acp.authentication import login_command, methods_without_a_person
from hapi.protocol.agents import Agent
from hapi.session.agent.authentication import Credentials
from hapi.session.agent.driver import (
    AgentExited,
    AgentSessionError,
    AgentTimeout,
    Driver,
    LoginRequired,
)
from hapi.session.agent.process import AgentProcess, environment_of_agent

AGENT_TIMEOUT = 60.0  # seconds for one agent; some load plug-ins and models before they answer
MAX_REASON = 300  # characters of an agent's words


async def check_agents_by_starting(
    reactor: Any, settings: Mapping[str, Any], environ: Mapping[str, str]
) -> list[Check]:
    """Start every agent that is found, all at once, each in an empty directory of its own.

    Nobody is logged in, so that nothing changes for the agents.
    """
    known = configured_agents(settings)
    available, _ = detect_agents(settings, environ)
    agents = [known[name] for name in available]
    started = [Deferred.fromCoroutine(_check_agent(reactor, agent, environ)) for agent in agents]
    for checking, agent in zip(started, agents, strict=True):
        checking.addErrback(_unexpected, agent)
    return [finding for _, finding in await DeferredList(started)]


def _unexpected(failure: Failure, agent: Agent) -> Check:
    return Check(agent.name, "note", f"{agent.label}: {failure.getErrorMessage()}")


async def _check_agent(reactor: Any, agent: Agent, environ: Mapping[str, str]) -> Check:
    argv = resolve_command(agent, environ)
    if argv is None:
        return Check(agent.name, "note", f"{agent.label} is not installed")
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="hapi-doctor-", ignore_cleanup_errors=True) as place:
        process = AgentProcess(reactor, agent.label)
        driver = Driver(process.peer, lambda update: None, _refuse)
        driver.credentials = Credentials(is_automatic=False)
        more = agent_environment(agent, environ, os.geteuid() == 0)
        environment = environment_of_agent(environ, "doctor", {**more, "PWD": place})
        try:
            process.start(argv, str(Path(place)), environment, True)
            await Deferred.fromCoroutine(driver.open(place, None)).addTimeout(
                AGENT_TIMEOUT, reactor
            )
        except LoginRequired as problem:
            automatic = methods_without_a_person(problem.methods, environment, agent.auth_method)
            if automatic:
                text = f"{_named(agent, driver)}: sessions log in by “{automatic[0].name}”"
                return Check(agent.name, "good", text)
            return Check(agent.name, "note", _login_needed(agent, driver, argv, problem))
        except Exception as problem:
            return Check(agent.name, "note", _failure(agent, driver, problem))
        finally:
            await process.end()
        seconds = time.monotonic() - began
    return Check(agent.name, "good", f"{_named(agent, driver)} opened a session in {seconds:.1f} s")


async def _refuse(request: object) -> dict[str, Any]:
    """Nothing is allowed to an agent that only opens a session."""
    return {"outcome": {"outcome": "cancelled"}}


def _named(agent: Agent, driver: Driver) -> str:
    found = driver.introduction
    if found is None or found.version is None:
        return agent.label
    return f"{agent.label} ({found.name or agent.programs[0]} {found.version})"


def _login_needed(agent: Agent, driver: Driver, argv: Sequence[str], problem: LoginRequired) -> str:
    commands = [login_command(method, argv) for method in problem.methods]
    command = next(filter(None, commands), agent.login_command)
    ways = ", ".join(method.name for method in problem.methods)
    hint = f": run `{command}`" if command else f" ({ways})" if ways else ""
    return f"{_named(agent, driver)} needs a login{hint}"


def _failure(agent: Agent, driver: Driver, problem: Exception) -> str:
    """Why an agent opened no session, in a sentence."""
    name, reason = _named(agent, driver), str(problem)[:MAX_REASON]
    match problem:
        case AgentSessionError() | AgentTimeout():
            return f"{name} opens no session: {reason}"
        case AgentExited():
            return reason
        case OSError():
            return f"{name} cannot be started: {problem.strerror or problem}"
        case _:
            return f"{name} opened no session within {AGENT_TIMEOUT:g} s"
