"""Which agents this machine can run: the RPC `agent-availability`, and the check before a spawn."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Mapping
from typing import Any

from attrs import define, field
from twisted.logger import Logger

from hapi.configured_agents import configured_agents, unavailable_reason
from hapi.home import Home
from hapi.protocol.agents import AGENTS, Agent, agent_named
from hapi.protocol.spawn import RefusalCode, SpawnRefused
from hapi.remembered_offers import Offer, mode_refusal, remembered_offer
from hapi.runner.config.options import RunnerOptions
from hapi.settings import InvalidSettings, read_settings

Reason = str  # not_found | invalid_configuration


def npm_unavailable_reason(name: str, environ: Mapping[str, str]) -> Reason | None:
    """Why npm's session program could not run the agent `name`; None if it could (runner.md
    §14)."""
    agent = agent_named(name)
    if agent.npm_program is None:
        return "not_found"
    if agent.arguments_variable and not _is_list_of_strings(environ.get(agent.arguments_variable)):
        return "invalid_configuration"
    if server := environ.get(agent.npm_server_variable or "", ""):
        return None if _is_executable(server, environ) else "invalid_configuration"
    named = environ.get(agent.npm_program_variable or "", "")
    return None if _is_executable(named or agent.npm_program, environ) else "not_found"


def _is_list_of_strings(text: str | None) -> bool:
    try:
        found = json.loads(text or "[]")
    except ValueError:
        return False
    return isinstance(found, list) and all(isinstance(item, str) for item in found)


def _is_executable(program: str, environ: Mapping[str, str]) -> bool:
    return shutil.which(os.path.expanduser(program), path=environ.get("PATH")) is not None


@define
class CurrentSettings:
    """`settings.json` of a home as it is now, for what is used without a restart or a reload.

    `on_change` is called when the file has changed since it was last read.
    """

    _home: Home
    _settings: Mapping[str, Any]
    _on_change: Callable[[], object]
    _seen: tuple[int, ...] = field(init=False)  # empty: there is no file
    log = Logger()

    def __attrs_post_init__(self) -> None:
        self._seen = self._stamp()

    def read(self) -> Mapping[str, Any]:
        """The settings; those that were read before while the file is invalid."""
        stamp = self._stamp()
        if stamp != self._seen:
            self._seen = stamp
            try:
                self._settings = read_settings(self._home)
            except InvalidSettings as error:
                self.log.error("The agents stay as they were: {reason}", reason=str(error))
            else:
                self._on_change()
        return self._settings

    def _stamp(self) -> tuple[int, ...]:
        try:
            facts = self._home.settings.stat()
        except OSError:
            return ()
        return facts.st_mtime_ns, facts.st_size, facts.st_ino


@define
class AgentAvailability:
    """Nothing is cached: agents are installed and removed while a runner runs."""

    _reason: Callable[[str], Reason | None]
    _table: Callable[[], Mapping[str, Agent]]
    _offer: Callable[[Agent], Offer | None] = field(default=lambda agent: None)

    @classmethod
    def of(
        cls, options: RunnerOptions, on_change: Callable[[], object] = lambda: None
    ) -> AgentAvailability:
        """For sessions of this package the table of agents decides; for npm's, what that program
        would look for.

        `on_change` is called when `settings.json` has changed, and with it perhaps the agents.
        """
        if not options.uses_own_sessions:
            npm = {name: agent for name, agent in AGENTS.items() if agent.npm_program is not None}
            return cls(lambda agent: npm_unavailable_reason(agent, options.environ), lambda: npm)

        settings = CurrentSettings(options.home, options.settings, on_change)

        def table() -> Mapping[str, Agent]:
            return configured_agents(settings.read())

        def reason(name: str) -> Reason | None:
            agent = table().get(name)
            return "not_found" if agent is None else unavailable_reason(agent, options.environ)

        def offer(agent: Agent) -> Offer | None:
            return remembered_offer(options.home, agent, options.environ)

        return cls(reason, table, offer)

    def refresh(self) -> None:
        """Read the settings again if they have changed."""
        self._table()

    def local_agents(self) -> list[Agent]:
        """The agents that npm's hub has no name for; hubs learn of them from the capabilities of
        the machine."""
        return [agent for agent in self._table().values() if not agent.form]

    def response(self, params: object = None) -> dict[str, Any]:
        """The result of `agent-availability`. Agents that npm's hub has no name for are listed
        only if `params` ask for `all`."""
        everything = isinstance(params, Mapping) and params.get("all") is True
        listed = []
        # npm's runner does not list every agent that its hub accepts: the others come last.
        for agent in sorted(self._table().values(), key=lambda agent: agent.npm_program is None):
            if agent.form or everything:
                reason = self._reason(agent.name)
                entry: dict[str, Any] = {"agent": agent.name, "available": reason is None}
                if reason:
                    entry["reason"] = reason
                if everything:
                    entry |= self._description(agent)
                listed.append(entry)
        return {"agents": listed}

    def _description(self, agent: Agent) -> dict[str, Any]:
        """What a form for a new session needs besides: the label, the permission modes of
        `settings.json`, and what the agent offered in its last session here."""
        found: dict[str, Any] = {"label": agent.label}
        if agent.has_fixed_modes:
            found["permissionModes"] = list(agent.permission_modes)
        if (offer := self._offer(agent)) is not None:
            found["offer"] = offer
        return found

    def offer(self, name: str) -> Offer | None:
        """What the agent `name` offered in its last session on this machine."""
        agent = self._table().get(name)
        return None if agent is None else self._offer(agent)

    def mode_refusal(self, name: str, mode: str | None) -> SpawnRefused | None:
        """Why a spawn of the agent `name` in the permission mode `mode` is refused; None when it
        can go on."""
        agent = self._table().get(name)
        if mode is None or agent is None:
            return None
        words = mode_refusal(agent, mode, self._offer(agent))
        return None if words is None else SpawnRefused(words, RefusalCode.UNKNOWN_MODE, name)

    def refusal(self, agent: str) -> SpawnRefused | None:
        """Why a spawn of `agent` is refused, None when it can go on."""
        reason = self._reason(agent)
        if reason is None:
            return None
        words = (
            "is not installed or is not on PATH"
            if reason == "not_found"
            else "is not configured correctly"
        )
        return SpawnRefused(f"{agent} {words}", RefusalCode.AGENT_UNAVAILABLE, agent)
