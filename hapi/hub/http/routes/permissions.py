"""REST for people: answers to permission requests, and the rules that came of them."""

# mypy: disable-error-code="untyped-decorator"

from __future__ import annotations

from typing import Any, ClassVar

import msgspec
from attrs import define
from klein import Klein

from hapi.hub.domain.documents import Documents
from hapi.hub.domain.entities import HubSession
from hapi.hub.domain.errors import Conflict, InvalidRequest, NotFound, RpcError
from hapi.hub.domain.rpc import QUICK_RPC_TIMEOUT, error_text
from hapi.hub.http.openapi.operation import operation
from hapi.hub.http.routing import OK, RequestContext, Routes, api
from hapi.protocol import rpc_methods
from hapi.protocol.hub import mode_of
from hapi.protocol.permission_rules import read_rules
from hapi.protocol.rest.bodies import Approve, Deny
from hapi.protocol.rest.outcome import Done
from hapi.protocol.rest.sessions import Rules

RULES = "permissionRules"  # in a session's metadata


@define(eq=False, repr=False)
class PermissionRoutes(Routes):
    documents: Documents

    app: ClassVar[Klein] = Klein()

    @app.route("/api/sessions/<session_id>/permissions/<request_id>/approve", methods=["POST"])
    @api
    @operation(Done, body=Approve, errors=(Conflict, RpcError))
    async def approve(
        self, context: RequestContext, session_id: str, request_id: str
    ) -> dict[str, Any]:
        """Approve a permission request, or answer a question."""
        session = await context.active_session(session_id)
        request = _open_request(session, request_id)
        body = context.body(Approve)
        answer = {"id": request_id, "approved": True, **msgspec.to_builtins(body)}
        if body.mode is not None:
            answer["mode"] = mode_of(session.metadata, body.mode)
            if answer["mode"] is None:
                raise InvalidRequest("Invalid permission mode for session flavor")
        await self.documents.answer_request(session, answer, request)
        return OK

    @app.route("/api/sessions/<session_id>/permissions/<request_id>/deny", methods=["POST"])
    @api
    @operation(Done, body=Deny, errors=(Conflict, RpcError))
    async def deny(
        self, context: RequestContext, session_id: str, request_id: str
    ) -> dict[str, Any]:
        """Deny a permission request."""
        session = await context.active_session(session_id)
        request = _open_request(session, request_id)
        body = context.body(Deny)
        answer = {"id": request_id, "approved": False, **msgspec.to_builtins(body)}
        await self.documents.answer_request(session, answer, request)
        return OK

    # --- rules ------------------------------------------------------------------------------------

    @app.route("/api/sessions/<session_id>/permission-rules", methods=["GET"])
    @api
    @operation(Rules)
    async def list_rules(self, context: RequestContext, session_id: str) -> dict[str, Any]:
        """What is allowed for the rest of the session, also of one that has ended."""
        return _rules(context.session(session_id))

    @app.route("/api/sessions/<session_id>/permission-rules/<rule_id>", methods=["DELETE"])
    @api
    @operation(Rules, errors=(Conflict, RpcError))
    async def remove_rule(
        self, context: RequestContext, session_id: str, rule_id: str
    ) -> dict[str, Any]:
        """Remove a permission rule."""
        session = context.session(session_id)
        rules = read_rules(session.metadata.get(RULES))
        if not any(rule.id == rule_id for rule in rules):
            raise NotFound("Permission rule not found")
        if session.active:
            method = rpc_methods.REMOVE_PERMISSION_RULE
            registry = context.registry
            told = await registry.rpc.call(session.id, method, {"id": rule_id}, QUICK_RPC_TIMEOUT)
            problem = error_text(told)
            if problem is not None:
                raise Conflict(problem)
            return {"rules": told["rules"]} if isinstance(told, dict) and "rules" in told else OK
        await self.documents.rewrite(session, lambda metadata: _without(metadata, rule_id))
        return _rules(session)


def _rules(session: HubSession) -> dict[str, Any]:
    return {"rules": [rule.as_json() for rule in read_rules(session.metadata.get(RULES))]}


def _without(metadata: dict[str, Any], rule_id: str) -> dict[str, Any]:
    kept = [rule.as_json() for rule in read_rules(metadata.get(RULES)) if rule.id != rule_id]
    return {**metadata, RULES: kept}


def _open_request(session: HubSession, request_id: str) -> Any:
    """The permission request, if no answer to it is on its way. Raises NotFound."""
    request = session.requests.get(request_id)
    if request is None or session.answered.get(request_id) == request:
        raise NotFound("Request not found")
    return request
