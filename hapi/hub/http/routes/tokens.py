"""REST: the access tokens of devices and machines, and the audit."""

# mypy: disable-error-code="untyped-decorator"

from __future__ import annotations

from typing import Any, ClassVar

import msgspec
from attrs import define
from klein import Klein

from hapi.hub.access.auth import Principal
from hapi.hub.access.tokens import TokenKeeper
from hapi.hub.domain.errors import AccessDenied, Conflict, InvalidRequest
from hapi.hub.http.openapi.operation import Integer, Parameter, operation
from hapi.hub.http.responses import Response
from hapi.hub.http.routing import OK, RequestContext, Routes, api
from hapi.protocol.rest.access import (
    AccessReply,
    AccessTokenList,
    Audit,
    NewAccessToken,
    RevokedAccessToken,
)
from hapi.protocol.rest.bodies import CreateToken
from hapi.protocol.token import InvalidNamespace, Scope, check_namespace

DEFAULT_AUDIT_ENTRIES, MAX_AUDIT_ENTRIES = 100, 1000  # in one reply
LIMIT = Integer("limit", "How many entries; 100 by default.", lowest=1, highest=MAX_AUDIT_ENTRIES)
BEFORE = Integer("before", "Only entries before this time, in ms since the epoch.")
ACTION = Parameter("action", "Only entries of this action, such as `spawn`.")


def access_view(principal: Principal) -> dict[str, Any]:
    """What the token of a request allows. `name` None: it is the access token of the hub."""
    return {
        "access": {
            "name": principal.token_name,
            "namespace": principal.namespace,
            "scopes": [scope for scope in Scope if scope in principal.scopes],
        }
    }


def _administered(principal: Principal) -> str | None:
    """The namespace whose tokens the principal administers; None: those of all namespaces."""
    return None if principal.owns_hub else principal.namespace


@define(eq=False, repr=False)
class TokenRoutes(Routes):
    tokens: TokenKeeper

    app: ClassVar[Klein] = Klein()

    @app.route("/api/token", methods=["GET"])
    @api
    @operation(AccessReply)
    async def read_own(self, context: RequestContext) -> dict[str, Any]:
        """Show what the token of this request allows."""
        return access_view(context.principal)

    @app.route("/api/tokens", methods=["GET"])
    @api
    @operation(AccessTokenList)
    async def list_tokens(self, context: RequestContext) -> dict[str, Any]:
        """List the tokens of the namespace; for the owner of the hub, those of all."""
        found = self.tokens.listed(_administered(context.principal))
        return {"tokens": [token.view() for token in found]}

    @app.route("/api/tokens", methods=["POST"])
    @api
    @operation(NewAccessToken, body=CreateToken, errors=(AccessDenied, Conflict), status=201)
    async def create(self, context: RequestContext) -> Response:
        """Make a token.

        The reply is the only place where the token itself ever stands.
        """
        body, principal = context.body(CreateToken), context.principal
        namespace = principal.namespace if body.namespace is None else body.namespace
        if _administered(principal) not in (None, namespace):
            raise AccessDenied("Only the owner of the hub may make tokens for another namespace")
        try:
            check_namespace(namespace)
        except InvalidNamespace as error:
            raise InvalidRequest(str(error)) from error
        for scope in body.scopes:  # nobody gives away more than they have
            context.require(scope)
        token, text = await self.tokens.create(
            namespace, body.name, body.scopes, body.expires_in, body.machine_id
        )
        return Response(201, {"token": text, **token.view()})

    @app.route("/api/tokens/<token_id>", methods=["DELETE"])
    @api
    @operation(RevokedAccessToken)
    async def revoke(self, context: RequestContext, token_id: str) -> dict[str, Any]:
        """Revoke a token."""
        token = self.tokens.find(token_id, _administered(context.principal))
        await self.tokens.revoke(token)
        return {**OK, "name": token.name}


@define(eq=False, repr=False)
class AuditRoutes(Routes):
    app: ClassVar[Klein] = Klein()

    @app.route("/api/audit", methods=["GET"])
    @api
    @operation(Audit, query=(LIMIT, BEFORE, ACTION), errors=(AccessDenied,))
    async def read(self, context: RequestContext) -> dict[str, Any]:
        """Read the newest entries of the audit, newest first."""
        if not context.principal.owns_hub:
            raise AccessDenied("Only the owner of the hub may read its audit")
        query = context.query
        limit = LIMIT.read(query) or DEFAULT_AUDIT_ENTRIES
        action = query.get(ACTION.name, "")
        entries = self.dispatcher.audit.newest(limit, BEFORE.read(query), action)
        return {"entries": msgspec.to_builtins(entries)}
