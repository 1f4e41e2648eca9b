"""Work for sessions and machines that are at home at another hub: calls of their methods, and what
only their home may do.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, TypeVar
from urllib.parse import quote

import msgspec
from attrs import define, field
from twisted.internet.threads import deferToThread
from twisted.logger import Logger

from hapi.hub.cluster.directory import Directory
from hapi.hub.cluster.domain_errors import error_from
from hapi.hub.cluster.peer_calls import (
    AnswerTooLarge,
    PeerClient,
    PeerFailed,
    PeerLate,
    PeerLost,
    PeerUnreachable,
)
from hapi.hub.domain.entities import START_TIMEOUT
from hapi.hub.domain.errors import (
    CallFailed,
    DomainError,
    HomeUnreachable,
    TargetMissing,
    Unavailable,
)
from hapi.hub.domain.rpc import PeerStatistics
from hapi.hub.store.shared import Member, Moved
from hapi.net.server.http import encode_json
from hapi.request_id import current_request_id

MARGIN = 5.0  # seconds beyond the timeout that the other hub keeps itself
SOCKETS_TIMEOUT = 1.0  # seconds for the answer whether a hub has sockets
WORK_TIMEOUT = 60.0  # seconds for what only the home may do
LARGE = 4 << 20  # bytes of an answer that is decoded in a thread

T = TypeVar("T")


class NotHere(Exception):
    """The hub that was asked is not the home of the owner, and has done nothing."""


@define(eq=False, repr=False)
class OtherHubs:
    """Sends calls and work to the home of their owner: a PeerHubs.

    Nothing is done twice: another hub is tried only if the first one has certainly done nothing,
    and only once.
    """

    _directory: Directory
    client: PeerClient
    statistics: PeerStatistics = field(factory=PeerStatistics)
    log = Logger()

    def elsewhere(self, owner: str) -> bool:
        return self._directory.elsewhere(owner) is not None

    async def sockets(self, member: Member, owner: str) -> int:
        """How many sockets of `owner` are connected to another hub; 0 if it does not answer."""
        path = f"/hub/sockets/{quoted(owner)}"
        try:
            answer = await self.client.ask(member, "GET", path, timeout=SOCKETS_TIMEOUT)
            found = msgspec.json.decode(answer.content) if answer.status == 200 else {}
        except (PeerFailed, msgspec.DecodeError):
            return 0
        sockets = found.get("sockets") if isinstance(found, dict) else None
        return sockets if isinstance(sockets, int) else 0

    # --- PeerHubs
    async def call(
        self,
        waits_for: str,
        owner: str,
        name: str,
        params: Any,
        timeout: float,
        here: Callable[[], Awaitable[Any]],
    ) -> Any:
        body = {"owner": owner, "method": name, "timeout": timeout, "params": params}
        limit = timeout + MARGIN + (START_TIMEOUT if waits_for else 0.0)

        async def ask(member: Member) -> Any:
            try:
                return await self._post(member, "/hub/rpc", {**body, "waitsFor": waits_for}, limit)
            except PeerUnreachable as error:
                raise HomeUnreachable(f"{error}. It serves the method {owner}:{name}") from error
            except (PeerLate, AnswerTooLarge) as error:
                raise CallFailed(str(error), timed_out=isinstance(error, PeerLate)) from error
            except PeerFailed as error:
                raise CallFailed(str(error), gone=isinstance(error, PeerLost)) from error

        try:
            return await self._at_home(owner, ask, here, (NotHere, TargetMissing))
        except NotHere:
            raise TargetMissing(f"RPC handler not registered: {owner}:{name}") from None

    async def work(
        self, owner: str, name: str, given: dict[str, Any], here: Callable[[], Awaitable[Any]]
    ) -> Any:
        async def ask(member: Member) -> Any:
            try:
                return await self._post(member, f"/hub/work/{name}", given, WORK_TIMEOUT)
            except PeerUnreachable:
                raise
            except PeerFailed as error:
                raise Unavailable(str(error), "hub_unreachable") from error

        try:
            return await self._at_home(owner, ask, here, (NotHere, PeerUnreachable, Moved))
        except (NotHere, PeerUnreachable, Moved) as error:
            reason = str(error) or "The session is moving to another hub; try again in a moment"
            raise Unavailable(reason, "hub_unreachable") from error

    # --- inside
    async def _at_home(
        self,
        owner: str,
        ask: Callable[[Member], Awaitable[T]],
        here: Callable[[], Awaitable[T]],
        undone: tuple[type[Exception], ...],
    ) -> T:
        """Do it where `owner` is at home as far as this hub knows. After one of `undone`, which
        tell that nothing was done, once more where the database says, if that is another hub.
        """
        first = self._directory.elsewhere(owner)
        try:
            return await (here() if first is None else ask(first))
        except undone:
            second = await self._directory.look_up(owner)
            if (second and second.id) == (first and first.id):
                raise
        return await (here() if second is None else ask(second))

    async def _post(self, member: Member, path: str, body: Any, timeout: float) -> Any:
        """The result of a route. Raises NotHere, PeerFailed, and what the other hub raised."""
        result = "failed"
        try:
            answer = await self._exchange(member, path, body, timeout)
            result = "ok"
        except (NotHere, PeerUnreachable):
            result = "missing"
            raise
        except (PeerLost, PeerLate) as error:
            result = "gone" if isinstance(error, PeerLost) else "timeout"
            raise
        except DomainError:
            result = "error"
            raise
        finally:
            self.statistics.asked[result] += 1
        return answer

    async def _exchange(self, member: Member, path: str, body: Any, timeout: float) -> Any:
        content = encode_json(body)
        answer = await self.client.ask(
            member, "POST", path, content, timeout=timeout, request_id=current_request_id()
        )
        if answer.status == 403:  # another process has the address, or the clocks differ
            raise NotHere(f"The hub {member.name} did not accept the request")
        try:
            if len(answer.content) > LARGE:
                found = await deferToThread(msgspec.json.decode, answer.content)
            else:
                found = msgspec.json.decode(answer.content)
        except msgspec.DecodeError:
            found = None
        if answer.status != 200 or not isinstance(found, dict):
            raise PeerFailed(f"The hub {member.name} answered with HTTP {answer.status}")
        if found.get("notHere"):
            raise NotHere(f"The hub {member.name} does not serve it any more")
        if "error" in found:
            raise error_from(found["error"])
        return found.get("result")


def quoted(text: str) -> str:
    """`text` as one segment of a path."""
    return quote(text, safe="")
