"""Who may call the control API, decided from connection and headers (faults.md §4). Pure."""

from __future__ import annotations

import hmac
from collections.abc import Callable, Sequence
from urllib.parse import unquote_to_bytes

from attrs import frozen

from hapi.runner.control.peer_credentials import Caller, admits

READ_ONLY = frozenset(
    {b"/healthz", b"/readyz", b"/metrics"}
)  # for monitors: GET and no other method


@frozen
class Denied:
    """The answer to a caller whose request is refused."""

    status: int
    reason: str


class CallerForbidden(Exception):
    """The caller may not make this request; the text says why."""


@frozen
class PeerInfo:
    """The other end of a connection.

    `caller` is None if the kernel knows no such socket or does not tell.
    """

    caller: Caller | None
    is_verifiable: bool  # whether the kernel can tell who calls
    is_unix: bool = False


Headers = Callable[[bytes], Sequence[bytes]]  # all values of one header, [] when absent


def check_request(
    peer: PeerInfo,
    own_uid: int,
    port: int | None,
    token: str,
    method: bytes,
    path: bytes,
    headers: Headers,
) -> Denied | None:
    """Check a request; None accepts it.

    The order is that of faults.md: connection, Host, browser, method, path, type of the body.
    """
    if peer.is_verifiable and not admits(peer.caller, own_uid):
        return Denied(403, "only the user who runs this runner may call it")
    if not peer.is_unix and (refusal := _foreign_host(headers(b"host"), port)):
        return refusal
    if headers(b"origin") or headers(b"sec-fetch-site"):
        return Denied(403, "web pages may not call the runner")
    if not peer.is_verifiable and not _knows(token, headers(b"authorization")):
        return Denied(
            401,
            "this system cannot identify the calling user; "
            "use the Unix socket runner.sock, or send the token from runner.state.json",
        )
    if method != (b"GET" if path in READ_ONLY else b"POST"):
        return Denied(405, f"Route {method.decode('latin-1')}:{path.decode('latin-1')} not found")
    if not _is_text(path):
        return Denied(404, f"Route {method.decode('latin-1')}:{path.decode('latin-1')} not found")
    return _wrong_type(headers)


def _is_text(path: bytes) -> bool:
    """Whether `path` is valid UTF-8: Klein logs a failure for others."""
    try:
        unquote_to_bytes(path).decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True


def _foreign_host(hosts: Sequence[bytes], port: int | None) -> Denied | None:
    """Refuse any other Host: a page that rebinds its name to 127.0.0.1 sends that name."""
    allowed = {f"127.0.0.1:{port}".encode(), f"localhost:{port}".encode()}
    if len(hosts) != 1 or hosts[0].lower() not in allowed:
        return Denied(421, "the Host header does not name the runner")
    return None


def _knows(token: str, given: Sequence[bytes]) -> bool:
    return len(given) == 1 and hmac.compare_digest(given[0], b"Bearer " + token.encode())


def _wrong_type(headers: Headers) -> Denied | None:
    kinds, lengths = headers(b"content-type"), headers(b"content-length")
    has_body = bool(headers(b"transfer-encoding")) or any(
        length.strip() not in (b"", b"0") for length in lengths
    )
    if not kinds and not has_body:
        return None
    if len(kinds) != 1 or kinds[0].split(b";")[0].strip().lower() != b"application/json":
        return Denied(415, "the body must be application/json")
    return None
