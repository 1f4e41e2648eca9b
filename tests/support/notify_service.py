"""A push service on loopback, with TLS: it keeps what it gets, and answers as it is told."""

from __future__ import annotations

import ssl
import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from attrs import define, field

from tests.support.tls_authority import Authority

TIMEOUT = 120.0  # seconds for a message to arrive


@define
class Received:
    path: str
    headers: dict[str, str]
    body: bytes


@define(eq=False)
class PushService:
    """`statuses`: what the next messages are answered with; then 201."""

    directory: Path
    statuses: list[int] = field(factory=list)
    received: list[Received] = field(factory=list)
    pause: Callable[[], object] = lambda: time.sleep(0.05)  # between two looks
    authority: Any = None
    _server: Any = None

    def __attrs_post_init__(self) -> None:
        self.authority = Authority(self.directory)
        service = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                headers = {name.lower(): value for name, value in self.headers.items()}
                service.received.append(Received(self.path, headers, body))
                self.send_response(service.statuses.pop(0) if service.statuses else 201)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *arguments: Any) -> None: ...

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*self.authority.issue("localhost", name="push"))
        self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    @property
    def environment(self) -> dict[str, str]:
        """What a hub needs to send to it."""
        roots = str(self.authority.roots)
        return {"SSL_CERT_FILE": roots, "HAPI_PUSH_PRIVATE_ADDRESSES": "yes"}

    def endpoint(self, name: str = "1") -> str:
        return f"https://localhost:{self._server.server_address[1]}/send/{name}"

    def message(self, number: int, path: str = "/send/1") -> Received:
        """The message of this number to a subscription, once it has arrived."""
        end = time.monotonic() + TIMEOUT
        while True:
            found = [each for each in self.received if each.path == path]
            if len(found) > number:
                return found[number]
            assert time.monotonic() < end, "no such message arrived"
            self.pause()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
