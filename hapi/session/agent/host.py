"""The agent host: starts the agent's process and its driver, again after each exit."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import Any

from attrs import define, field
from twisted.logger import Logger

from hapi.configured_agents import agent_environment, resolve_command
from hapi.deferreds import run_in_background
from hapi.protocol.agents import Agent
from hapi.session.agent.authentication import Credentials
from hapi.session.agent.driver import AgentSessionError, Driver
from hapi.session.agent.jsonrpc_peer import AgentExited
from hapi.session.agent.noise import AgentNoise
from hapi.session.agent.process import AgentProcess, environment_of_agent
from hapi.session.agent.turns import Turns


@define(eq=False, repr=False)
class AgentHost:
    """`own_group`: keep the terminal's Ctrl+C from the agent. `errors` receives its stderr.

    `noise` keeps what it writes on its standard output besides messages.
    """

    _reactor: Any
    _agent: Agent
    _cwd: str
    _environ: Mapping[str, str] = field(repr=False)
    _own_group: bool = False
    _errors: Callable[[bytes], object] = field(default=lambda data: None)
    noise: AgentNoise = field(factory=AgentNoise)  # of all starts
    mcp_servers: Callable[[], list[dict[str, Any]]] = list  # offered to the agent at each start
    arguments: tuple[str, ...] = ()  # for the agent's program, after those of its command
    starts: int = 0
    chosen_login: str | None = None  # the id of the method to log in by at the next start
    _process: AgentProcess | None = None
    log = Logger()

    async def open(
        self,
        session_id: str,
        resume: str | None,
        fork: bool,
        turns: Turns,
        gone: Callable[[str, int | None], object],
    ) -> Driver:
        """Start the agent and open its session.

        `gone` is called with how the process ended. Raises AgentSessionError, AgentExited,
        AgentTimeout.
        """
        self.starts += 1
        await (
            self.end()
        )  # what an agent that died has left running must not work beside the new one
        argv = resolve_command(self._agent, self._environ)
        if argv is None:
            raise AgentSessionError(f"{self._agent.programs[0]} is not installed or is not on PATH")
        more = agent_environment(self._agent, self._environ, os.geteuid() == 0)
        environment = environment_of_agent(self._environ, session_id, {**more, "PWD": self._cwd})
        process = self._process = AgentProcess(
            self._reactor, self._agent.label, self._errors, noise=self.noise
        )
        chosen, self.chosen_login = self.chosen_login, None
        driver = Driver(
            process.peer,
            turns.updated,
            turns.request_permission,
            turns.questions,
            Credentials(environment, self._agent.auth_method, chosen),
        )
        driver.mcp_servers = self.mcp_servers()
        try:
            process.start((*argv, *self.arguments), self._cwd, environment, self._own_group)
        except OSError as error:
            raise AgentSessionError(f"{argv[0]}: {error.strerror or error}") from error
        try:
            await driver.open(self._cwd, resume, fork)
        except AgentExited:
            raise
        except Exception:
            await process.end()
            raise
        process.exited.when_fired().addCallback(lambda words: gone(words, process.exit_code))
        return driver

    async def has_background_commands(self, since: float) -> bool:
        """Whether a command that the agent started after `since` (epoch seconds) still runs."""
        return self._process is not None and await self._process.has_background_commands(since)

    def last_words(self) -> str | None:
        """What the agent wrote last besides messages: where to log in, what it waits for."""
        return None if self._process is None else self._process.last_words()

    @property
    def command(self) -> tuple[str, ...]:
        """The command of the agent, () if it is not installed."""
        return resolve_command(self._agent, self._environ) or ()

    def end_soon(self) -> None:
        run_in_background(self.end(), self.log, "The agent could not be ended")

    async def end(self) -> None:
        """End the process, if it runs, with everything that it has started."""
        if self._process is not None:
            await self._process.end()
