"""A machine as hubs know it: its metadata, the state of its runner, its health.

Keys and rules are those of runner.md §3 and §4.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

from msgspec import UNSET, Meta, Struct, UnsetType

from hapi.protocol.agents import AGENTS, Agent, agent_form

COMPATIBLE_VERSION = "0.30.7"
"""The npm release whose wire protocol we speak; hubs and pages compare it with their own."""

PROTOCOL_VERSION = 1

CAPABILITIES = ("agent-availability", "cursor-chat-store-status", "stop-runner", "runner-handoff")
"""Machine methods that hubs look for; without the first a hub refuses every spawn.

The last one is ours: `stop-runner` of such a runner restarts it, whether it is supervised or not.
"""

ShutdownSource = Literal["os-signal", "hapi-cli", "hapi-app", "exception"]


class MachineMetadata(Struct, frozen=True, rename="camel"):
    """A runner's description of its machine. Readers ignore unknown keys."""

    host: str
    platform: str
    happy_cli_version: str
    home_dir: str
    happy_home_dir: str
    happy_lib_dir: str
    supervised_restart: bool
    capabilities: tuple[str, ...] = CAPABILITIES
    workspace_roots: tuple[str, ...] | UnsetType = UNSET


class MachineHealth(Struct, frozen=True, rename="camel", forbid_unknown_fields=True):
    """The load of the machine, sent with every keep-alive. Hubs drop it if a key is unknown."""

    collected_at: Annotated[int, Meta(ge=0)]
    cpu_count: Annotated[int, Meta(gt=0)]
    uptime_seconds: Annotated[int, Meta(ge=0)] | UnsetType = UNSET
    load1m: Annotated[float, Meta(ge=0)] | UnsetType = UNSET
    cpu_percent: Annotated[int, Meta(ge=0, le=100)] | UnsetType = UNSET
    memory_percent: Annotated[int, Meta(ge=0, le=100)] | UnsetType = UNSET


def runner_capabilities(agents: Sequence[Agent] = ()) -> dict[str, Any]:
    """`runnerState.capabilities`; without `piExistingSessionResume` hubs do not resume Pi sessions.

    `agents`: those that only this machine knows; hubs learn their names from here.
    """
    listed = [*(agent for agent in AGENTS.values() if agent.form), *agents]
    return {
        "codexSharedRuntime": True,
        "piExistingSessionResume": True,
        "agentConfigs": [agent_form(agent) for agent in listed],
    }


SHUTDOWN_KEYS = ("shutdownRequestedAt", "shutdownSource")


class RunnerFacts(Struct, frozen=True, rename="camel"):
    """What one run of the runner reports of itself in `runnerState`."""

    pid: int
    http_port: int
    started_at: int  # epoch milliseconds
    capabilities: Mapping[str, Any]

    def offline(self) -> dict[str, Any]:
        """For the registration over REST, before there is a link."""
        return {"status": "offline"} | self._own()

    def running(self, stored: object) -> dict[str, Any]:
        """The state after a connect: the stored one, our facts, and no trace of a shutdown."""
        kept = dict(stored) if isinstance(stored, Mapping) else {}
        for key in SHUTDOWN_KEYS:
            kept.pop(key, None)
        return kept | {"status": "running"} | self._own()

    def leaving(self, stored: object, source: ShutdownSource, now: int) -> dict[str, Any]:
        return self.running(stored) | {
            "status": "shutting-down",
            "shutdownRequestedAt": now,
            "shutdownSource": source,
        }

    def _own(self) -> dict[str, Any]:
        facts = {"pid": self.pid, "httpPort": self.http_port, "startedAt": self.started_at}
        return facts | {"capabilities": dict(self.capabilities)}


def spawn_error(
    message: str,
    at: int,
    pid: int | None = None,
    exit_code: int | None = None,
    signal: str | None = None,
) -> dict[str, Any]:
    """`runnerState.lastSpawnError` after a failed start; `at` in epoch milliseconds."""
    known = {} if pid is None else {"pid": pid}
    return {"message": message} | known | {"exitCode": exit_code, "signal": signal, "at": at}


def with_roots(stored: object, roots: Sequence[str] | None) -> dict[str, Any]:
    """The stored machine metadata with other workspace roots; without the key if there are none."""
    kept = dict(stored) if isinstance(stored, Mapping) else {}
    kept.pop("workspaceRoots", None)
    return kept | ({"workspaceRoots": list(roots)} if roots else {})
