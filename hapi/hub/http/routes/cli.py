"""REST for runners and session processes: `/cli`."""

# mypy: disable-error-code="untyped-decorator"

from __future__ import annotations

from typing import Any, ClassVar

from attrs import define
from klein import Klein

from hapi.hub.access.tokens import DeviceToken, TokenKeeper, may_access, require_access
from hapi.hub.domain.documents import Documents
from hapi.hub.domain.entities import HubSession, HubSettings
from hapi.hub.domain.errors import (
    AccessDenied,
    Conflict,
    InvalidQuery,
    InvalidRequest,
    RpcError,
    Unavailable,
)
from hapi.hub.domain.handoff import Handoff
from hapi.hub.domain.lifecycle import Lifecycle
from hapi.hub.domain.views import machine_view, message_view, session_view
from hapi.hub.http.openapi.operation import Flag, Integer, Parameter, operation
from hapi.hub.http.paging import LIMIT, MAX_LIMIT
from hapi.hub.http.routing import OK, RequestContext, Routes, cli
from hapi.protocol.rest.bodies import CreateSession, RegisterMachine
from hapi.protocol.rest.machines import MachineReply
from hapi.protocol.rest.messages import Messages
from hapi.protocol.rest.outcome import Done
from hapi.protocol.rest.sessions import CliSessionReply, ResumableSessions, ResumeTargetReply

AFTER_SEQ = Integer("afterSeq", "Messages with a greater number.", is_required=True)

MACHINE_ID = Parameter("machineId", "Sessions of this machine only.")
ALL = Flag("all", "Also sessions of agents that npm's programs do not know.")


@define(eq=False, repr=False)
class CliRoutes(Routes):
    lifecycle: Lifecycle
    documents: Documents
    settings: HubSettings
    tokens: TokenKeeper
    handoff: Handoff

    app: ClassVar[Klein] = Klein()

    def _session_reply(self, session: HubSession) -> dict[str, Any]:
        contract = self.settings.session_summary_contract
        return {"session": session_view(session), "sessionSummaryContract": contract}

    @app.route("/cli/sessions", methods=["POST"])
    @cli
    @operation(CliSessionReply, body=CreateSession, errors=(Conflict,))
    async def create_session(self, context: RequestContext) -> dict[str, Any]:
        """Register a session, or find the one with this tag."""
        body = context.body(CreateSession)
        device = context.principal.device
        if device is not None:
            await self._check_machine(context, device, body)
        session = await self.lifecycle.create(context.namespace, body)
        require_access(device, session)  # a known tag may be that of another machine's session
        return self._session_reply(session)

    async def _check_machine(
        self, context: RequestContext, device: DeviceToken, body: CreateSession
    ) -> None:
        """Bind the token of a machine to the machine that brings this session. Raises
        AccessDenied.
        """
        machine_id = body.metadata.get("machineId") if isinstance(body.metadata, dict) else None
        if not isinstance(machine_id, str) or not machine_id:
            raise AccessDenied("The token of a machine opens only sessions that name their machine")
        if body.machine is not None and body.machine.id != machine_id:
            raise AccessDenied("The session names another machine than the request")
        await self.tokens.bind(device, machine_id, machine_id not in context.registry.machines)
        for session in context.registry.sessions_of(context.namespace):
            if session.row.tag == body.tag:
                require_access(device, session)

    def _session(self, context: RequestContext, session_id: str) -> HubSession:
        """Raises NotFound, AccessDenied."""
        session = context.session(session_id)
        require_access(context.principal.device, session)
        return session

    @app.route("/cli/sessions/<session_id>", methods=["GET"])
    @cli
    @operation(CliSessionReply)
    async def read_session(self, context: RequestContext, session_id: str) -> dict[str, Any]:
        """Show a session."""
        return self._session_reply(self._session(context, session_id))

    # Werkzeug prefers a fixed path to one with an id; no session has this one.
    @app.route("/cli/sessions/resumable", methods=["GET"])
    @cli
    @operation(ResumableSessions, query=(MACHINE_ID, ALL))
    async def list_resumable(self, context: RequestContext) -> dict[str, Any]:
        """List the sessions that a terminal can go on with, the newest first."""
        device = context.principal.device
        machine_id = context.query.get(MACHINE_ID.name)
        found = await self.handoff.resumable(
            context.namespace,
            machine_id,
            lambda session: may_access(device, session),
            ALL.read(context.query),
        )
        return {"sessions": found}

    @app.route("/cli/sessions/<session_id>/resume-target", methods=["GET"])
    @cli
    @operation(ResumeTargetReply, query=(ALL,), errors=(Conflict,))
    async def read_resume_target(self, context: RequestContext, session_id: str) -> dict[str, Any]:
        """Tell what a program needs to go on with a session."""
        session = self._session(context, session_id)
        return {"target": self.handoff.target(session, ALL.read(context.query))}

    @app.route("/cli/sessions/<session_id>/handoff-local", methods=["POST"])
    @cli
    @operation(Done, errors=(Conflict, RpcError, Unavailable))
    async def hand_off(self, context: RequestContext, session_id: str) -> dict[str, Any]:
        """Have the process of a session leave it to a terminal."""
        await self.handoff.hand_off(self._session(context, session_id))
        return OK

    @app.route("/cli/sessions/<session_id>/messages", methods=["GET"])
    @cli
    @operation(Messages, query=(AFTER_SEQ, LIMIT), errors=(InvalidRequest,))
    async def list_messages(self, context: RequestContext, session_id: str) -> dict[str, Any]:
        """List the messages that came after a number."""
        session = self._session(context, session_id)
        try:
            seq = AFTER_SEQ.read(context.query)
            limit = LIMIT.read(context.query)
        except InvalidQuery:
            seq = None
        if seq is None:
            raise InvalidRequest("Invalid query")
        # A process compares this with what it has sent, and sends again what is missing.
        await context.registry.require_settled(session)
        store, now = context.registry.store, context.registry.now()
        rows = await store.after_seq(session.id, seq, limit or MAX_LIMIT, now)
        return {"messages": [message_view(row) for row in rows]}

    @app.route("/cli/machines", methods=["POST"])
    @cli
    @operation(MachineReply, body=RegisterMachine, errors=(Conflict,))
    async def register_machine(self, context: RequestContext) -> dict[str, Any]:
        """Register a machine."""
        body, device = context.body(RegisterMachine), context.principal.device
        if device is not None:
            await self.tokens.bind(device, body.id, body.id not in context.registry.machines)
        return {"machine": machine_view(await self.documents.register(context.namespace, body))}

    @app.route("/cli/machines/<machine_id>", methods=["GET"])
    @cli
    @operation(MachineReply)
    async def read_machine(self, context: RequestContext, machine_id: str) -> dict[str, Any]:
        """Show a machine."""
        machine = context.machine(machine_id)
        require_access(context.principal.device, machine)
        return {"machine": machine_view(machine)}
