"""RPC from the hub to the sockets of runners and session processes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Any, Protocol

from attrs import define, field
from twisted.internet.defer import TimeoutError as DeferredTimeout
from twisted.internet.threads import deferToThread

from hapi.hub.domain.errors import CallFailed, TargetMissing
from hapi.net.common.errors import AckTimeout, FrameTooLarge, PeerGone
from hapi.net.server.peers import Peer
from hapi.protocol.json import Malformed
from hapi.protocol.rpc import REQUEST, read_answer, rpc_request
from hapi.request_id import current_request_id

RPC_TIMEOUT, SLOW_RPC_TIMEOUT = 30.0, 120.0  # seconds
# Seconds for what a session process answers at once, such as an abort or a permission.
QUICK_RPC_TIMEOUT = 10.0
MAX_INLINE_LENGTH = 4 << 20  # characters of an answer that is decoded without a thread
# How a call ended: with an answer, an error as the answer, no socket that serves the method, no
# answer in time, a socket that closed meanwhile, or in any other way.
RESULTS = ("ok", "error", "missing", "timeout", "gone", "failed")
# How a request ended that was forwarded: answered by the other hub, not answered because that
# cannot be reached, or not carried out because that is not the home (any more).
FORWARDED = ("answered", "unreachable", "misdirected")
MAX_METHODS_PER_SOCKET = 512  # methods of one socket; runners register 34


@define(eq=False, repr=False)
class PeerStatistics:
    """What a hub counts about its work with the other hubs of the database."""

    forwarded: Counter[str] = field(factory=Counter)  # requests forwarded, by result: see FORWARDED
    asked: Counter[str] = field(factory=Counter)  # calls and work there, by result: see RESULTS
    relays: int = 0  # sockets that are relayed at present
    # Whether this hub is reached at the URL that it gives the others; None: not known yet.
    is_reachable: bool | None = None
    reached: dict[str, bool] = field(factory=dict)  # other hubs that are up, by name


class PeerHubs(Protocol):
    """The other hubs of the same database, as the domain uses them."""

    @property
    def statistics(self) -> PeerStatistics: ...

    def elsewhere(self, owner: str) -> bool:
        """Whether the session or machine is at home at another hub that is up."""

    async def call(
        self,
        waits_for: str,
        owner: str,
        name: str,
        params: Any,
        timeout: float,
        here: Callable[[], Awaitable[Any]],
    ) -> Any:
        """Call a method where its owner is at home: by `here` at this hub. `waits_for`: whether a
        `session` or `machine` may be about to start. Raises TargetMissing, CallFailed.
        """

    async def work(
        self, owner: str, name: str, given: dict[str, Any], here: Callable[[], Awaitable[Any]]
    ) -> Any:
        """Have the work `name` done with `given` where `owner` is at home: by `here` at this hub.
        Raises what the work raises, and Unavailable if that hub cannot be reached.
        """


@define(eq=False, repr=False)
class RpcRouter:
    """Routes calls to the sockets that serve them. The socket that registered a method last gets
    its calls; when it goes, an earlier one that is still there gets them again. Two runners of a
    machine are there during a hand-off, and may connect in either order when the hub restarts.
    """

    _methods: dict[str, Peer] = field(factory=dict)
    _earlier: dict[str, list[Peer]] = field(factory=dict)  # those before it, the latest last
    _served: dict[Peer, set[str]] = field(factory=dict)
    calls: Counter[tuple[str, str]] = field(factory=Counter)  # by name and result: see RESULTS
    open_calls: int = 0
    peers: PeerHubs | None = None  # None: this hub has its database alone

    def register(self, peer: Peer, method: str) -> bool:
        """Whether the method was registered; a socket may serve MAX_METHODS_PER_SOCKET."""
        served = self._served.setdefault(peer, set())
        if method not in served and len(served) >= MAX_METHODS_PER_SOCKET:
            return False
        before = self._methods.get(method)
        if before is not None and before is not peer:
            self._withdraw_earlier(peer, method)
            self._earlier.setdefault(method, []).append(before)
        self._methods[method] = peer
        served.add(method)
        return True

    def unregister(self, peer: Peer, method: str) -> None:
        served = self._served.get(peer, set())
        if method in served:
            served.discard(method)
            self._withdraw(peer, method)

    def forget(self, peer: Peer) -> None:
        """Remove all methods of a socket that has closed."""
        for method in self._served.pop(peer, ()):
            self._withdraw(peer, method)

    def forget_owner(self, owner: str) -> None:
        """Remove all methods of a session or machine that another hub serves."""
        for peer, methods in list(self._served.items()):
            for method in [name for name in methods if name.startswith(f"{owner}:")]:
                self.unregister(peer, method)

    def _withdraw(self, peer: Peer, method: str) -> None:
        if self._methods.get(method) is not peer:
            self._withdraw_earlier(peer, method)
        elif earlier := self._earlier.get(method):
            self._methods[method] = earlier.pop()
            if not earlier:
                del self._earlier[method]
        else:
            del self._methods[method]

    def _withdraw_earlier(self, peer: Peer, method: str) -> None:
        earlier = self._earlier.get(method, [])
        if peer in earlier:
            earlier.remove(peer)
            if not earlier:
                del self._earlier[method]

    def serves(self, owner: str, name: str) -> bool:
        """Whether a socket serves the method here, or perhaps at another hub."""
        return self.serves_here(owner, name) or self.is_elsewhere(owner)

    def serves_here(self, owner: str, name: str) -> bool:
        return f"{owner}:{name}" in self._methods

    def is_elsewhere(self, owner: str) -> bool:
        """Whether the sockets of `owner` are at another hub."""
        return self.peers is not None and self.peers.elsewhere(owner)

    def server(self, owner: str, name: str) -> Peer | None:
        """The socket that serves the method."""
        return self._methods.get(f"{owner}:{name}")

    async def call(
        self, owner: str, name: str, params: Any = None, timeout: float = RPC_TIMEOUT
    ) -> Any:
        """The decoded answer of `owner`'s method `name`. Raises TargetMissing, CallFailed."""
        if self.peers is None:
            return await self.call_here(owner, name, params, timeout)
        return await self.peers.call(
            "", owner, name, params, timeout, lambda: self.call_here(owner, name, params, timeout)
        )

    async def call_here(
        self, owner: str, name: str, params: Any = None, timeout: float = RPC_TIMEOUT
    ) -> Any:
        """`call` for methods that a socket of this hub serves."""
        self.open_calls += 1
        result = "failed"
        try:
            answer = await self._call(owner, name, params, timeout)
            result = "ok" if error_text(answer) is None else "error"
        except TargetMissing:
            result = "missing"
            raise
        except CallFailed as error:
            result = "gone" if error.gone else "timeout" if error.timed_out else "failed"
            raise
        finally:
            self.open_calls -= 1
            self.calls[name, result] += 1
        return answer

    async def _call(self, owner: str, name: str, params: Any, timeout: float) -> Any:
        method = f"{owner}:{name}"
        peer = self._methods.get(method)
        if peer is None:
            raise TargetMissing(f"RPC handler not registered: {method}")
        request = rpc_request(method, {} if params is None else params, current_request_id())
        try:
            answer = await peer.call(REQUEST, request, timeout=timeout)
        except PeerGone as error:
            self.forget(peer)
            raise CallFailed(f"RPC socket disconnected: {method}", gone=True) from error
        except (AckTimeout, DeferredTimeout) as error:
            raise CallFailed(
                f"The operation has timed out: no answer within {timeout:.0f} s. The process that "
                "is to answer may be stopped or overloaded.",
                timed_out=True,
            ) from error
        except FrameTooLarge as error:
            raise CallFailed(f"{error}") from error
        found = answer[0] if answer else None
        if isinstance(found, str) and len(found) > MAX_INLINE_LENGTH:
            decoded: Any = await deferToThread(decode_answer, found)
            return decoded
        return decode_answer(found)


def decode_answer(answer: Any) -> Any:
    """The result in an acknowledgement: decoded if it is JSON text, otherwise the value itself."""
    try:
        return read_answer(answer)
    except Malformed:
        return answer


def error_text(answer: Any) -> str | None:
    """The error message of an answer, None if the answer is not an error."""
    found = answer.get("error") if isinstance(answer, dict) else None
    return found if isinstance(found, str) else None
