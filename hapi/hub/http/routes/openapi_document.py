"""REST: the OpenAPI document of all routes."""

# mypy: disable-error-code="untyped-decorator"

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

from attrs import define
from klein import Klein

from hapi.hub.http.openapi.operation import operation
from hapi.hub.http.openapi.routes import Route
from hapi.hub.http.responses import Response
from hapi.hub.http.routing import RequestContext, Routes, declared_routes, public
from hapi.net.server.http import encode_json


@define(eq=False, repr=False)
class DocumentRoutes(Routes):
    """`parts`: those with Klein applications; `further`: the routes of other resources."""

    _parts: Sequence[Routes]
    _further: Sequence[Route]
    _document: bytes | None = None  # made when it is first asked for

    app: ClassVar[Klein] = Klein()

    @property
    def routes(self) -> list[Route]:
        return [*declared_routes(*self._parts, self), *self._further]

    @app.route("/api/openapi.json", methods=["GET"])
    @public
    @operation(dict[str, Any])
    async def read_document(self, context: RequestContext) -> Response:
        """Describe this API, as an OpenAPI 3.1 document."""
        if self._document is None:
            from hapi.hub.http.openapi.document import document

            self._document = encode_json(document(self.routes))
        return Response(200, self._document)
