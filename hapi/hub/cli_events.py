"""The events of runners and session processes: what the hub does about each of them.

A handler gets the socket and the event, and returns what the event is answered with, if anything.
Malformed events are ignored, or answered with an error where their sender waits for an answer.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from attrs import define, field, frozen
from twisted.logger import Logger

from hapi.hub.access.tokens import DeviceToken, may_access, require_access
from hapi.hub.domain.documents import Documents
from hapi.hub.domain.entities import HubMachine, HubSession
from hapi.hub.domain.errors import AccessDenied, NotFound
from hapi.hub.domain.messages import Messages
from hapi.hub.domain.presence import Presence
from hapi.hub.domain.registry import HubRegistry
from hapi.net.server.peers import Peer
from hapi.protocol import events as protocol_events
from hapi.protocol import rpc
from hapi.protocol.json import Malformed
from hapi.protocol.live import SESSION_LIVE

MAX_LOCAL_IDS = 1000  # local ids in one event
MAX_ID_LENGTH = 512  # characters of an id or a method


@frozen
class PeerIdentity:
    """The namespace of a socket, and the id of the session or machine that it represents, if it
    named one.
    """

    namespace: str
    owner: str | None
    device: DeviceToken | None = field(default=None, eq=False)
    sessions: set[str] = field(factory=set, eq=False)  # whose events it has sent
    refusals: set[str] = field(factory=set, eq=False)  # of its methods, told once each

    def may_speak_for(self, owner: str) -> bool:
        """Whether it is `owner`'s own socket, or one that represents nobody."""
        return self.owner is None or self.owner == owner


def read_local_ids(value: Any) -> list[str]:
    """The usable local ids of an event."""
    found = value if isinstance(value, list) else []
    return [
        item
        for item in found[:MAX_LOCAL_IDS]
        if isinstance(item, str) and 0 < len(item) <= MAX_ID_LENGTH and item.isprintable()
    ]


@define(eq=False, repr=False)
class CliEvents:
    """What the handlers of events need: the parts of the hub, and the sessions and machines that
    a socket may name.
    """

    registry: HubRegistry
    presence: Presence
    messages: Messages
    documents: Documents

    log = Logger()

    def owns(self, identity: PeerIdentity, owner: str) -> bool:
        """Whether a socket may serve methods of the session or machine `owner`."""
        registry = self.registry
        return registry.owns(identity.namespace, owner) and all(
            may_access(identity.device, entity)
            for entity in (registry.sessions.get(owner), registry.machines.get(owner))
            if entity is not None
        )

    def session(self, peer: Peer, given: dict[str, Any], answered: bool = False) -> HubSession:
        found: HubSession = self._found(
            self.registry.session, "session", given.get("sid"), peer, answered
        )
        return found

    def machine(self, peer: Peer, given: dict[str, Any], answered: bool = False) -> HubMachine:
        found: HubMachine = self._found(
            self.registry.machine, "machine", given.get("machineId"), peer, answered
        )
        return found

    def _found(
        self, find: Callable[[Any, str], Any], scope: str, name: Any, peer: Peer, answered: bool
    ) -> Any:
        if not isinstance(name, str) or not name:
            raise Malformed("the payload has the wrong shape")
        try:
            found = find(name, peer.principal.namespace)
            require_access(peer.principal.device, found)
            return found
        except NotFound:
            raise TargetUnavailable(
                scope, name[:MAX_ID_LENGTH], "not-found", f"{scope} not found", answered
            ) from None
        except AccessDenied:
            raise TargetUnavailable(
                scope, name[:MAX_ID_LENGTH], "access-denied", f"{scope} access denied", answered
            ) from None


class TargetUnavailable(Exception):
    """The session or machine of an event does not exist or belongs to another namespace."""

    def __init__(self, scope: str, name: str, code: str, text: str, answered: bool) -> None:
        super().__init__(text)
        self.scope, self.id, self.code, self.text, self.answered = scope, name, code, text, answered


Handler = Callable[[CliEvents, Peer, dict[str, Any]], Awaitable[tuple[Any, ...] | None]]


def malformed_answer(answer: tuple[Any, ...] | None) -> Callable[[Handler], Handler]:
    """Make a handler answer malformed events with `answer`."""

    def decorate(handle: Handler) -> Handler:
        async def handled(
            cli: CliEvents, peer: Peer, given: dict[str, Any]
        ) -> tuple[Any, ...] | None:
            try:
                return await handle(cli, peer, given)
            except Malformed:
                return answer

        return handled

    return decorate


ERROR = ({"result": "error"},)


@malformed_answer(None)
async def session_alive(cli: CliEvents, peer: Peer, given: dict[str, Any]) -> None:
    session = cli.session(peer, given)
    queue = cli.registry.queues.find(session.id)
    if queue is not None:  # the page hears of what was sent before first
        await queue.settled(accepts_hold=True)
    await cli.presence.session_alive(session, given)


@malformed_answer(None)
async def session_ready(cli: CliEvents, peer: Peer, given: dict[str, Any]) -> None:
    await cli.presence.session_ready(cli.session(peer, given), given)


@malformed_answer(None)
async def session_end(cli: CliEvents, peer: Peer, given: dict[str, Any]) -> None:
    session = cli.session(peer, given)
    await cli.presence.session_end(
        session, given, by_machine=peer.principal.owner in cli.registry.machines
    )


@malformed_answer(None)
async def message(cli: CliEvents, peer: Peer, given: dict[str, Any]) -> None:
    session = cli.session(peer, given)
    if given.get("message") is not None:
        await cli.messages.receive(session, given, peer)


@malformed_answer(None)
async def session_live(cli: CliEvents, peer: Peer, given: dict[str, Any]) -> None:
    """Live text replaces what is there, so that nobody but the session itself may send it."""
    session, registry = cli.session(peer, given), cli.registry
    if not peer.principal.may_speak_for(session.id):
        cli.log.warn(
            "A socket of {namespace} sent live text of another session",
            namespace=peer.principal.namespace,
        )
        return
    queue = registry.queues.find(session.id)
    if queue is not None:  # readers get the records that were sent before first
        await queue.settled(accepts_hold=True)
    if session.id in registry.sessions:
        is_held = queue is not None and queue.code is not None
        registry.live.receive(session.id, given, peer, keeps_ended=is_held)


@malformed_answer(None)
async def messages_consumed(cli: CliEvents, peer: Peer, given: dict[str, Any]) -> None:
    session, names = cli.session(peer, given), read_local_ids(given.get("localIds"))
    if names:
        clears, steered = (
            given.get("clearQueuedThinkingGrace") is True,
            given.get("steered") is True,
        )
        await cli.messages.consumed(session, names, clears, steered)


@malformed_answer(None)
async def messages_indeterminate(cli: CliEvents, peer: Peer, given: dict[str, Any]) -> None:
    await cli.messages.indeterminate(
        cli.session(peer, given), read_local_ids(given.get("localIds"))
    )


@malformed_answer(({"ok": False},))
async def messages_steer_state(
    cli: CliEvents, peer: Peer, given: dict[str, Any]
) -> tuple[Any, ...]:
    cli.session(peer, given)
    return ({"ok": True},)


@malformed_answer(ERROR)
async def update_metadata(cli: CliEvents, peer: Peer, given: dict[str, Any]) -> tuple[Any, ...]:
    session = cli.session(peer, given, answered=True)
    device: DeviceToken | None = peer.principal.device
    metadata = given.get("metadata")
    machine_id = metadata.get("machineId") if isinstance(metadata, dict) else None
    if device is not None and machine_id != device.row.machine_id:
        # The hub would resume the session on that other machine.
        cli.log.warn("A socket tried to move session {id} to another machine", id=session.id)
        return ERROR
    return (await cli.documents.update_metadata(session, given, peer),)


@malformed_answer(ERROR)
async def update_state(cli: CliEvents, peer: Peer, given: dict[str, Any]) -> tuple[Any, ...]:
    return (await cli.documents.update_state(cli.session(peer, given, answered=True), given, peer),)


@malformed_answer(None)
async def machine_alive(cli: CliEvents, peer: Peer, given: dict[str, Any]) -> None:
    cli.presence.machine_alive(cli.machine(peer, given), given)


@malformed_answer(ERROR)
async def machine_update_metadata(
    cli: CliEvents, peer: Peer, given: dict[str, Any]
) -> tuple[Any, ...]:
    machine = cli.machine(peer, given, answered=True)
    return (await cli.documents.update_machine(machine, given, "metadata", peer),)


@malformed_answer(ERROR)
async def machine_update_state(
    cli: CliEvents, peer: Peer, given: dict[str, Any]
) -> tuple[Any, ...]:
    machine = cli.machine(peer, given, answered=True)
    answer = await cli.documents.update_machine(machine, given, "runnerState", peer)
    if answer.get("result") == "success":
        cli.presence.machine_seen(machine, cli.registry.now())
    return (answer,)


async def ping(cli: CliEvents, peer: Peer, given: dict[str, Any]) -> tuple[Any, ...]:
    """Answer after all earlier events of this socket have been handled, and what they bring is
    stored.
    """
    identity: PeerIdentity = peer.principal
    queues = [cli.registry.queues.find(name) for name in identity.sessions]
    for settled in [queue.settled() for queue in queues if queue is not None]:
        await settled
    session = cli.registry.sessions.get(identity.owner or "")
    if session is not None:
        await cli.registry.serialized(session, _nothing)
    return ()


async def _nothing() -> None: ...


UNKNOWN_OWNER = (
    "A socket of {namespace} asked to serve methods of {id}, which this hub does not know: it was "
    "deleted, or belongs to another database"
)
OTHER_OWNER = "A socket of {namespace} asked to serve a method of {id}, which it may not serve"


async def rpc_register(cli: CliEvents, peer: Peer, given: dict[str, Any]) -> None:
    """Register a method. A socket may serve methods of the session or machine it represents; a
    socket that represents none, those of its namespace.
    """
    method = given.get("method")
    if not isinstance(method, str) or len(method) > MAX_ID_LENGTH:
        return
    owner, _, name = method.rpartition(":")
    identity: PeerIdentity = peer.principal
    if not owner or not name:
        return
    mine = identity.may_speak_for(owner)
    if mine and cli.owns(identity, owner):
        cli.registry.rpc.register(peer, method)
        return
    # A process that outlived the database of its hub connects again, with all its methods.
    is_unknown = mine and not (owner in cli.registry.sessions or owner in cli.registry.machines)
    refusal = UNKNOWN_OWNER if is_unknown else OTHER_OWNER
    if refusal not in identity.refusals:
        identity.refusals.add(refusal)
        cli.log.warn(refusal, namespace=identity.namespace, id=owner)


async def rpc_unregister(cli: CliEvents, peer: Peer, given: dict[str, Any]) -> None:
    if isinstance(given.get("method"), str):
        cli.registry.rpc.unregister(peer, given["method"])


# Kept until they are stored, in the order in which they came.
STORED = frozenset(
    {
        protocol_events.MESSAGE,
        protocol_events.MESSAGES_CONSUMED,
        protocol_events.MESSAGES_INDETERMINATE,
        protocol_events.SESSION_END,
    }
)
EVENTS: dict[str, Handler] = {
    protocol_events.SESSION_ALIVE: session_alive,
    protocol_events.SESSION_READY: session_ready,
    protocol_events.SESSION_END: session_end,
    SESSION_LIVE: session_live,
    protocol_events.MESSAGE: message,
    protocol_events.MESSAGES_CONSUMED: messages_consumed,
    protocol_events.MESSAGES_INDETERMINATE: messages_indeterminate,
    protocol_events.MESSAGES_STEER_STATE: messages_steer_state,
    protocol_events.UPDATE_METADATA: update_metadata,
    protocol_events.UPDATE_STATE: update_state,
    protocol_events.MACHINE_ALIVE: machine_alive,
    protocol_events.MACHINE_UPDATE_METADATA: machine_update_metadata,
    protocol_events.MACHINE_UPDATE_STATE: machine_update_state,
    protocol_events.PING: ping,
    rpc.REGISTER: rpc_register,
    rpc.UNREGISTER: rpc_unregister,
}
