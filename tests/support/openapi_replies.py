"""Compares replies of the hub with its OpenAPI document."""

from __future__ import annotations

import re
from functools import cache
from typing import Any
from urllib.parse import unquote

try:
    import jsonschema_rs
except ImportError:  # no extra "test": statuses and types are compared, shapes are not
    jsonschema_rs = None


class UndeclaredReply(AssertionError):
    """A reply that the OpenAPI document does not describe."""


class DescribedApi:
    """An OpenAPI document that can be asked about replies."""

    def __init__(self, document: dict[str, Any]) -> None:
        self.document = document
        self._patterns = [
            (re.compile(re.sub(r"\\\{\w+\\\}", "[^/]+", re.escape(path))), path)
            # Words before parameters, so that `/upload/delete` is not `/{a}/{b}`.
            for path in sorted(document["paths"], key=lambda path: path.count("{"))
        ]
        self._validators: dict[int, Any] = {}

    def operation(self, method: str, path: str) -> dict[str, Any] | None:
        """`path` as it was requested: a parameter may hold an escaped slash."""
        path = "/".join(unquote(part).replace("/", "_") for part in path.split("/"))
        for pattern, name in self._patterns:
            found = self.document["paths"][name].get(method.lower())
            if found is not None and pattern.fullmatch(path):
                return found
        return None

    def resolved(self, part: dict[str, Any]) -> dict[str, Any]:
        reference = part.get("$ref")
        if reference is None:
            return part
        found = self.document
        for name in reference.removeprefix("#/").split("/"):
            found = found[name]
        return found

    def problem(self, schema: dict[str, Any], value: Any) -> str | None:
        """What is wrong with `value`; None if nothing is."""
        if jsonschema_rs is None:
            return None
        validator = self._validators.get(id(schema))
        if validator is None:
            whole = {**schema, "components": self.document["components"]}
            validator = self._validators[id(schema)] = jsonschema_rs.validator_for(whole)
        try:
            validator.validate(value)
        except jsonschema_rs.ValidationError as error:
            return str(error)
        return None

    def check(self, method: str, path: str, status: int, kind: str, body: Any) -> None:
        """Raises UndeclaredReply."""
        what = f"{method} {path}: {status}"
        operation = self.operation(method, path.partition("?")[0])
        if operation is None:
            if status < 400:
                raise UndeclaredReply(f"{what}, of a route that is not described")
            return
        declared = operation["responses"].get(str(status))
        if declared is None:
            raise UndeclaredReply(f"{what} is not among {sorted(operation['responses'])}: {body}")
        contents = self.resolved(declared).get("content", {})
        content = contents.get(kind, contents.get(kind.partition(";")[0], contents.get("*/*")))
        if content is None:
            if not contents:
                return
            raise UndeclaredReply(f"{what} has the type {kind}, described: {sorted(contents)}")
        problem = self.problem(content["schema"], body) if "schema" in content else None
        if problem is not None:
            raise UndeclaredReply(f"{what}: {problem}")


@cache
def described_api() -> DescribedApi:
    """What the hub says of itself."""
    from hapi.hub.http.openapi.document import document
    from tests.support.hub_stage import Stage

    return DescribedApi(document(Stage().hub.description.routes))
