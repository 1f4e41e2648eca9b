"""Replies about machines, their agents and what is started on them."""

from __future__ import annotations

from typing import Any, Literal, NotRequired, TypedDict

from hapi.protocol.rest.entity import Entity


class Machine(Entity, total=False):
    namespace: str
    seq: int
    createdAt: int
    thinking: bool  # of a row that cannot be read
    runnerState: dict[str, Any] | None
    runnerStateVersion: int
    health: Any


class MachineList(TypedDict):
    machines: list[Machine]


class MachineReply(TypedDict):
    machine: Machine


class AgentCatalog(TypedDict):
    agents: list[dict[str, Any]]
    generic: dict[str, Any]
    permissionModes: list[dict[str, Any]]


class SpawnReply(TypedDict):
    """What came of a start; the status is 200 in both cases."""

    type: Literal["success", "error"]
    sessionId: NotRequired[str]
    message: NotRequired[str]
    code: NotRequired[str]
    agent: NotRequired[str]


class PathsReply(TypedDict):
    exists: dict[str, Any]


class AgentAvailability(TypedDict):
    agent: str
    available: NotRequired[bool]


class AvailabilityReply(TypedDict):
    agents: list[AgentAvailability]


class RestartReply(TypedDict):
    message: str
