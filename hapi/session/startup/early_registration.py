"""Early registration: a session registers itself while the rest of the program is loaded.

The caller waits for the announcement, and loading Twisted takes most of a start. So a thread
creates the row at the hub and announces it to the runner over plain sockets while the main thread
loads. It tries once; what fails is retried by `hapi.session.startup.announcement`, on the reactor
and with back-off.
"""

from __future__ import annotations

import json
import os
import socket
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any
from urllib.parse import quote, urlsplit

from attrs import define, field, frozen

from hapi.home import Home, read_capped
from hapi.net.client.hub_clock import HubClock
from hapi.net.common.errors import HubBusy, HubFailed, HubRefused, HubUnreachable
from hapi.settings import HubAccess

EXCHANGE_TIMEOUT = 10.0  # seconds for one exchange
MAX_RESPONSE_SIZE = 68 * 1024 * 1024  # bytes
Json = dict[str, Any]


@frozen
class HttpResponse:
    status: int
    content_type: str
    body: bytes
    date: str | None = None  # its `Date` header


@define
class HttpConnection:
    """HTTP/1.1 with one server, on one connection for as long as the server keeps it."""

    _origin: str
    _headers: Mapping[str, str]
    _socket: Any = None
    _rest: bytes = b""

    def exchange(self, method: str, path: str, body: Json | None = None) -> HttpResponse:
        """Send a request, return the response. Raises OSError; ValueError if it is not HTTP."""
        deadline = time.monotonic() + EXCHANGE_TIMEOUT
        content = b"" if body is None else json.dumps(body, separators=(",", ":")).encode()
        parts = urlsplit(self._origin)
        headers = {
            **self._headers,
            "Host": parts.netloc,
            "Content-Length": str(len(content)),
            "Accept-Encoding": "identity",
        }
        head = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        if self._socket is None:
            self._socket = _connect(parts.scheme == "https", str(parts.hostname), parts.port)
        self._socket.sendall(f"{method} {path} HTTP/1.1\r\n{head}\r\n".encode("latin-1") + content)
        try:
            return self._reply(deadline)
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _reply(self, deadline: float) -> HttpResponse:
        head = self._until(b"\r\n\r\n", deadline).decode("latin-1")
        first, *lines = head.split("\r\n")
        version, _, status = first.partition(" ")
        if not version.startswith("HTTP/1.") or not status[:3].isdigit():
            raise ValueError("the response is not HTTP")
        headers = {
            name.strip().lower(): value.strip()
            for name, _, value in (line.partition(":") for line in lines)
        }
        if "chunked" in headers.get("transfer-encoding", "").lower():
            body = self._chunks(deadline)
        elif "content-length" in headers:
            body = self._exactly(int(headers["content-length"]), deadline)
        else:
            body = self._to_end(deadline)
        if headers.get("connection", "").lower() == "close":
            self.close()
        return HttpResponse(
            int(status[:3]), headers.get("content-type", ""), body, headers.get("date")
        )

    def _chunks(self, deadline: float) -> bytes:
        body = b""
        while size := int(self._until(b"\r\n", deadline).split(b";")[0], 16):
            body += self._exactly(size, deadline)
            self._until(b"\r\n", deadline)
        while self._until(b"\r\n", deadline):  # trailers
            pass
        return body

    def _to_end(self, deadline: float) -> bytes:
        while self._more(deadline):
            pass
        body, self._rest = self._rest, b""
        self.close()
        return body

    def _until(self, mark: bytes, deadline: float) -> bytes:
        while mark not in self._rest:
            if not self._more(deadline):
                raise ConnectionError("the connection ended in the middle of an answer")
        found, _, self._rest = self._rest.partition(mark)
        return found

    def _exactly(self, size: int, deadline: float) -> bytes:
        while len(self._rest) < size:
            if not self._more(deadline):
                raise ConnectionError("the connection ended in the middle of an answer")
        found, self._rest = self._rest[:size], self._rest[size:]
        return found

    def _more(self, deadline: float) -> bool:
        left = deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError(f"no answer within {EXCHANGE_TIMEOUT:.0f} s")
        self._socket.settimeout(left)
        data = self._socket.recv(65536)
        self._rest += data
        if len(self._rest) > MAX_RESPONSE_SIZE:
            raise ValueError(f"the answer is over {MAX_RESPONSE_SIZE} bytes")
        return bool(data)


def _connect(secure: bool, host: str, port: int | None) -> Any:
    # In bytes, because Python would load the tables of IDNA (0.3 MB) for a name in ASCII as well.
    name: Any = host.encode() if host.isascii() else host
    plain = socket.create_connection((name, port or (443 if secure else 80)), EXCHANGE_TIMEOUT)
    plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    if not secure:
        return plain
    import ssl

    return ssl.create_default_context().wrap_socket(plain, server_hostname=host)


# --- the hub ------------------------------------------------------------------------------------


_OWN_HEADERS = frozenset(
    {
        "authorization",
        "content-type",
        "accept",
        "host",
        "content-length",
        "transfer-encoding",
        "connection",
    }
)


def hub_connection(access: HubAccess) -> HttpConnection:
    """A connection to the hub; the built-in headers take precedence (transport.md 2)."""
    extra = {
        name: value
        for name, value in access.headers.items()
        if name.lower() not in _OWN_HEADERS
        and name.isascii()
        and f"{name}{value}".isprintable()
        and value.isascii()
    }
    own = {
        "Authorization": f"Bearer {access.token}",
        "Content-Type": "application/json",
        "Accept": "application/json",
    }
    return HttpConnection(access.url, {**extra, **own})


def part_of(reply: HttpResponse, name: str) -> Json:
    """The object `name` in a hub's answer. Raises HubRefused, HubUnreachable."""
    if 300 <= reply.status < 400:
        raise HubRefused(reply.status, "it redirects elsewhere, and the token is not sent there")
    kind = reply.content_type.partition(";")[0].strip().lower()
    found: Any = None
    if kind == "application/json":
        try:
            found = json.loads(reply.body)
        except (ValueError, RecursionError) as problem:
            raise HubRefused(reply.status, "its answer is not JSON") from problem
    error = (
        found.get("error")
        if isinstance(found, dict) and isinstance(found.get("error"), str)
        else None
    )
    if reply.status in (408, 425, 429):
        raise HubBusy(reply.status, error or "no reason given")
    if reply.status >= 500:
        status = reply.status
        raise HubFailed(status, error) if error else HubUnreachable(f"HTTP {status}")
    if reply.status >= 400:
        raise HubRefused(reply.status, error or "no reason given")
    value = found.get(name) if isinstance(found, dict) else None
    if not isinstance(value, dict):
        raise HubRefused(
            reply.status, f"it answers {kind or 'without a type'} without a {name}; is this a hub?"
        )
    return value


# --- the runner ---------------------------------------------------------------------------------


def control_port(home: Home) -> int | None:
    """The control port in `runner.state.json`, None if there is no running runner."""
    with suppress(OSError, ValueError, RecursionError):
        found = json.loads(read_capped(home.runner_state) or b"null")
        found = found if isinstance(found, dict) else {}
        pid, port = found.get("pid"), found.get("httpPort")
        if (
            isinstance(pid, int)
            and isinstance(port, int)
            and 0 < pid < 1 << 31
            and 0 < port < 65536
            and _runs(pid)
        ):
            return port
    return None


def _runs(pid: int) -> bool:
    """Whether process `pid` exists, as any user. A zombie does not matter here."""
    try:
        os.kill(pid, 0)
    except PermissionError:
        return True
    except OSError:
        return False
    return True


def announce(port: int, body: Json) -> int | None:
    """Announce to the runner on `port`; returns the HTTP status, None for no answer."""
    runner = HttpConnection(
        f"http://127.0.0.1:{port}", {"Content-Type": "application/json", "Connection": "close"}
    )
    try:
        return runner.exchange("POST", "/session-started", body).status
    except (OSError, ValueError):
        return None
    finally:
        runner.close()


# --- all of it ----------------------------------------------------------------------------------


@frozen
class RegistrationPlan:
    """What to register, and where."""

    access: HubAccess
    machine: Json  # body of POST /cli/machines
    session: Json | None  # body of POST /cli/sessions; None: `existing` is loaded instead
    existing: str | None
    announcement: Callable[[Json], Json]  # from the row to the body of /session-started
    control_port: int | None  # the runner's, if one runs
    hub_clock: HubClock = field(factory=HubClock)  # set by the first answer


@frozen
class RegistrationOutcome:
    """`row`: the session at the hub, None if there is a `problem`. `announced`: the runner knows
    it."""

    row: Json | None = None
    problem: HubRefused | HubUnreachable | None = None
    announced: bool = False


def register(plan: RegistrationPlan) -> RegistrationOutcome:
    """Try everything once, in this thread. Never raises."""
    hub = hub_connection(plan.access)
    try:
        machine = hub.exchange("POST", "/cli/machines", plan.machine)
        plan.hub_clock.observe(machine.date)
        part_of(machine, "machine")
        if plan.session is None:
            row = part_of(
                hub.exchange("GET", f"/cli/sessions/{quote(plan.existing or '', safe='')}"),
                "session",
            )
        else:
            row = part_of(hub.exchange("POST", "/cli/sessions", plan.session), "session")
    except (HubRefused, HubUnreachable) as problem:
        return RegistrationOutcome(problem=problem)
    except Exception as problem:  # network, TLS, no HTTP
        return RegistrationOutcome(problem=HubUnreachable(_describe(problem, plan.access.url)))
    finally:
        hub.close()
    return RegistrationOutcome(
        row,
        None,
        plan.control_port is not None
        and announce(plan.control_port, plan.announcement(row)) == 200,
    )


def _describe(problem: Exception, url: str) -> str:
    """The same sentences as `describe_connection_error` has for Twisted's errors."""
    if isinstance(problem, socket.gaierror):
        return f"the name {urlsplit(url).hostname} cannot be resolved"
    if isinstance(problem, ConnectionRefusedError):
        return f"nothing listens at {url} (connection refused)"
    if isinstance(problem, TimeoutError):
        return f"{url} did not answer in time"
    return (
        f"{getattr(problem, 'verify_message', '') or getattr(problem, 'strerror', None) or problem}"
    )


@define(eq=False, repr=False)
class EarlyRegistration:
    """Runs `register` in a thread of its own."""

    _plan: RegistrationPlan
    _lock: threading.Lock = field(factory=threading.Lock)
    _outcome: RegistrationOutcome | None = None
    _callback: Callable[[RegistrationOutcome], object] | None = None

    def begin(self) -> EarlyRegistration:
        threading.Thread(target=self._run, name="early registration", daemon=True).start()
        return self

    def when_done(self, callback: Callable[[RegistrationOutcome], object]) -> None:
        """Call `callback` once, from any thread, as soon as there is an outcome."""
        with self._lock:
            outcome = self._outcome
            if outcome is None:
                self._callback = callback
        if outcome is not None:
            callback(outcome)

    def _run(self) -> None:
        outcome = register(self._plan)
        with self._lock:
            self._outcome, callback = outcome, self._callback
        if callback is not None:
            callback(outcome)
