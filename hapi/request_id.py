"""The id of the HTTP request that is being served: in its answer, in the calls to other programs
that it causes, and in all that is logged meanwhile.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import Context, ContextVar
from typing import TypeVar

T = TypeVar("T")
REQUEST_ID_HEADER = "X-Request-Id"
# What proxies send: nginx 32 hexadecimal digits, Caddy and Envoy a UUID, others Base64.
WELL_FORMED = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:/+=@-]{0,127}")
RANDOM_BYTES = 8

_current: ContextVar[str | None] = ContextVar("request_id", default=None)


def request_id_from(header: str | None) -> str:
    """The id that a proxy or client gave a request in the header X-Request-Id, or a new one if it
    gave none that is well-formed.
    """
    return well_formed_id(header) or os.urandom(RANDOM_BYTES).hex()


def well_formed_id(text: str | None) -> str | None:
    """`text` if it can be a request's id, None otherwise."""
    return text if text is not None and WELL_FORMED.fullmatch(text) else None


def current_request_id() -> str | None:
    """The id of the request on whose behalf this code runs, None if there is none.

    A coroutine keeps the id under which it was started; delayed calls have none.
    """
    return _current.get()


@contextmanager
def serving_request(request_id: str | None) -> Iterator[None]:
    """What is done inside is on behalf of this request; None: of none."""
    token = _current.set(request_id)
    try:
        yield
    finally:
        _current.reset(token)


def run_for_request(request_id: str, call: Callable[[], T]) -> T:
    """`call()` on behalf of a request."""
    with serving_request(request_id):
        return call()


def run_for_nobody(call: Callable[[], T]) -> T:
    """`call()` on behalf of no request: for work that a request starts and others share."""
    return Context().run(call)
