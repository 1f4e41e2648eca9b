"""Whether the hubs of a database are where they say: this one at its own URL, the others at theirs.

What is found is logged when it changes, and told by `hapi hub status` and `/metrics`. It keeps no
hub from serving its own clients.
"""

from __future__ import annotations

from collections.abc import Awaitable
from typing import Any, Literal, Protocol

from attrs import define, field, frozen
from twisted.internet.defer import CancelledError, Deferred, DeferredList, FirstError
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import LoopingCall, deferLater
from twisted.logger import Logger

from hapi.deferreds import run_in_background
from hapi.hub.cluster.identity import NoAnswer, NoHub
from hapi.hub.domain.rpc import PeerStatistics
from hapi.hub.store.shared import DEAD_AFTER, Member

CHECK_INTERVAL = 30.0  # seconds between two checks of the other hubs, and of a URL that is wrong
RIGHT_INTERVAL = 180.0  # seconds between two checks of an own URL that was right
# How often a URL is asked in one check, and how often if another hub has answered: a balancer leads
# to the right hub now and then, too.
ASKED, ASKED_OF_BALANCER = 3, 10
RETRY_AFTER = 2.0  # seconds after which a check that has failed is made once more
PEER_RETRY_AFTER = DEAD_AFTER + 2.0  # the same of another hub: one that has died is known by then


class Cluster(Protocol):
    """The hubs of the database, this one included."""

    @property
    def hub_id(self) -> str: ...
    @property
    def members(self) -> list[Member]: ...


class Identities(Protocol):
    """Who answers at a URL: an IdentityClient."""

    def ask(self, url: str) -> Awaitable[str]: ...


Kind = Literal["no answer", "another program", "another hub", "same URL", "same name"]


@frozen
class Finding:
    """What is at a URL instead of the hub that gives it as its own, as a clause."""

    kind: Kind
    clause: str


@frozen
class Problem:
    """`kind` stays while only the details change."""

    kind: Kind
    sentence: str


def own_problem(own: Member, finding: Finding) -> Problem:
    """Of this hub, which does not find itself at its URL."""
    advice = "set --advertise to a URL that leads the other hubs to this one"
    if finding.kind == "another hub":
        advice = "give each hub a URL of its own with --advertise, not that of a balancer"
    return Problem(
        finding.kind,
        f"This hub cannot be reached at its advertised URL {own.url}: {finding.clause}; {advice}",
    )


def peer_problem(member: Member, finding: Finding) -> Problem:
    """Of another hub, which this one does not find at its URL."""
    return Problem(
        finding.kind,
        f"Hub {member.name} cannot be reached at {member.url} from this hub: {finding.clause}; "
        "check its --advertise, and the network between both",
    )


def share(own: Member, other: Member) -> bool:
    """Whether two hubs have been up at the same time for so long that one is not the other after a
    restart.
    """
    if not other.is_up or own.is_draining or other.is_draining:
        return False
    together = min(own.seen_at, other.seen_at) - max(own.since, other.since)
    return together > DEAD_AFTER * 1000


@define(eq=False, repr=False)
class Reachability:
    """Checks the URLs of all hubs from time to time."""

    _cluster: Cluster
    _identities: Identities
    _statistics: PeerStatistics
    _clock: IReactorTime
    _problems: dict[tuple[str, str], Problem] = field(factory=dict)  # by hub id and subject
    _own_checked_at: float = float("-inf")  # clock seconds
    _up: set[str] = field(factory=set)  # ids of the other hubs at the last check
    _loop: LoopingCall | None = None
    _running: Deferred[Any] | None = None

    log = Logger()

    def start(self) -> None:
        loop = self._loop = LoopingCall(self._check_in_background)
        loop.clock = self._clock
        loop.start(CHECK_INTERVAL, now=True)

    def stop(self) -> None:
        loop, self._loop = self._loop, None
        if loop is not None and loop.running:
            loop.stop()
        if self._running is not None:
            self._running.cancel()

    def problems_of(self, hub_id: str) -> list[str]:
        """Sentences about a hub, as seen from this one."""
        return [found.sentence for (of, _), found in self._problems.items() if of == hub_id]

    # --- the checks

    def _check_in_background(self) -> Deferred[Any]:
        self._running = run_in_background(
            self._guarded(), self.log, "Whether the hubs reach each other was not found out"
        )
        return self._running

    async def _guarded(self) -> None:
        try:
            await self.check()
        except (CancelledError, FirstError):
            if self._loop is not None:  # else `stop` has cancelled what it waited for
                raise

    async def check(self) -> None:
        """One look at the URLs of all hubs."""
        members = {member.id: member for member in self._cluster.members}
        own = members.pop(self._cluster.hub_id, None)
        up = [member for member in members.values() if _serves(member)]
        checks = [self._check_peer(member) for member in up]
        if own is not None and not own.is_draining:
            self._check_names(own, up)
            if self._is_due(own, {member.id for member in up}):
                checks.append(self._check_own(own))
        for hub_id, subject in list(self._problems):  # of hubs that have left
            if hub_id != self._cluster.hub_id and hub_id not in {member.id for member in up}:
                del self._problems[hub_id, subject]
        running = [Deferred.fromCoroutine(check) for check in checks]
        try:
            await DeferredList(running, fireOnOneErrback=True, consumeErrors=True)
        finally:
            for each in running:
                each.cancel()
        self._count()

    def _count(self) -> None:
        reached: dict[str, bool] = {}
        for member in self._cluster.members:
            if member.id == self._cluster.hub_id or not _serves(member):
                continue
            fine = (member.id, "address") not in self._problems
            reached[member.name] = fine and reached.get(member.name, True)
        self._statistics.reached = reached

    def _is_due(self, own: Member, up: set[str]) -> bool:
        """A hub that has come may be one to which a balancer leads from now on."""
        has_come, self._up = bool(up - self._up), up
        is_wrong = (own.id, "address") in self._problems
        is_old = self._clock.seconds() - self._own_checked_at >= RIGHT_INTERVAL
        return has_come or is_wrong or is_old

    async def _check_own(self, own: Member) -> None:
        finding = await self._look(own, RETRY_AFTER)
        self._own_checked_at = self._clock.seconds()
        self._statistics.is_reachable = finding is None
        problem = None if finding is None else own_problem(own, finding)
        again = "This hub is reached at its advertised URL {url} again"
        self._note((own.id, "address"), problem, again, url=own.url)

    async def _check_peer(self, member: Member) -> None:
        finding = await self._look(member, PEER_RETRY_AFTER)
        if not any(each.id == member.id and _serves(each) for each in self._cluster.members):
            return
        problem = None if finding is None else peer_problem(member, finding)
        again = "Hub {name} is reached at {url} again"
        self._note((member.id, "address"), problem, again, name=member.name, url=member.url)

    async def _look(self, member: Member, retry_after: float) -> Finding | None:
        """What is wrong at the URL of `member` twice, `retry_after` seconds apart."""
        known = self._problems.get((member.id, "address"))
        finding = await self._find_at(member, None if known is None else known.kind)
        if finding is None:
            return None
        await deferLater(self._clock, retry_after)
        return await self._find_at(member, finding.kind)

    async def _find_at(self, member: Member, known: Kind | None) -> Finding | None:
        for _ in range(ASKED_OF_BALANCER if known == "another hub" else ASKED):
            try:
                found = await self._identities.ask(member.url)
            except NoHub as error:
                if self._loop is None:  # `stop` has ended the question
                    raise CancelledError from None
                is_silent = isinstance(error, NoAnswer)
                return Finding("no answer" if is_silent else "another program", str(error))
            if found != member.id:
                return Finding("another hub", f"{self._name(found)} answers there")
        return None

    def _check_names(self, own: Member, up: list[Member]) -> None:
        """Notice hubs with the same name or URL: it is wrong at one of them at least."""
        others = [member for member in up if share(own, member)]
        twins = [other for other in others if other.url.rstrip("/") == own.url.rstrip("/")]
        problem = None
        if twins and (own.id, "address") not in self._problems:
            name = _named(twins[0], own)
            problem = Problem(
                "same URL",
                f"The advertised URL {own.url} of this hub is also that of {name}; give each hub a "
                "URL of its own with --advertise",
            )
        self._note((own.id, "url"), problem, "The advertised URL of this hub is its own again")
        problem = None
        if any(other.name == own.name for other in others):
            problem = Problem(
                "same name",
                f"Another hub of the database is also named {own.name}; give each hub a name of "
                "its own with --name",
            )
        self._note((own.id, "name"), problem, "The name of this hub is its own again")

    def _name(self, hub_id: str) -> str:
        members = {member.id: member for member in self._cluster.members}
        own, found = members.get(self._cluster.hub_id), members.get(hub_id)
        if found is None:
            return "another hub of the database"
        if found is own:
            return "this hub"
        return _named(found, own)

    def _note(
        self, key: tuple[str, str], problem: Problem | None, again: str, **facts: object
    ) -> None:
        """Keep what was found, and log it if it is another kind of problem than before."""
        before = self._problems.pop(key, None)
        if problem is not None:
            self._problems[key] = problem
            if before is None or before.kind != problem.kind:
                self.log.warn("{problem}", problem=problem.sentence)
        elif before is not None:
            self.log.info(again, **facts)


def _serves(member: Member) -> bool:
    return member.is_up and not member.is_draining


def _named(member: Member, own: Member | None) -> str:
    is_namesake = own is not None and member.name == own.name
    return f"another hub named {member.name}" if is_namesake else f"hub {member.name}"
