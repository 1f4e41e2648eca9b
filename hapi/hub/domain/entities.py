"""Sessions and machines of the hub: the stored row of each, and what is known only while the hub
runs.
"""

from __future__ import annotations

import math
from typing import Any

from attrs import define, field, frozen
from twisted.internet.defer import DeferredLock

from hapi.hub.domain.damage import machine_damage, session_damage, shown_requests
from hapi.hub.store.rows import MachineRow, SessionRow
from hapi.protocol.hub import flavor_of, public_metadata

MAX_EVENT_AGE = 10 * 60 * 1000  # ms: of an older event the arrival counts
APPLIED_WINDOW = 10.0  # seconds in which an alive from before a setting was applied may arrive
SESSION_TIMEOUT, MACHINE_TIMEOUT = 30.0, 45.0  # seconds
# Seconds that requests wait for a process that starts: a session registered its methods 1.7 s after
# it was created, and 1.0 s after the start of the hub, on a loaded machine.
START_TIMEOUT, START_POLL_INTERVAL = 5.0, 0.1
# Seconds after the start of the hub in which a process may connect again: it tries now and then.
RECONNECT_TIMEOUT = 15.0
REBROADCAST_INTERVAL = 10.0  # seconds between broadcasts of unchanged alives
THINKING_GRACE = 15.0  # seconds that a session counts as thinking after a prompt


def admissible(time: object, now: int) -> int | None:
    """The time of an alive or an end in ms, at most `now`; None if it is not a time.

    A time that is older than 10 minutes comes from a clock that was put back, or forward here, so
    that the arrival counts: a socket has just brought the event.
    """
    if isinstance(time, bool) or not isinstance(time, (int, float)):
        return None
    if isinstance(time, float) and math.isnan(time):
        return None
    return int(time) if now - MAX_EVENT_AGE <= time < now else now


@define
class HubSettings:
    """Settings that the owner may change while the hub runs."""

    session_summary_contract: bool = False
    session_summary_in_chat: bool = False

    def view(self) -> dict[str, bool]:
        return {
            "sessionSummaryContract": self.session_summary_contract,
            "sessionSummaryInChat": self.session_summary_in_chat,
        }


@frozen(eq=False, repr=False)
class KeptSummary:
    """What the list of sessions shows of a row."""

    row: SessionRow
    rest: bytes  # JSON without its opening brace
    waiting: int  # open permission requests


@define(eq=False, repr=False)
class HubSession:
    row: SessionRow
    active: bool = False
    active_at: int = 0  # ms
    last_seen: float = 0.0  # clock seconds of the last alive
    thinking: bool = False
    thinking_at: int = 0
    turn_started_at: int | None = None
    grace_until: float = 0.0  # clock seconds
    expected_until: float = 0.0  # clock seconds: until then its process may be starting
    registers_until: float = 0.0  # clock seconds: until then it may still register its methods
    returns_until: float = 0.0  # clock seconds: until then its process may connect again
    last_broadcast: float = float("-inf")  # clock seconds of the last broadcast of an alive
    ready: bool = False  # `session-ready` since it became active
    has_queue: bool = True  # there may be prompts waiting for delivery
    # The processes that are connected have been sent everything that waits.
    is_caught_up: bool = False
    # setting -> when REST applied it: ms of the wall clock, seconds of the registry's clock
    applied: dict[str, tuple[int, float]] = field(factory=dict)
    taking: set[str] = field(factory=set)  # local ids of prompts whose consumption is being stored
    # id of a long prompt -> clock seconds of its last delivery to the processes that are connected
    long_prompts_sent: dict[str, float] = field(factory=dict)
    # id of a permission request -> the request as it was when it was answered
    answered: dict[str, Any] = field(factory=dict)
    lock: DeferredLock = field(factory=DeferredLock)  # serializes the work on the session
    reported_damage: tuple[str, ...] = ()  # what has been logged
    _damage: tuple[SessionRow | None, tuple[str, ...]] = (None, ())  # of the row that was checked
    kept_summary: KeptSummary | None = None  # of `row`, or of an earlier one

    @property
    def id(self) -> str:
        return self.row.id

    @property
    def namespace(self) -> str:
        return self.row.namespace

    @property
    def metadata(self) -> dict[str, Any]:
        return self.row.metadata if isinstance(self.row.metadata, dict) else {}

    @property
    def public_metadata(self) -> dict[str, Any]:
        return public_metadata(self.row.metadata) or {}

    @property
    def flavor(self) -> str:
        return flavor_of(self.row.metadata)

    @property
    def requests(self) -> dict[str, Any]:
        """The permission requests that wait for an answer."""
        state = self.row.agent_state
        found = state.get("requests") if isinstance(state, dict) else None
        return shown_requests(found)

    @property
    def damage(self) -> tuple[str, ...]:
        """The damaged places of the row."""
        checked, found = self._damage
        if checked is not self.row:
            self._damage = self.row, found = self.row, session_damage(self.row)
        return found

    @property
    def room(self) -> str:
        return f"session:{self.row.id}"

    def is_thinking(self, reported: bool, now: float) -> bool:
        """Whether the session counts as thinking when its process has reported `reported` at clock
        second `now`.
        """
        return reported or now < self.grace_until

    def is_starting(self, now: float) -> bool:
        """Whether its process may at clock second `now` be about to connect or to register its
        methods, as it does after its own start and after that of the hub.
        """
        connects_until = max(self.expected_until, self.returns_until)
        return now < self.registers_until or (not self.active and now < connects_until)

    def is_outdated(self, column: str, time: int, now: float) -> bool:
        """Whether an alive of `time` (ms) that arrives at clock second `now` reports the setting as
        it was before REST applied another one.
        """
        at, clock = self.applied.get(column, (0, float("-inf")))
        return time < at and now - clock < APPLIED_WINDOW

    def forget_served(self) -> None:
        """Forget what only the hub that serves the session knows."""
        self.grace_until = self.expected_until = 0.0
        self.registers_until = self.returns_until = 0.0
        self.has_queue, self.is_caught_up = True, False
        for known in (self.applied, self.taking, self.long_prompts_sent, self.answered):
            known.clear()

    def deactivate(self, now: int) -> bool:
        """Mark the session inactive at `now` (ms). False if it was inactive already."""
        was = self.active
        self.active = self.thinking = self.ready = False
        self.turn_started_at = None
        self.grace_until = self.expected_until = 0.0
        self.registers_until = self.returns_until = 0.0
        if was:
            self.thinking_at = now
        return was


@define(eq=False, repr=False)
class HubMachine:
    row: MachineRow
    active: bool = False
    active_at: int = 0
    last_seen: float = 0.0
    last_broadcast: float = float("-inf")
    health: dict[str, Any] | None = None
    reported_damage: tuple[str, ...] = ()  # what has been logged

    @property
    def damage(self) -> tuple[str, ...]:
        """The damaged places of the row."""
        return machine_damage(self.row)

    @property
    def id(self) -> str:
        return self.row.id

    @property
    def namespace(self) -> str:
        return self.row.namespace

    @property
    def name(self) -> str:
        """The name of the machine for people."""
        metadata = self.row.metadata if isinstance(self.row.metadata, dict) else {}
        names = (metadata.get("displayName"), metadata.get("host"))
        return next((name for name in names if isinstance(name, str) and name), self.row.id)

    @property
    def room(self) -> str:
        return f"machine:{self.row.id}"

    @property
    def capabilities(self) -> frozenset[str]:
        metadata = self.row.metadata if isinstance(self.row.metadata, dict) else {}
        found = metadata.get("capabilities")
        return (
            frozenset(name for name in found if isinstance(name, str))
            if isinstance(found, list)
            else frozenset()
        )

    @property
    def flavors(self) -> frozenset[str]:
        """Agents that the runner advertises in its state, in addition to the built-in ones."""
        state = self.row.runner_state if isinstance(self.row.runner_state, dict) else {}
        capabilities = state.get("capabilities")
        configs = capabilities.get("agentConfigs") if isinstance(capabilities, dict) else None
        if not isinstance(configs, list):
            return frozenset()
        found = (config.get("flavor") for config in configs if isinstance(config, dict))
        return frozenset(flavor for flavor in found if isinstance(flavor, str))


HEALTH_FIELDS = {
    "collectedAt",
    "cpuCount",
    "load1m",
    "cpuPercent",
    "memoryPercent",
    "uptimeSeconds",
}


def checked_health(value: Any) -> dict[str, Any] | None:
    """The health of a `machine-alive`, None if any part of it is invalid."""
    if not isinstance(value, dict) or not {"collectedAt"} <= set(value) <= HEALTH_FIELDS:
        return None
    numbers = all(
        isinstance(item, (int, float)) and not isinstance(item, bool) and item >= 0
        for item in value.values()
    )
    percents = (
        all(0 <= value.get(name, 0) <= 100 for name in ("cpuPercent", "memoryPercent"))
        if numbers
        else False
    )
    return value if numbers and percents and value.get("cpuCount", 1) > 0 else None
