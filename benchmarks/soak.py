"""What grows in a hub: does one kind of thing thousands of times and prints the growth per 1,000,
of our hub and of npm's, from outside.

    python -m benchmarks soak [--times N] [--kinds KIND …] [--make ours|npm] [--spawns N]
        [--json FILE] [--short]

For each kind a hub is started with an empty home. A quarter of the times warms it up; then memory,
descriptors and temporary files are read, the rest is done, and they are read again. Growth is given
per 1,000: RSS and PSS in kB, `fds` open descriptors, `files` files below TMPDIR and below the hub's
home, with their size in kB. What the hub keeps on purpose counts as well: log lines, rows until
they are deleted. `--kinds all` (the default) does everything except `spawns`, which needs a runner
of each make and half a second each.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import contextlib
import json
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import psutil
from attrs import define, field, frozen

from benchmarks.frame import AGENT, HERE, MAKES, NPM, Cast, until
from benchmarks.hub import TOKEN, HubRun, prepare, serving_pid
from benchmarks.hub_client import UPGRADE, HubClient, KeptConnection, Refused, SessionSocket, run

AT_ONCE = 16  # sockets at the same time
SETTLE = 3.0  # seconds before what grows is read
UPLOAD_SIZE = 200_000  # bytes
MESSAGES = 5  # in the life of a session
KIND_TIMEOUT = 3600.0  # seconds
RATE_LIMIT_TIMEOUT = 30.0  # seconds for one request that the hub answers with 429


@frozen
class Reading:
    """What can grow, read from outside."""

    rss: float  # kB
    pss: float  # kB
    fds: int
    files: int
    size: float  # kB of those files

    @classmethod
    def of(cls, hub: HubRun, folders: list[Path]) -> Reading:
        process = psutil.Process(hub.pid)
        memory = process.memory_full_info()
        found = [
            path
            for folder in folders
            for path in folder.rglob("*")
            if path.is_file() and not path.is_symlink()
        ]
        size = 0
        for path in found:
            with contextlib.suppress(FileNotFoundError):
                size += path.stat().st_size
        return cls(memory.rss / 1024, memory.pss / 1024, process.num_fds(), len(found), size / 1024)

    def growth(self, before: Reading, times: int) -> dict[str, float]:
        names = ("rss", "pss", "fds", "files", "size")
        return {
            name: round((getattr(self, name) - getattr(before, name)) / times * 1000, 1)
            for name in names
        }


@define(eq=False)
class Soak:
    """One kind at one hub."""

    hub: HubRun
    cast: Cast
    serial: int = 0
    failures: list[str] = field(factory=list)
    kept: dict[str, Any] = field(factory=dict)  # what a kind needs all the while

    def source(self) -> str:
        """A loopback address of its own: wrong tokens are counted by address."""
        self.serial += 1
        return f"127.{1 + self.serial // 62500}.{self.serial // 250 % 250}.{1 + self.serial % 250}"

    @property
    def rest(self) -> KeptConnection:
        """One connection for REST, opened again when the hub has closed it."""
        found = self.kept.get("rest")
        if found is None:
            found = self.kept["rest"] = self.hub.client.keep()
        return found  # type: ignore[no-any-return]

    def call(self, method: str, path: str, *args: Any, expect: int = 200, **options: Any) -> bytes:
        deadline = time.monotonic() + RATE_LIMIT_TIMEOUT
        while True:
            try:
                status, body = self.rest.call(method, path, *args, **options)
            except Exception:
                self.kept.pop("rest").close()
                raise
            if status != 429 or time.monotonic() > deadline:
                break
            time.sleep(0.1)  # our hub limits expensive requests
        if status != expect:
            raise Refused(f"{method} {path}: {status} {body[:200]!r}")
        return body

    async def session(self) -> tuple[str, SessionSocket]:
        """A session that stays, with its socket."""
        if "session" not in self.kept:
            session_id = self.hub.client.create()
            socket = await self.hub.client.socket(session_id).open()
            socket.alive()
            socket.serve("uploadFile", "deleteUpload")
            await socket.ping()
            self.kept["session"] = session_id, socket
        return self.kept["session"]  # type: ignore[no-any-return]


# --- kinds: each is done once by a call -----------------------------------------------------------


async def upgrade_without_token(soak: Soak) -> None:
    """A WebSocket that says nothing and goes."""
    await _raw(soak, _upgrade(soak), b"0{")


async def upgrade_with_headers(soak: Soak) -> None:
    """The same with 8 kB of headers."""
    more = "".join(f"X-Header-{number}: {'h' * 500}\r\n" for number in range(16))
    await _raw(soak, _upgrade(soak, more), b"0{")


async def upgrade_with_body(soak: Soak) -> None:
    """The same with a body of 100 kB, which no upgrade has."""
    size = 100_000
    request = _upgrade(soak, f"Content-Length: {size}\r\n") + b"b" * size
    await _raw(soak, request, b"\r\n\r\n")


async def refused_upgrade(soak: Soak) -> None:
    """A request to `/socket.io/` that is no upgrade."""
    host = f"Host: 127.0.0.1:{soak.hub.client.port}\r\n"
    request = f"GET /socket.io/?EIO=4&transport=websocket HTTP/1.1\r\n{host}\r\n"
    await _raw(soak, request.encode(), b"\r\n\r\n")


async def wrong_token(soak: Soak) -> None:
    """A socket whose token is wrong, from an address of its own."""
    socket = SessionSocket(soak.hub.client.port, "wrong-token-of-no-value")
    with contextlib.suppress(Refused):
        await socket.open(soak.source())
        raise AssertionError("a wrong token was accepted")
    await socket.closed


async def reconnect(soak: Soak) -> None:
    """A session's socket that connects, says that it lives, and leaves in order."""
    session_id, _ = await soak.session()
    socket = await soak.hub.client.socket(session_id).open()
    socket.alive()
    await socket.ping()
    await socket.leave()


async def reset_socket(soak: Soak) -> None:
    """A session's socket whose connection is lost."""
    session_id, _ = await soak.session()
    socket = await soak.hub.client.socket(session_id).open()
    await socket.abort()


async def login(soak: Soak) -> None:
    soak.call("POST", "/api/auth", {"accessToken": TOKEN}, "")


async def refused_login(soak: Soak) -> None:
    """A login with a wrong token, from an address of its own. Beyond the limit of all addresses
    our hub answers 429.
    """
    connection = KeptConnection(soak.hub.client.user, soak.source())
    status, _ = connection.call("POST", "/api/auth", {"accessToken": "wrong"}, "")
    connection.close()
    assert status in (401, 403, 429), status


async def refused_request(soak: Soak) -> None:
    soak.call("GET", "/api/sessions", None, "", expect=401)


async def read_sessions(soak: Soak) -> None:
    await soak.session()
    soak.call("GET", "/api/sessions")


async def event_stream(soak: Soak) -> None:
    """A page that reads events for a moment."""
    jwt, port = soak.hub.client.user.jwt, soak.hub.client.port
    head = f"GET /api/events?all=true&token={jwt} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n\r\n"
    await _raw(soak, head.encode(), b"connection-changed")


async def upload(soak: Soak) -> None:
    """A file for a session, which answers that it has it."""
    session_id, _ = await soak.session()
    content = base64.b64encode(os.urandom(UPLOAD_SIZE)).decode()
    body = {"filename": "file.bin", "content": content, "mimeType": "application/octet-stream"}
    path = f"/api/sessions/{session_id}/upload"
    await asyncio.to_thread(soak.call, "POST", path, body)


async def life(soak: Soak) -> None:
    """A session from its first to its last day: created, connected, messages, end, deleted."""
    client = soak.hub.client
    session_id = await asyncio.to_thread(client.create)
    socket = await client.socket(session_id).open()
    socket.alive(thinking=True)
    for _ in range(MESSAGES):
        socket.say()
    socket.emit("session-end", {"sid": session_id, "time": int(time.time() * 1000)})
    await socket.ping()
    await socket.leave()
    await asyncio.to_thread(soak.call, "DELETE", f"/api/sessions/{session_id}")


async def spawn(soak: Soak) -> None:
    """A real session of the runner of the hub's make: start, one turn, archive, delete."""
    await asyncio.to_thread(_spawn, soak)


def _spawn(soak: Soak) -> None:
    user, cast, make = soak.hub.client.user, soak.cast, soak.hub.make
    if "runner" not in soak.kept:
        agent = cast.directory("bin") / AGENT
        agent.write_text(
            f'#!/bin/sh\nexec {sys.executable} -S -E {HERE / "scripted_agent.py"} "$@"\n'
        )
        agent.chmod(0o755)
        shutil.copy(agent, agent.with_name("claude"))
        cast.environment["PATH"] = os.pathsep.join([str(agent.parent), cast.base["PATH"]])
        soak.kept["runner"] = cast.runner(make, user)
    runner = soak.kept["runner"]
    session_id = user.started(runner.machine_id, cast.directory("project"), AGENT)
    user.say(session_id, "hello")
    until(lambda: user.texts(session_id), 60.0, "the agent's answer")
    user.post(f"/api/sessions/{session_id}/archive")
    until(lambda: not user.session(session_id)["active"], 60.0, "the end of the session")
    user.call("DELETE", f"/api/sessions/{session_id}")


def _upgrade(soak: Soak, headers: str = "") -> bytes:
    return UPGRADE.format(port=soak.hub.client.port, headers=headers).encode()


async def _raw(soak: Soak, request: bytes, until_seen: bytes) -> None:
    """Send bytes, read until `until_seen` or the end, and close."""
    reader, writer = await asyncio.open_connection("127.0.0.1", soak.hub.client.port)
    try:
        writer.write(request)
        seen = b""
        while until_seen not in seen:
            part = await asyncio.wait_for(reader.read(1 << 16), 30.0)
            if not part:
                break
            seen += part
    except ConnectionError:
        pass  # the hub hung up while the request was still being sent
    finally:
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()


Kind = Callable[[Soak], Awaitable[None]]
KINDS: Mapping[str, tuple[Kind, int]] = {  # name -> what is done, and how many at the same time
    "upgrades": (upgrade_without_token, AT_ONCE),
    "upgrades with headers": (upgrade_with_headers, AT_ONCE),
    "upgrades with a body": (upgrade_with_body, AT_ONCE),
    "refused upgrades": (refused_upgrade, AT_ONCE),
    "wrong tokens": (wrong_token, AT_ONCE),
    "reconnects": (reconnect, AT_ONCE),
    "lost connections": (reset_socket, AT_ONCE),
    "logins": (login, 1),
    "refused logins": (refused_login, 1),
    "refused requests": (refused_request, 1),
    "lists": (read_sessions, 1),
    "event streams": (event_stream, AT_ONCE),
    "uploads": (upload, 1),
    "lives": (life, 1),
    "spawns": (spawn, 1),
}
SLOW = "spawns"


async def _repeat(soak: Soak, kind: str, times: int) -> None:
    """Do it `times` times. What fails is counted and does not end the soak."""
    do, at_once = KINDS[kind]
    left = iter(range(times))

    async def work() -> None:
        for _ in left:
            try:
                await do(soak)
            except Exception as trouble:
                soak.failures.append(f"{type(trouble).__name__}: {trouble}"[:300])

    await asyncio.gather(*(work() for _ in range(min(at_once, times))))


async def _soak(soak: Soak, kind: str, times: int, folders: list[Path]) -> dict[str, Any]:
    await soak.session()
    warm = max(1, times // 4)
    await _repeat(soak, kind, warm)
    await asyncio.sleep(SETTLE)
    before, began = Reading.of(soak.hub, folders), time.monotonic()
    await _repeat(soak, kind, times - warm)
    seconds = time.monotonic() - began
    await asyncio.sleep(SETTLE)
    after = Reading.of(soak.hub, folders)
    return {
        "times": times - warm,
        "seconds": round(seconds, 1),
        "rss": round(after.rss / 1024, 1),
        "per thousand": after.growth(before, times - warm),
        "failed": len(soak.failures),
        "first failure": soak.failures[0] if soak.failures else None,
    }


@contextlib.contextmanager
def _stage(make: str) -> Iterator[tuple[Cast, HubRun, list[Path]]]:
    path = Path(tempfile.mkdtemp(prefix="hapi-soak-"))
    cast = Cast(path, token=TOKEN)
    try:
        running, user = cast.hub(make)
        hub = HubRun(make, running, HubClient(user))
        yield cast, hub, [cast.directory("tmp"), running.home]
    finally:
        cast.end()
        shutil.rmtree(path, ignore_errors=True)


def soak_kind(make: str, kind: str, times: int) -> dict[str, Any]:
    """One kind at a new hub. A hub that ends, or a soak that overruns, is a result as well."""
    with _stage(make) as (cast, hub, folders):
        soak = Soak(hub, cast)
        if kind == SLOW and make == NPM:
            folders = folders[:1]  # the rest is in the runner's home
        try:
            return run(_soak(soak, kind, times, folders), KIND_TIMEOUT)
        except Exception as trouble:
            ended = not hub.running.program.running or not _serves(hub)
            what = "the hub ended: " if ended else ""
            return {"error": f"{what}{type(trouble).__name__}: {trouble}"[:300]}


def _serves(hub: HubRun) -> bool:
    try:
        return serving_pid(hub.running.program.pid) > 0
    except (LookupError, psutil.Error):
        return False


COLUMNS = ("rss", "pss", "fds", "files", "size")


def _row(kind: str, make: str, result: dict[str, Any]) -> str:
    if "error" in result:
        return f"{kind:24} {make:5} {result['error']}"
    grown = result["per thousand"]
    cells = "".join(f"{grown[name]:>10.1f}" for name in COLUMNS)
    rate = result["times"] / max(result["seconds"], 0.1)
    failed = f"  {result['failed']} failed: {result['first failure']}" if result["failed"] else ""
    return f"{kind:24} {make:5} {result['times']:>6}{cells}{rate:>9.0f}{failed}"


def main(argv: list[str]) -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks soak",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--times", type=int, default=2000, metavar="N", help="of each kind")
    parser.add_argument("--short", action="store_true", help="200 of each kind")
    parser.add_argument("--kinds", nargs="*", choices=[*KINDS, "all"], default=["all"])
    parser.add_argument("--spawns", type=int, default=0, metavar="N", help="real sessions")
    parser.add_argument("--make", choices=MAKES, nargs="*", default=MAKES, help="these hubs only")
    parser.add_argument("--json", type=Path, default=HERE.parent / ".cache/soak.json")
    arguments = parser.parse_args(argv)
    prepare()
    times = 200 if arguments.short else arguments.times
    chosen = [kind for kind in KINDS if kind != SLOW] if "all" in arguments.kinds else []
    chosen += [kind for kind in arguments.kinds if kind != "all"]
    if arguments.spawns:
        chosen = [kind for kind in chosen if kind != SLOW] + [SLOW]
    results: dict[str, dict[str, Any]] = {}
    titles = "".join(f"{name:>10}" for name in ("RSS kB", "PSS kB", "fds", "files", "files kB"))
    print(f"{'growth per 1,000':24} {'':5} {'times':>6}{titles}{'a second':>9}", flush=True)
    arguments.json.parent.mkdir(parents=True, exist_ok=True)
    for kind in chosen:
        for make in MAKES:
            if make in arguments.make:
                count = arguments.spawns if kind == SLOW and arguments.spawns else times
                result = soak_kind(make, kind, count)
                results.setdefault(kind, {})[make] = result
                print(_row(kind, make, result), flush=True)
                arguments.json.write_text(json.dumps(results, indent=2))
