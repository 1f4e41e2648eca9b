"""Replies about the hub itself: whether it is ready, its settings and its state."""

from __future__ import annotations

from typing import Literal, NotRequired, TypedDict


class Health(TypedDict):
    status: str
    protocolVersion: int
    capabilities: dict[str, bool]


class Ready(TypedDict):
    status: Literal["ready"]


class NotReady(TypedDict):
    """The hub answers, and cannot store anything."""

    status: Literal["not ready"]
    error: str
    requestId: NotRequired[str]


class HubSettingsReply(TypedDict):
    sessionSummaryContract: bool
    sessionSummaryInChat: bool


class MachineCounts(TypedDict):
    total: int
    online: int


class DatabaseSizes(TypedDict):
    """Bytes, null while the database cannot be read. `freeBytes` are filled before the file
    grows.
    """

    usedBytes: int | None
    freeBytes: int | None


# `joining`: about to serve beside the others.
HubRole = Literal["active", "standby", "joining"]


class HubOfDatabase(TypedDict):
    """A hub of a database that several hubs share. Times by the clock of the database. `since`:
    when it began to serve, or while it does not, to wait. `isUp`: it has given a sign of life in
    the last seconds. `isDraining`: it is about to stop. `problems`: sentences that tell what keeps
    other hubs from reaching it, as an active hub that shares the database has found out.
    """

    id: str
    name: str
    url: str
    version: str
    role: HubRole
    since: int
    seenAt: int
    isUp: bool
    isDraining: bool
    problems: NotRequired[list[str]]


class HubStatusReply(TypedDict):
    """`sessions` are counts by state, `sockets` those of runners and sessions, `eventStreams` those
    of pages. `ready` is what `/ready` tells, `problem` why the hub is not. `role` and `hubs` are
    those of a database that several hubs share, `hubsAge` the seconds since they were read.
    """

    version: str
    pid: int
    ready: bool
    problem: str | None
    startedAt: int
    uptimeSeconds: float
    sessions: dict[str, int]
    machines: MachineCounts
    sockets: int
    eventStreams: int
    database: DatabaseSizes
    role: NotRequired[HubRole]
    hubs: NotRequired[list[HubOfDatabase]]
    hubsAge: NotRequired[float]


class StorageReply(TypedDict):
    """The files of the hub's database, in bytes."""

    path: str
    databaseBytes: int
    walBytes: int
    shmBytes: int
    totalBytes: int
