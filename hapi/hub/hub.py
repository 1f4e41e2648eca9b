"""All parts of a hub, put together."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from attrs import define, evolve
from klein import Klein
from twisted.internet.interfaces import IReactorTime
from twisted.web.resource import IResource

from hapi.hub.cli_namespace import CliNamespace
from hapi.hub.domain.auth import Gate, GuessLimit
from hapi.hub.domain.documents import Documents
from hapi.hub.domain.entities import Session
from hapi.hub.domain.lifecycle import Lifecycle
from hapi.hub.domain.messages import Messages
from hapi.hub.domain.notifications import Toasts
from hapi.hub.domain.presence import Presence
from hapi.hub.domain.registry import Engine, Rooms
from hapi.hub.http import cli_routes as rest_cli
from hapi.hub.http import file_routes as rest_files
from hapi.hub.http import machine_routes as rest_machines
from hapi.hub.http import message_routes as rest_messages
from hapi.hub.http import session_routes as rest_sessions
from hapi.hub.http.routing import Desk, Doorkeeper, Reply, Route, written
from hapi.hub.http.sse import EventsResource
from hapi.hub.store.interface import IStore

ROUTES: tuple[Route, ...] = (
    *rest_cli.route.table,
    *rest_sessions.route.table,
    *rest_messages.route.table,
    *rest_machines.route.table,
    *rest_files.route.table,
)


@define
class HubSettings:
    """What the owner may change while the hub runs."""

    session_summary_contract: bool = False
    session_summary_in_chat: bool = False


class _LateRooms:
    """Stands in for the socket server, which needs the hub's namespaces before it can be made."""

    rooms: Rooms

    def room(self, name: str, namespace: str = "/cli") -> frozenset[Any]:
        return self.rooms.room(name, namespace)

    def emit(
        self, room: str, event: str, *args: Any, without: Any = None, namespace: str = "/cli"
    ) -> None:
        self.rooms.emit(room, event, *args, without=without, namespace=namespace)


class Hub:
    """`make_sockets` gets the `/cli` namespace and answers what knows its rooms (a SocketServer)."""

    def __init__(
        self,
        clock: IReactorTime,
        now: Callable[[], int],
        store: IStore,
        gate: Gate,
        make_sockets: Callable[[CliNamespace], Rooms],
    ) -> None:
        late = _LateRooms()
        self.gate, self.settings = gate, HubSettings()
        self.engine = Engine(clock, now, store, late)
        self.messages = Messages(self.engine)
        self.presence = Presence(self.engine, self.messages)
        self.documents = Documents(self.engine)
        self.lifecycle = Lifecycle(self.engine, self.documents, self.presence)
        self.toasts = Toasts(self.engine)
        self.messages.on_ready.append(self.toasts.ready)
        self.documents.on_state.append(self.toasts.state_changed)
        self.documents.on_agent_id.append(self.lifecycle.absorb)
        guesses = GuessLimit()
        self.doorkeeper = Doorkeeper(gate, guesses, self.engine)
        self.cli = CliNamespace(
            self.engine, gate, guesses, self.presence, self.messages, self.documents
        )
        self.sockets = late.rooms = make_sockets(self.cli)
        self.desk = Desk(self, self.doorkeeper)
        self.streams = EventsResource(self.engine, self.doorkeeper, self.desk)
        self.rest: IResource = self._application().resource()

    def _application(self) -> Klein:
        app = Klein()
        for number, route in enumerate(ROUTES):
            app.route(route.path, methods=[route.method], endpoint=f"route-{number}")(
                self._serving(route)
            )
        app.handle_errors(Exception)(self._unknown)
        return app

    def _serving(self, route: Route) -> Callable[..., Any]:
        def serve(request: Any, **ids: str) -> Any:
            return self.desk.serve(route, request, ids)

        return serve

    def _unknown(self, request: Any, failure: Any) -> bytes:
        """No such route, or not this method: said only to those who may come in."""
        if request.path.startswith(b"/api"):
            try:
                self.doorkeeper.api(request)
            except Exception as error:
                return written(request, self.desk.refused(error, "unknown route"))
            return written(request, Reply(404, "404 Not Found", kind="text/plain; charset=UTF-8"))
        try:
            self.doorkeeper.cli(request)
        except Exception as error:
            return written(request, self.desk.refused(error, "unknown route"))
        return written(request, Reply(404, {"error": "Not found"}))

    async def rewrite(
        self,
        session: Session,
        change: Callable[[dict[str, Any]], dict[str, Any]],
        columns: dict[str, Any] | None = None,
        counted: bool = True,
    ) -> None:
        """Change a session's metadata for a person, in its turn. Raises Concurrent."""
        documents = self.documents
        await self.engine.in_lane(
            session, lambda: documents.rewrite(session, change, columns=columns, counted=counted)
        )

    async def change(self, session: Session, column: str, name: str, value: Any) -> None:
        """Keep a setting that the session has applied, and tell it as `name`."""

        async def change() -> None:
            row = await self.engine.store.change_session(session.id, {column: value})
            session.row = evolve(row)
            self.engine.patch(session, **{name: value})

        await self.engine.in_lane(session, change)
