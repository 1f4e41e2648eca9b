"""The program `python -m hapi.session.offer_inquiry AGENT`: asks an agent what it offers, so that
the machine knows its models and modes before a session of it has run.

It starts the agent in the current directory, opens a session, remembers the offer and ends the
agent. No prompt is sent. A failure is one sentence on standard error.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from typing import Any

from twisted.internet.defer import Deferred, TimeoutError
from twisted.internet.task import react

from hapi.configured_agents import agent_environment, configured_agents, resolve_command
from hapi.home import Home
from hapi.protocol.agents import Agent
from hapi.protocol.offer.metadata import offer_metadata
from hapi.protocol.offer.modes import offered_modes
from hapi.remembered_offers import remember_offer
from hapi.session.agent.authentication import Credentials
from hapi.session.agent.driver import (
    AgentError,
    AgentExited,
    AgentSessionError,
    AgentTimeout,
    Driver,
)
from hapi.session.agent.process import AgentProcess, environment_of_agent
from hapi.settings import read_settings

OPEN_TIMEOUT = 24.0  # seconds; a hub waits 30 for the answer of the machine
PROBLEMS = (AgentSessionError, AgentError, AgentExited, AgentTimeout, TimeoutError, OSError)


async def inquire(reactor: Any, home: Home, agent: Agent, environ: Mapping[str, str]) -> None:
    """Ask `agent` and remember what it offers. Raises PROBLEMS."""
    argv, cwd = resolve_command(agent, environ), os.getcwd()
    if argv is None:
        raise AgentSessionError(f"{agent.label} is not installed or is not on PATH")
    more = agent_environment(agent, environ, os.geteuid() == 0)
    environment = environment_of_agent(environ, "", {**more, "PWD": cwd})
    process = AgentProcess(reactor, agent.label)
    credentials = Credentials(environment, agent.auth_method)
    driver = Driver(process.peer, lambda update: None, _refuse, credentials=credentials)
    process.start(argv, cwd, environment, False)
    try:
        opened = Deferred.fromCoroutine(driver.open(cwd, None))
        await opened.addTimeout(OPEN_TIMEOUT, reactor)
        modes = offered_modes(agent, driver.offer, driver.initial)
        remember_offer(home, agent, environ, offer_metadata(agent, driver.offer, modes, None))
    finally:
        await process.end()


async def _refuse(request: Any) -> dict[str, Any]:
    """The answer to a permission request: nothing is to be done, so nothing is allowed."""
    return {"outcome": {"outcome": "cancelled"}}


async def main(reactor: Any, name: str) -> None:
    home = Home.find(os.environ)
    agent = configured_agents(read_settings(home)).get(name)
    if agent is None:
        sys.exit(f"There is no agent {name}")
    try:
        await inquire(reactor, home, agent, os.environ)
    except TimeoutError:
        sys.exit(f"{agent.label} did not say in {OPEN_TIMEOUT:.0f} seconds what it offers")
    except PROBLEMS as problem:
        sys.exit(f"{agent.label} did not say what it offers: {problem}")


if __name__ == "__main__":
    react(lambda reactor: Deferred.fromCoroutine(main(reactor, sys.argv[1])))
