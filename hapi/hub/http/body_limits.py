"""How large a body the hub takes, decided by the head of the request before any of it is kept."""

from __future__ import annotations

import re
from collections.abc import Callable

from attrs import frozen

from hapi.hub.http.authentication import Authenticator
from hapi.hub.http.responses import TEXT, error_response
from hapi.hub.http.routing import MAX_BODY_SIZE, MAX_UPLOAD_SIZE
from hapi.net.server.http import HeadRefused
from hapi.net.server.site import SMALL_BODY_SIZE, LimitedRequest

SOCKETS_PATH, PEERS_PATH = b"/socket.io/", b"/hub/"
MAX_PEER_BODY_SIZE = 72 << 20  # bytes that another hub may send
UPLOAD = re.compile(rb"/api/sessions/[^/]+/upload")
# Paths whose requests need no token, or carry it in the body.
WITHOUT_TOKEN = re.compile(
    rb"/health.*|/ready|/metrics|/api/(auth|bind|events|openapi\.json|notifications/answer)"
)


@frozen(eq=False, repr=False)
class BodyLimits:
    """The rule for the bodies of the hub's requests."""

    _authenticator: Authenticator
    _socket_limit: Callable[[LimitedRequest], int]  # of requests for SOCKETS_PATH

    def __call__(self, request: LimitedRequest) -> int:
        """The greatest size of the body in bytes. Raises HeadRefused."""
        path = request.path
        if path == SOCKETS_PATH:
            return self._socket_limit(request)
        if path.startswith(PEERS_PATH) and request.peer is not None:
            return MAX_PEER_BODY_SIZE
        if request.method == b"OPTIONS" or WITHOUT_TOKEN.fullmatch(path):
            return SMALL_BODY_SIZE
        if path.startswith(b"/api/"):
            self._check(request, Authenticator.authenticate_api)
        elif path.startswith(b"/cli/"):
            self._check(request, Authenticator.authenticate_cli)
        else:
            return SMALL_BODY_SIZE
        is_upload = request.method == b"POST" and UPLOAD.fullmatch(path) is not None
        return MAX_UPLOAD_SIZE if is_upload else MAX_BODY_SIZE

    def _check(self, request, authenticate) -> None:  # type: ignore[no-untyped-def]
        try:
            authenticate(self._authenticator, request)
        except Exception as error:
            refusal = error_response(error, f"The head of {request.path!r}")
            body = {"error": refusal.body} if refusal.kind == TEXT else refusal.body
            raise HeadRefused(refusal.status, body, refusal.headers) from error
