"""The routes of the REST API as OpenAPI writes them: one path for each word of a converter."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from attrs import frozen

from hapi.hub.http.openapi.operation import Operation, operation_of
from hapi.hub.http.scopes import scopes_of

_CONVERTER = re.compile(r"<(?:any\(([^)]*)\):)?(\w+)>")


@frozen
class Route:
    """One method of one path of the document. `choice`: the word of the path that stands for the
    route's converter `any(…)`."""

    path: str
    method: str  # in lower case
    choice: str | None
    handler: Any
    authentication: str  # `api`, `cli` or `public`
    scopes: tuple[str, ...] = ()  # that the token must have, all of them

    @property
    def operation(self) -> Operation:
        return operation_of(self.handler) or Operation()

    @property
    def parameters(self) -> list[str]:
        return re.findall(r"\{(\w+)\}", self.path)

    @property
    def name(self) -> str:
        """The operationId, unique in the document."""
        words = [self.method, *re.findall(r"\w+", self.path.replace("-", "_"))]
        return "_".join(words)


def routes_of(rule: Any, handler: Any) -> Iterator[Route]:
    """The routes of a rule of Klein: one for each of its methods and for each word of a converter
    `any(…)`, without HEAD, which werkzeug adds to each GET.
    """
    found = next((match for match in _CONVERTER.finditer(rule.rule) if match[1]), None)
    choices = [None] if found is None else re.findall(r'"([^"]+)"', found[1])
    for choice in choices:
        path = rule.rule if choice is None or found is None else rule.rule.replace(found[0], choice)
        path = _CONVERTER.sub(lambda match: "{" + _camel(match[2]) + "}", path)
        for method in sorted((rule.methods or set()) - {"HEAD", "OPTIONS"}):
            scopes = tuple(scopes_of(method, rule.rule, choice))
            yield Route(path, method.lower(), choice, handler, handler.authentication, scopes)


def _camel(name: str) -> str:
    head, *rest = name.split("_")
    return head + "".join(word.capitalize() for word in rest)
