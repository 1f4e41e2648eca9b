"""What a route takes and replies, declared beside its handler: the handler reads no body and no
parameter that is not declared, and the OpenAPI document is made of the declarations.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Annotated, Any, TypeVar

from attrs import field, frozen
from msgspec import Meta

from hapi.hub.domain.errors import InvalidQuery

H = TypeVar("H", bound=Callable[..., Any])
MAX_SAFE_INTEGER = 1 << 53


@frozen
class Parameter:
    """A parameter of the query, as text."""

    name: str
    description: str
    is_required: bool = False

    @property
    def type(self) -> Any:
        return Annotated[str, Meta(min_length=1)] if self.is_required else str


@frozen
class Flag(Parameter):
    """True if it is `true` or `1`, false otherwise."""

    @staticmethod
    def is_set(value: str | None) -> bool:
        return value in ("true", "1")

    def read(self, query: Mapping[str, str]) -> bool:
        return self.is_set(query.get(self.name))


@frozen
class Integer(Parameter):
    lowest: int = field(default=0, kw_only=True)
    highest: int = field(default=MAX_SAFE_INTEGER, kw_only=True)
    is_clamped: bool = field(default=False, kw_only=True)  # a value out of the range is moved in

    @property
    def type(self) -> Any:
        return Annotated[int, Meta(ge=self.lowest, le=self.highest)]

    def read(self, query: Mapping[str, str]) -> int | None:
        """The value, None if it is missing. Raises InvalidQuery."""
        text = query.get(self.name)
        if text is None:
            return None
        digits = text[1:] if text.startswith("-") else text
        if not (digits.isascii() and digits.isdigit() and len(digits) <= 16):
            raise InvalidQuery(self.name, "Invalid input: expected number, received NaN")
        value = int(text)
        if self.is_clamped:
            return min(max(value, self.lowest), self.highest)
        if value < self.lowest:
            raise InvalidQuery(self.name, f"Too small: expected number to be >={self.lowest}")
        if value > self.highest:
            raise InvalidQuery(self.name, f"Too big: expected number to be <={self.highest}")
        return value


@frozen
class Operation:
    """What one route takes and replies.

    `reply`: the type of the JSON in a reply with the status `status`, of the type `media_type`.
    `errors`: what the handler raises itself; what follows from the rest, such as a missing token or
    session, is not listed. `replies`: the types of further replies, by status.
    """

    reply: Any = None
    body: Any = None
    body_by_path: Mapping[str, Any] = field(factory=dict)  # for a route with several paths
    query: tuple[Parameter, ...] = ()
    errors: tuple[type[Exception], ...] = ()
    replies: Mapping[int, Any] = field(factory=dict)
    media_type: str = "application/json"
    status: int = 200

    @property
    def parameter_names(self) -> frozenset[str]:
        return frozenset(parameter.name for parameter in self.query)

    def takes(self, body: Any) -> bool:
        """Whether a body of this type is declared."""
        return body is self.body or any(body is other for other in self.body_by_path.values())


class UndeclaredBody(TypeError):
    """A handler reads a body of another type than its route declares."""


def operation(
    reply: Any,
    *,
    body: Any = None,
    body_by_path: Mapping[str, Any] | None = None,
    query: tuple[Parameter, ...] = (),
    errors: tuple[type[Exception], ...] = (),
    replies: Mapping[int, Any] | None = None,
    media_type: str = "application/json",
    status: int = 200,
) -> Callable[[H], H]:
    """Declare what a handler takes and replies, below `api`, `cli` or `public`; see Operation."""
    declared = Operation(
        reply, body, body_by_path or {}, query, errors, replies or {}, media_type, status
    )

    def decorate(handler: H) -> H:
        handler.operation = declared  # type: ignore[attr-defined]
        return handler

    return decorate


def operation_of(handler: Any) -> Operation | None:
    """What a handler, bound by `partial` or not, declares; None if it declares nothing."""
    inner = handler.func if isinstance(handler, partial) else handler
    return getattr(inner, "operation", None)
