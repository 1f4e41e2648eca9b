"""The OpenAPI 3.1 document of the REST API, made of what the routes declare."""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Iterator, Mapping
from http import HTTPStatus
from typing import Any

import msgspec
from attrs import frozen
from twisted.web import http

from hapi.hub.access.rate_limits import Cost
from hapi.hub.domain import errors
from hapi.hub.http.openapi.operation import Parameter
from hapi.hub.http.openapi.routes import Route
from hapi.hub.http.responses import STATUSES, TEXT
from hapi.net.server.http import BodyTooLarge, status_of
from hapi.protocol.hub import PROTOCOL_VERSION
from hapi.protocol.rest.outcome import ErrorReply

OPENAPI_VERSION = "3.1.0"
REF_TEMPLATE = "#/components/schemas/{name}"
# What each request may get, whatever its route: from the site before a route is found, from the
# store, and from a fault of the hub. The texts are those of `_DESCRIPTIONS`.
EVERYWHERE = (400, 408, 413, 421, 431, 500, 503, 507)
_DESCRIPTIONS: Mapping[int, str] = {
    200: "The object exists already.",
    304: "The picture has not changed.",
    400: "The request, its body or its query is invalid.",
    401: "The token is missing or invalid.",
    403: "The object belongs to another namespace, or the token does not allow the request.",
    404: "The object does not exist.",
    408: "The request did not arrive in time.",
    409: "The current state does not allow the request.",
    413: "The body is too large.",
    421: "The hub does not answer to this host name.",
    422: "The session lacks data that the request needs.",
    429: "Too many requests; the header Retry-After has the seconds to wait.",
    431: "The head of the request is too large.",
    500: "The runner or the session did not answer, or the hub failed.",
    502: "The runner cannot be restarted.",
    503: "The hub, its database or the machine is not available at present.",
    507: "The disk of the hub is full.",
}
_SCHEMES: Mapping[str, str] = {"api": "webToken", "cli": "accessToken"}


@frozen
class _Schemas:
    """The schemas of the types that the routes declare."""

    _by_type: Mapping[int, dict[str, Any]]
    components: dict[str, Any]

    @classmethod
    def of(cls, types: Iterable[Any]) -> _Schemas:
        wanted = list({id(kind): kind for kind in types}.values())
        schemas, components = msgspec.json.schema_components(wanted, ref_template=REF_TEMPLATE)
        by_type = {id(kind): schema for kind, schema in zip(wanted, schemas, strict=True)}
        return cls(by_type, dict(components))

    def __call__(self, kind: Any) -> dict[str, Any]:
        return self._by_type[id(kind)]


def document(routes: Iterable[Route]) -> dict[str, Any]:
    """The OpenAPI document of these routes."""
    listed = sorted(routes, key=lambda route: (route.path, route.method))
    schemas = _Schemas.of([ErrorReply, *(kind for route in listed for kind in _types(route))])
    paths: dict[str, dict[str, Any]] = {}
    for route in listed:
        paths.setdefault(route.path, {})[route.method] = _operation(route, schemas)
    return {
        "openapi": OPENAPI_VERSION,
        "info": {
            "title": "HAPI hub",
            "version": str(PROTOCOL_VERSION),
            "description": "Sessions of coding agents on your machines: the API of the web page "
            "and of programs (/api), and of runners and sessions (/cli). Times are milliseconds "
            "since 1970.",
            "license": {"name": "MIT", "identifier": "MIT"},
        },
        "servers": [{"url": "/"}],
        "tags": [
            {"name": "api", "description": "For people and their programs."},
            {"name": "cli", "description": "For runners and session processes."},
            {"name": "public", "description": "Without a token."},
        ],
        "paths": paths,
        "components": {
            "schemas": schemas.components,
            "responses": _error_responses(schemas),
            "securitySchemes": {
                "webToken": {
                    "type": "http",
                    "scheme": "bearer",
                    "description": "The token that POST /api/auth replies.",
                },
                "accessToken": {
                    "type": "http",
                    "scheme": "bearer",
                    "description": "The access token of the hub, with `:namespace` if it is not "
                    "the default one, or the token of a device or machine.",
                },
            },
        },
    }


def _types(route: Route) -> Iterator[Any]:
    declared = route.operation
    kinds = (declared.reply, _body(route), *declared.replies.values())
    yield from (kind for kind in kinds if kind is not None)
    yield from (parameter.type for parameter in declared.query)


def _body(route: Route) -> Any:
    declared = route.operation
    return declared.body_by_path.get(route.choice or "", declared.body)


def _operation(route: Route, schemas: _Schemas) -> dict[str, Any]:
    declared, kind = route.operation, _body(route)
    summary, _, description = (inspect.getdoc(route.handler) or "").partition("\n\n")
    shown: dict[str, Any] = {
        "operationId": route.name,
        "summary": " ".join(summary.split()).rstrip("."),
        "tags": [route.authentication],
        "security": _security(route),
    }
    if description:
        shown["description"] = description
    ids = [
        {
            "name": name,
            "in": "path",
            "required": True,
            "schema": {"type": "string", "minLength": 1},
        }
        for name in route.parameters
    ]
    parameters = [*ids, *(_parameter(parameter, schemas) for parameter in declared.query)]
    if parameters:
        shown["parameters"] = parameters
    if kind is not None:
        content = {"application/json": {"schema": schemas(kind)}}
        shown["requestBody"] = {"required": _is_required(kind), "content": content}
    shown["responses"] = _responses(route, schemas)
    return shown


def _security(route: Route) -> list[dict[str, list[str]]]:
    """The token that a route needs, and the scopes that it must have."""
    scheme = _SCHEMES.get(route.authentication)
    return [] if scheme is None else [{scheme: list(route.scopes)}]


def _is_required(kind: Any) -> bool:
    """Whether a body must be sent: an empty one counts as `{}`."""
    try:
        msgspec.convert({}, kind)
    except msgspec.ValidationError:
        return True
    return False


def _parameter(parameter: Parameter, schemas: _Schemas) -> dict[str, Any]:
    return {
        "name": parameter.name,
        "in": "query",
        "description": parameter.description,
        "required": parameter.is_required,
        "schema": schemas(parameter.type),
    }


def statuses_of(route: Route) -> frozenset[int]:
    """The statuses of error replies to requests of this route."""
    declared = route.operation
    raised: list[type[Exception]] = list(declared.errors)
    if route.authentication != "public":
        raised += [errors.Unauthenticated, errors.AccessDenied]
    if route.authentication == "cli":
        raised.append(errors.LoginRateLimited)
    if route.parameters:
        raised += [errors.AccessDenied, errors.NotFound]
    if declared.body is not None or declared.body_by_path:
        raised += [errors.InvalidRequest, BodyTooLarge]
    if isinstance(getattr(route.handler, "cost", None), Cost):
        raised += [errors.RequestRateLimited, errors.NoPlace, errors.HubFull]
    statuses = {status for kind in raised if (status := _status(kind)) is not None}
    return frozenset({*statuses, *EVERYWHERE})


def _status(kind: type[Exception]) -> int | None:
    return status_of(kind.__new__(kind), STATUSES)


def _error_responses(schemas: _Schemas) -> dict[str, Any]:
    """The error replies by status. A fault of the hub itself is not described to clients."""
    error = {"application/json": {"schema": schemas(ErrorReply)}}
    text = {TEXT: {"schema": {"type": "string"}}}
    return {
        str(status): {
            "description": description,
            "content": error | text if status == http.INTERNAL_SERVER_ERROR else error,
        }
        for status, description in _DESCRIPTIONS.items()
        if status >= http.BAD_REQUEST
    }


def _responses(route: Route, schemas: _Schemas) -> dict[str, Any]:
    declared = route.operation
    found: dict[int, dict[str, Any]] = {
        status: {"$ref": f"#/components/responses/{status}"} for status in statuses_of(route)
    }
    schema = {} if declared.reply is None else {"schema": schemas(declared.reply)}
    found[declared.status] = {
        "description": HTTPStatus(declared.status).phrase,
        "content": {declared.media_type: schema},
    }
    for status, kind in declared.replies.items():
        content = {} if kind is None else {"application/json": {"schema": schemas(kind)}}
        found[status] = {"description": _DESCRIPTIONS[status]} | (
            {"content": content} if content else {}
        )
    return {str(status): found[status] for status in sorted(found)}
