"""All parts of a hub, put together."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from attrs import define, evolve
from klein import Klein
from twisted.internet.interfaces import IReactorTime
from twisted.web.resource import IResource

from hapi.hub.cli_namespace import CliNamespace
from hapi.hub.domain.auth import LoginRateLimit, TokenIssuer
from hapi.hub.domain.documents import Documents
from hapi.hub.domain.entities import Session
from hapi.hub.domain.lifecycle import Lifecycle
from hapi.hub.domain.messages import Messages
from hapi.hub.domain.notifications import Notifications
from hapi.hub.domain.presence import Presence
from hapi.hub.domain.registry import HubRegistry, Rooms
from hapi.hub.http import cli_routes, file_routes, machine_routes, message_routes, session_routes
from hapi.hub.http.routing import Authenticator, Dispatcher, Response, Route, render_response
from hapi.hub.http.sse import EventsResource
from hapi.hub.store.interface import IStore

ROUTES: tuple[Route, ...] = (
    *cli_routes.route.table,
    *session_routes.route.table,
    *message_routes.route.table,
    *machine_routes.route.table,
    *file_routes.route.table,
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
        token_issuer: TokenIssuer,
        make_sockets: Callable[[CliNamespace], Rooms],
    ) -> None:
        late = _LateRooms()
        self.token_issuer, self.settings = token_issuer, HubSettings()
        self.registry = HubRegistry(clock, now, store, late)
        self.messages = Messages(self.registry)
        self.presence = Presence(self.registry, self.messages)
        self.documents = Documents(self.registry)
        self.lifecycle = Lifecycle(self.registry, self.documents, self.presence)
        self.notifications = Notifications(self.registry)
        self.messages.on_ready.append(self.notifications.session_ready)
        self.documents.on_state.append(self.notifications.state_changed)
        self.documents.on_agent_id.append(self.lifecycle.merge_duplicates)
        login_rate_limit = LoginRateLimit()
        self.authenticator = Authenticator(token_issuer, login_rate_limit, self.registry)
        self.cli = CliNamespace(
            self.registry,
            token_issuer,
            login_rate_limit,
            self.presence,
            self.messages,
            self.documents,
        )
        self.sockets = late.rooms = make_sockets(self.cli)
        self.dispatcher = Dispatcher(self, self.authenticator)
        self.streams = EventsResource(self.registry, self.authenticator, self.dispatcher)
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
            return self.dispatcher.serve(route, request, ids)

        return serve

    def _unknown(self, request: Any, failure: Any) -> bytes:
        """No such route, or not this method: said only to those who may come in."""
        if request.path.startswith(b"/api"):
            try:
                self.authenticator.api(request)
            except Exception as error:
                return render_response(request, self.dispatcher.refused(error, "unknown route"))
            return render_response(
                request, Response(404, "404 Not Found", kind="text/plain; charset=UTF-8")
            )
        try:
            self.authenticator.cli(request)
        except Exception as error:
            return render_response(request, self.dispatcher.refused(error, "unknown route"))
        return render_response(request, Response(404, {"error": "Not found"}))

    async def rewrite(
        self,
        session: Session,
        change: Callable[[dict[str, Any]], dict[str, Any]],
        columns: dict[str, Any] | None = None,
        counted: bool = True,
    ) -> None:
        """Change a session's metadata for a person, in its turn. Raises Concurrent."""
        documents = self.documents
        await self.registry.serialized(
            session, lambda: documents.rewrite(session, change, columns=columns, counted=counted)
        )

    async def change(self, session: Session, column: str, name: str, value: Any) -> None:
        """Keep a setting that the session has applied, and tell it as `name`."""

        async def change() -> None:
            row = await self.registry.store.change_session(session.id, {column: value})
            session.row = evolve(row)
            self.registry.patch(session, **{name: value})

        await self.registry.serialized(session, change)
