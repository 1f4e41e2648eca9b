"""What a run does: its options, and its faults, drawn from a seed."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from random import Random

from attrs import field, frozen

# Faults, and what they need: a database server, a replica of it, several active hubs.
KILL, DRAIN, STOP, ROLLING = "kill", "drain", "stop", "rolling"
CUT_DATABASE, SILENCE_DATABASE, CUT_COMMIT = "cut-database", "silence-database", "cut-commit"
CRASH_DATABASE, PROMOTE = "crash-database", "promote"
HOLD_LOCK = "hold-lock"  # a transaction of somebody else that keeps all hubs from writing
CUT_HUBS = "cut-hubs"
UPGRADE = "upgrade"  # each hub becomes one that knows a next version of the tables, one goes back
FAULTS = (
    KILL,
    DRAIN,
    STOP,
    ROLLING,
    CUT_DATABASE,
    SILENCE_DATABASE,
    CUT_COMMIT,
    CRASH_DATABASE,
    HOLD_LOCK,
    PROMOTE,
    CUT_HUBS,
    UPGRADE,
)
OF_DATABASE = {CUT_DATABASE, SILENCE_DATABASE, CUT_COMMIT, CRASH_DATABASE, HOLD_LOCK}
MAX_PAUSE, MIN_PAUSE = 7.0, 2.0  # seconds between two faults


@frozen
class Plan:
    """`hubs` with `postgres` and not `active`: the first is active, the others are standbys."""

    seed: int
    hubs: int = 1
    postgres: bool = False
    active: bool = False  # each hub has --advertise
    messages: int = 4000
    seconds: float = 90.0
    faults: tuple[str, ...] = field(default=())
    sessions: int = 40
    runners: int = 4
    readers: int = 6
    prompts: int = 400
    spawns: int = 60
    browser: bool = False
    is_replicated: bool = False  # the database has a synchronous replica
    fsync: bool = True
    balancer: str = "haproxy"
    clocks: tuple[float, ...] = ()  # seconds by which the clock of each hub is ahead
    stop_seconds: float = 20.0  # how long a hub stands still
    pace: float = 1.0  # by which the other lengths, and the pauses between faults, are multiplied
    drain_seconds: float = 10.0  # in which a hub that stops closes its connections
    is_short: bool = False  # each fault comes once, and then the run may end

    def possible(self) -> tuple[str, ...]:
        """The faults that this set of programs can suffer."""
        found = [KILL, DRAIN, STOP]
        if self.hubs > 1:
            found.append(ROLLING)
        if self.postgres:
            found += sorted(OF_DATABASE)
        if self.postgres and self.hubs > 1:
            found.append(UPGRADE)
        if self.is_replicated:
            found.append(PROMOTE)
        if self.active and self.hubs > 1:
            found.append(CUT_HUBS)
        return tuple(name for name in FAULTS if name in found)

    def wanted(self) -> list[str]:
        return [name for name in self.faults or self.possible() if name in self.possible()]


@frozen
class Fault:
    name: str
    pause: float  # seconds before it
    seconds: float  # how long it lasts, where it has a length
    hub: int  # which hub
    choice: float  # 0 to 1: which kind of it


def draw(plan: Plan) -> Iterator[Fault]:
    """Faults without end. Each wanted one comes once before any comes again; a database that was
    promoted has no replica any more.
    """
    random = Random(plan.seed)
    wanted = plan.wanted()
    deck: list[str] = []
    while wanted:
        if not deck:
            deck = wanted[:]
            random.shuffle(deck)
            wanted = [name for name in wanted if name != PROMOTE]
        name = deck.pop()
        yield Fault(
            name,
            plan.pace * random.uniform(MIN_PAUSE, MAX_PAUSE),
            plan.stop_seconds if name == STOP else plan.pace * random.uniform(1.0, 15.0),
            random.randrange(plan.hubs),
            random.random(),
        )


def unknown(names: Iterable[str]) -> list[str]:
    return [name for name in names if name not in FAULTS]
