"""Which agents this machine can run: `agent-availability`, and the check before a spawn."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Mapping
from typing import Any

from attrs import define

from hapi.agents import Agent, agents
from hapi.protocol.machine import agent_config
from hapi.protocol.spawn import RefusalCode, SpawnRefused
from hapi.runner.config.options import RunnerOptions

ORDER = (
    "agy",
    "claude",
    "codex",
    "dsh",
    "copilot",
    "cursor",
    "grok",
    "kimi",
    "opencode",
    "pi",
)  # as npm lists them

KNOWN = frozenset({*ORDER, "gemini"})  # the names npm's hub accepts

PROGRAMS = {
    "cursor": "agent",
    "dsh": "dsh-acp-demo",
}  # where npm's sessions look for another name than the agent's
OVERRIDES = {
    "claude": "HAPI_CLAUDE_PATH",
    "copilot": "COPILOT_CLI_PATH",
    "dsh": "HAPI_DSH_ACP_COMMAND",
}

Reason = str  # not_found | invalid_configuration


def npm_unavailable_reason(agent: str, environ: Mapping[str, str]) -> Reason | None:
    """Why npm's session program could not run `agent` here, None when it can (runner.md §14)."""
    if agent not in ORDER:
        return "not_found"
    if agent == "dsh" and not _is_list(environ.get("HAPI_DSH_ACP_ARGS_JSON")):
        return "invalid_configuration"
    server = environ.get("HAPI_CODEX_APP_SERVER_BIN") if agent == "codex" else None
    if server:
        return None if _runs(server, environ) else "invalid_configuration"
    named = environ.get(OVERRIDES.get(agent, ""), "")
    return None if _runs(named or PROGRAMS.get(agent, agent), environ) else "not_found"


def _is_list(text: str | None) -> bool:
    try:
        found = json.loads(text or "[]")
    except ValueError:
        return False
    return isinstance(found, list) and all(isinstance(item, str) for item in found)


def _runs(program: str, environ: Mapping[str, str]) -> bool:
    return shutil.which(os.path.expanduser(program), path=environ.get("PATH")) is not None


@define
class AgentAvailability:
    """Asked anew each time: agents are installed and removed while a runner runs."""

    _reason: Callable[[str], Reason | None]
    _table: Callable[[], Mapping[str, Agent | None]]

    @classmethod
    def of(cls, options: RunnerOptions) -> AgentAvailability:
        """For our own sessions the table of agents decides, for npm's what they would look for."""
        if not options.own_sessions:
            return cls(
                lambda agent: npm_unavailable_reason(agent, options.environ),
                lambda: dict.fromkeys(ORDER),
            )

        def table() -> Mapping[str, Agent]:
            return agents(options.settings, options.environ)

        def reason(agent: str) -> Reason | None:
            found = table().get(agent)
            return "not_found" if found is None else found.availability(options.environ)

        return cls(reason, table)

    def extra_configs(self) -> list[dict[str, Any]]:
        """`agentConfigs` of the agents that only this package knows: hubs learn their names from there."""
        return [
            agent_config(name, bool(agent.permission_modes))
            for name, agent in self._table().items()
            if agent is not None and name not in KNOWN
        ]

    def response(self, params: object = None) -> dict[str, Any]:
        """The result of `agent-availability`. npm's hub takes no agent it has no name for: those are for a caller of `all`."""
        names = list(self._table())
        if not (isinstance(params, Mapping) and params.get("all") is True):
            names = [name for name in names if name in KNOWN]
        listed = []
        for agent in [
            *(name for name in ORDER if name in names),
            *(name for name in names if name not in ORDER),
        ]:
            reason = self._reason(agent)
            listed.append(
                {"agent": agent, "available": reason is None}
                | ({"reason": reason} if reason else {})
            )
        return {"agents": listed}

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
