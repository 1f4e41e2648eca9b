"""The routes below `/hub/`: what the other hubs of the database ask this one.

Without the key of the database each of them is answered alike, whatever it names.
"""

from __future__ import annotations

import hmac
from collections.abc import Awaitable, Callable, Mapping
from typing import Any
from urllib.parse import unquote

import msgspec
from attrs import define, field
from twisted.internet.defer import Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.web import http
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET

from hapi.hub.cluster.domain_errors import error_body
from hapi.hub.cluster.peer_calls import digest_of
from hapi.hub.cluster.signatures import (
    ANY_HUB,
    HOP,
    HOP_HEADER,
    IDENTITY,
    IDENTITY_HEADER,
    PEER,
    PEER_HEADER,
    Signed,
    Signer,
    WrongSignature,
    WrongTime,
)
from hapi.hub.domain.errors import DomainError, TargetMissing
from hapi.hub.domain.registry import HubRegistry
from hapi.hub.store.shared import Moved
from hapi.net.server.http import encode_json, json_reply, read_body
from hapi.net.server.site import LimitedRequest, mark_authenticated
from hapi.request_id import serving_request

PREFIX = "/hub/"
MAX_BODY_SIZE = 72 << 20  # bytes
FORBIDDEN = {"error": "Forbidden"}
NOT_HERE = {"notHere": True}  # the session or machine is at home at another hub

Work = Callable[[dict[str, Any]], Awaitable[Any]]  # what a hub does for another: JSON to JSON
Stream = Callable[[Any, str], object]  # serves a request with the live text of a session


class RpcCall(msgspec.Struct, frozen=True, rename="camel"):
    """The body of `POST /hub/rpc`. `waits_for`: what may be about to start, `session`, `machine`
    or nothing.
    """

    owner: str
    method: str
    timeout: float  # seconds for the answer
    params: Any = None
    waits_for: str = ""


@define(eq=False, repr=False)
class PeerHeads:
    """Reads the signatures in the heads of requests. `request.peer` is then what one below `/hub/`
    says, and `request.hop` what one says that another hub forwards.
    """

    signer: Signer
    _warned: set[str] = field(factory=set)
    log = Logger()

    def read(self, request: LimitedRequest) -> None:
        request.peer = self._verified(request, PEER, PEER_HEADER) or self._verified(
            request, IDENTITY, IDENTITY_HEADER, ANY_HUB
        )
        request.hop = self._verified(request, HOP, HOP_HEADER)
        if request.peer is not None or request.hop is not None:
            mark_authenticated(request)

    def _verified(
        self, request: LimitedRequest, purpose: str, name: str, receiver: str | None = None
    ) -> Signed | None:
        header = request.getHeader(name)
        if header is None:
            return None
        try:
            return self.signer.verify(purpose, header, request.method, request.uri, receiver)
        except WrongTime as error:
            if error.sender not in self._warned:
                self._warned.add(error.sender)
                self.log.error("A request of another hub was refused: {reason}", reason=str(error))
        except WrongSignature as error:
            self.log.debug("A signature of another hub is wrong: {reason}", reason=str(error))
        return None


class PeerResource(Resource):
    """Serves the requests below `/hub/` of hubs whose signature `PeerHeads` has verified."""

    isLeaf = True
    log = Logger()

    def __init__(
        self, registry: HubRegistry, signer: Signer, works: Mapping[str, Work], stream: Stream
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._registry, self._signer = registry, signer
        self._works, self._stream = works, stream

    def render(self, request: Any) -> Any:
        signed = getattr(request, "peer", None)
        if signed is None:
            return json_reply(request, http.FORBIDDEN, FORBIDDEN)
        serving = Deferred.fromCoroutine(self._serve(request, signed))
        serving.addErrback(self._failed, request)
        return NOT_DONE_YET

    async def _serve(self, request: Any, signed: Signed) -> None:
        content = read_body(request, MAX_BODY_SIZE)
        if not hmac.compare_digest(await digest_of(content), signed.value):
            self._reply(request, http.FORBIDDEN, FORBIDDEN)
            return
        kind, _, name = request.path.decode("ascii", "replace").removeprefix(PREFIX).partition("/")
        name = unquote(name)
        request.route = PREFIX + kind
        match request.method.decode("ascii", "replace"), kind:
            case "GET", "identity":
                found = self._signer.sign(IDENTITY, signed.sender, b"GET", request.uri, "")
                self._reply(request, http.OK, {"identity": found})
            case "GET", "sockets":
                self._reply(request, http.OK, {"sockets": self._sockets(name)})
            case "GET", "live":
                self._stream(request, name)
            case "POST", "rpc" | "work" if self._is_silent:
                self._reply(request, http.OK, NOT_HERE)
            case "POST", "rpc":
                asked = msgspec.json.decode(content, type=RpcCall)
                await self._answer(request, lambda: self._call(asked))
            case "POST", "work" if (work := self._works.get(name)) is not None:
                given = msgspec.json.decode(content, type=dict[str, Any])
                await self._answer(request, lambda: work(given))
            case _:
                self._reply(request, http.NOT_FOUND, {"error": "Not found"})

    @property
    def _is_silent(self) -> bool:
        """Whether the others may take this hub for dead. After a standstill, what they have asked
        meanwhile comes first; they have given it up.
        """
        cluster = self._registry.cluster
        return cluster is not None and cluster.problem is not None

    async def _answer(self, request: Any, work: Callable[[], Awaitable[Any]]) -> None:
        """Reply with the result, or with the error that the other hub raises again."""
        try:
            with serving_request(request.request_id):
                result = await work()
        except Moved:
            self._reply(request, http.OK, NOT_HERE)
        except DomainError as error:
            self._reply(request, http.OK, {"error": error_body(error)})
        else:
            self._reply(request, http.OK, {"result": result})

    def _sockets(self, owner: str) -> int:
        """How many sockets of a session or machine are connected here."""
        registry = self._registry
        if registry.peers is None or registry.peers.elsewhere(owner) or self._is_silent:
            return 0
        found = registry.sessions.get(owner) or registry.machines.get(owner)
        return 0 if found is None else len(registry.rooms.room(found.room))

    async def _call(self, asked: RpcCall) -> Any:
        """Call a method here, and nowhere else."""
        registry = self._registry
        if registry.peers is None or registry.peers.elsewhere(asked.owner):
            raise Moved(asked.owner, None)
        params, timeout = asked.params, asked.timeout
        if asked.waits_for == "session":
            session = registry.sessions.get(asked.owner)
            if session is None:
                raise TargetMissing(f"Session {asked.owner} is not known")
            return await registry.call_session_here(session, asked.method, params, timeout)
        if asked.waits_for == "machine":
            machine = registry.machines.get(asked.owner)
            if machine is None:
                raise TargetMissing(f"Machine {asked.owner} is not known")
            return await registry.call_machine_here(machine, asked.method, params, timeout)
        return await registry.rpc.call_here(asked.owner, asked.method, params, timeout)

    def _reply(self, request: Any, status: int, value: Any) -> None:
        if request.channel is None:  # the other hub is gone
            return
        request.write(json_reply(request, status, encode_json(value)))
        request.finish()

    def _failed(self, failure: Failure, request: Any) -> None:
        if failure.check(msgspec.DecodeError):
            self._reply(request, http.BAD_REQUEST, {"error": str(failure.value)})
            return
        self.log.failure("A request of another hub failed", failure)
        self._reply(request, http.INTERNAL_SERVER_ERROR, {"error": "Internal Server Error"})
