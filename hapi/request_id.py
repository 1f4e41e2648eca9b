"""The id of the HTTP request that is being served: in its answer, and in all that is logged
meanwhile.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Callable
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
    if header is not None and WELL_FORMED.fullmatch(header):
        return header
    return secrets.token_hex(RANDOM_BYTES)


def current_request_id() -> str | None:
    """The id of the request on whose behalf this code runs, None if there is none.

    A coroutine keeps the id under which it was started; delayed calls have none.
    """
    return _current.get()


def run_for_request(request_id: str, call: Callable[[], T]) -> T:
    """`call()` on behalf of a request."""
    token = _current.set(request_id)
    try:
        return call()
    finally:
        _current.reset(token)


def run_for_nobody(call: Callable[[], T]) -> T:
    """`call()` on behalf of no request: for work that a request starts and others share."""
    return Context().run(call)
