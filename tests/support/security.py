"""The security list (X, D, K of the catalogue, U where it applies), asked of a running runner and
hub of either make.


Each check does what an attacker or an unlucky user would do and looks what comes of it: answers,
processes, files. It gives `Seen(held, words)`: whether what must not happen did not, and what was
seen. One that ends the runner has it started again.
"""

from __future__ import annotations

import base64
import contextlib
import json
import os
import resource
import socket
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from attrs import define, field, frozen

from tests.support.peers import NPM, NPM_HAPI, OUR_HAPI, OURS, Cast, Running, User
from tests.support.programs import CANARY, ROOT, alive, until

SESSION = ROOT / "tests/support/scripted_session.py"
NOBODY = 65534
AS_NOBODY = (
    "import os,socket,sys; os.setgroups([]); os.setgid(65534); os.setuid(65534); exec(sys.argv[1])"
)


@frozen
class Seen:
    """`held` is None where the make has nothing that could be asked."""

    held: bool | None
    words: str


@define(eq=False)
class World:
    """One runner under test, with everything around it that may be harmed."""

    make: str
    cast: Cast
    user: User
    running: Running | None = None
    root: Path = field(init=False)
    slow: Slow | None = None

    def __attrs_post_init__(self) -> None:
        self.root = self.cast.directory(f"{self.make}-work/root")
        for name in ("project", "sub"):
            (self.root / name).mkdir(exist_ok=True)
        self.cast.directory(f"{self.make}-work/root-sibling")
        self.cast.directory(f"{self.make}-work/outside")

    @property
    def home(self) -> Path:
        assert self.running is not None
        return self.running.home

    @property
    def port(self) -> int:
        assert self.running is not None
        return int(self.running.state["httpPort"])

    def up(self) -> None:
        """See to it that a runner serves: without a umask, with core dumps allowed, its home open
        to all before."""
        if self.running is not None and self.running.program.running and self.lives():
            return
        program = self.cast.path / "bin/scripted"
        program.parent.mkdir(exist_ok=True)
        program.write_text(f'#!/bin/sh\nexec {sys.executable} {SESSION} "$@"\n')
        program.chmod(0o755)
        home = self.cast.home(self.make, "runner")
        home.chmod(0o777)
        command = [NPM_HAPI] if self.make == NPM else OUR_HAPI
        argv = [
            "sh",
            "-c",
            'umask 000; ulimit -c unlimited; exec "$@"',
            "sh",
            *command,
            "runner",
            "start-sync",
        ]
        given = self.cast.settings(self.user, home, "") | {"HAPI_CLI_EXECUTABLE": str(program)}
        name = f"{self.make}-runner-{len(self.cast.programs)}"
        program_ = self.cast.start(name, [*argv, "--workspace-root", str(self.root)], given)
        self.running = Running(self.make, program_, home)
        program_.ready(self.lives, 60.0)

    def lives(self) -> bool:
        try:
            return self.post("/list")[0] == 200
        except (OSError, KeyError, IndexError):
            return False

    # --- how it is asked

    def raw(
        self,
        content: bytes,
        seconds: float = 10.0,
        port: int | None = None,
        host: str = "127.0.0.1",
    ) -> bytes:
        """What comes back on a connection that said `content`; what came until then when it is cut
        or takes too long."""
        with socket.create_connection((host, port or self.port), timeout=seconds) as connection:
            with contextlib.suppress(OSError):
                connection.sendall(content)
            return read_answer(connection)

    def ask(
        self,
        path: str,
        body: bytes | None = b"{}",
        *headers: str,
        method: str = "POST",
        host: str | None = None,
    ) -> tuple[int, bytes]:
        """Status and body; 0 when there is no answer."""
        lines = [
            f"{method} {path} HTTP/1.1",
            f"Host: {host or f'127.0.0.1:{self.port}'}",
            *headers,
            "Connection: close",
        ]
        if body is not None:
            lines.append(f"Content-Length: {len(body)}")
        said = self.raw("\r\n".join([*lines, "", ""]).encode() + (body or b""), 30.0)
        return status_of(said), said.partition(b"\r\n\r\n")[2]

    def post(self, path: str, body: Any = None) -> tuple[int, Any]:
        status, said = self.ask(
            path, json.dumps(body or {}).encode(), "Content-Type: application/json"
        )
        try:
            return status, json.loads(said)
        except ValueError:
            return status, said.decode(errors="replace")

    def spawn(self, directory: Path | str, **more: Any) -> tuple[int, Any]:
        return self.post(
            "/spawn-session", {"directory": str(directory), "agent": "opencode", **more}
        )

    def listed(self) -> list[dict[str, Any]]:
        return list(self.post("/list")[1]["children"])

    def stop_all(self) -> None:
        for child in self.listed():
            self.post("/stop-session", {"sessionId": child["happySessionId"]})

    def as_nobody(self, code: str) -> str:
        """What another user's program prints."""
        argv = [sys.executable, "-c", AS_NOBODY, code]
        return subprocess.run(
            argv, capture_output=True, text=True, cwd="/", timeout=60, check=True
        ).stdout.strip()

    @contextlib.contextmanager
    def bystander(self) -> Iterator[subprocess.Popen[bytes]]:
        with subprocess.Popen(["sleep", "600"]) as process:
            try:
                yield process
            finally:
                process.kill()

    def written(self) -> dict[str, bytes]:
        """Every file below the home and the program's output, without npm's unpacked runtime."""
        paths = [
            path for path in self.home.rglob("*") if path.is_file() and "runtime" not in path.parts
        ]
        printed = [
            program.output_path
            for program in self.cast.programs
            if program.name.startswith(f"{self.make}-runner")
        ]
        found = {}
        for path in [*paths, *printed]:
            with contextlib.suppress(FileNotFoundError):  # it was replaced meanwhile
                found[str(path)] = path.read_bytes()
        return found


def read_answer(connection: socket.socket) -> bytes:
    said = b""
    with contextlib.suppress(OSError):
        while part := connection.recv(65536):
            said += part
            head, found, body = said.partition(b"\r\n\r\n")
            length = [
                line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")
            ]
            if found and length and len(body) >= int(length[0].split(b":")[1]):
                break
    return said


def status_of(said: bytes) -> int:
    parts = said.split(b" ", 2)
    return (
        int(parts[1])
        if said.startswith(b"HTTP/") and len(parts) > 1 and parts[1][:3].isdigit()
        else 0
    )


class Slow(threading.Thread):
    """One byte of a request's head each half second; `seconds` until the other side closed, None if
    it did not."""

    def __init__(self, port: int) -> None:
        super().__init__(daemon=True)
        self.port, self.seconds = port, None
        self.start()

    def run(self) -> None:
        begun = time.monotonic()
        with (
            socket.create_connection(("127.0.0.1", self.port)) as connection,
            contextlib.suppress(OSError),
        ):
            connection.sendall(b"POST /list HTTP/1.1\r\nX-Slow: ")
            connection.settimeout(0.5)
            while time.monotonic() - begun < 15:
                connection.sendall(b"a")
                with contextlib.suppress(TimeoutError):
                    if not connection.recv(4096):
                        break
            else:
                return
        self.seconds = time.monotonic() - begun


Check = Callable[[World], Seen]
CHECKS: dict[str, tuple[str, Check]] = {}


def check(name: str, what: str) -> Callable[[Check], Check]:
    def keep(asked: Check) -> Check:
        CHECKS[name] = what, asked
        return asked

    return keep


# --- X: the control API


def nobody_asks(world: World, path: str, read: bool, times: int) -> str:
    """Another user posts: the statuses he is answered, if he waits for them."""
    return world.as_nobody(f"""
for _ in range({times}):
    caller = socket.socket()
    caller.settimeout(5)
    caller.connect(("127.0.0.1", {world.port}))
    head = "POST {path} HTTP/1.1\\r\\nHost: 127.0.0.1:{world.port}\\r\\n"
    head += "Content-Type: application/json\\r\\n"
    caller.sendall((head + "Content-Length: 2\\r\\n\\r\\n{{}}").encode())
    if {read}:
        print(caller.recv(99).split()[1].decode())
    caller.close()
""")


@check("X01", "another user lists the sessions")
def another_user(world: World) -> Seen:
    status = nobody_asks(world, "/list", True, 1)
    return Seen(status == "403", f"status {status}")


@check("X02", "another user sends /stop and closes at once, 100 times")
def another_user_in_a_hurry(world: World) -> Seen:
    nobody_asks(world, "/stop", False, 100)
    return survived(world)


def survived(world: World, words: str = "") -> Seen:
    """Whether the runner still serves a moment later."""
    time.sleep(1.0)  # what was asked for takes effect within this
    lives = world.running is not None and world.running.program.running and world.lives()
    return Seen(lives, words + ("the runner keeps serving" if lives else "the runner has ended"))


@check("X03", "a web page of another site posts /stop as text/plain")
def web_page(world: World) -> Seen:
    status, _ = world.ask(
        "/stop",
        b"{}",
        "Content-Type: text/plain",
        "Origin: http://evil.example",
        "Sec-Fetch-Site: cross-site",
    )
    return survived(world, f"status {status}, ")


@check("X04", "a page that rebinds its name to 127.0.0.1 lists the sessions")
def rebinding(world: World) -> Seen:
    status, _ = world.ask(
        "/list", b"{}", "Content-Type: application/json", host=f"evil.example:{world.port}"
    )
    return Seen(status >= 400, f"status {status}")


@check("X05", "a preflight for the private network")
def preflight(world: World) -> Seen:
    lines = [
        "OPTIONS /stop HTTP/1.1",
        f"Host: 127.0.0.1:{world.port}",
        "Origin: http://evil.example",
    ]
    lines += [
        "Access-Control-Request-Method: POST",
        "Access-Control-Request-Private-Network: true",
        "",
        "",
    ]
    said = world.raw("\r\n".join(lines).encode())
    allowed = b"access-control" in said.lower()
    return Seen(
        not allowed, f"status {status_of(said)}, {'an' if allowed else 'no'} Access-Control header"
    )


@check("X06", "a body of 10 MB, announced, and one in chunks without end")
def huge_body(world: World) -> Seen:
    head = (
        f"POST /list HTTP/1.1\r\nHost: 127.0.0.1:{world.port}\r\nContent-Type: application/json\r\n"
    )
    announced = status_of(world.raw((head + "Content-Length: 10000000\r\n\r\n{").encode(), 3.0))
    chunks = (head + "Transfer-Encoding: chunked\r\n\r\n").encode() + (
        b"10000\r\n" + b" " * 0x10000 + b"\r\n"
    ) * 64
    endless = status_of(world.raw(chunks, 3.0))
    return Seen(
        announced == endless == 413, f"status {announced or 'none'} and {endless or 'none'}"
    )


@check("X07", "a head that comes one byte each half second")
def slow_head(world: World) -> Seen:
    world.slow = world.slow or Slow(world.port)
    world.slow.join(20.0)
    seconds = world.slow.seconds
    return Seen(
        seconds is not None,
        "open after 15 s" if seconds is None else f"closed after {seconds:.0f} s",
    )


@check("X08", "1,000 idle connections, then a legitimate call")
def idle_connections(world: World) -> Seen:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, min(hard, 4096)), hard))
    with contextlib.ExitStack() as all_of_them:
        with contextlib.suppress(OSError):
            for _ in range(1000):
                all_of_them.enter_context(
                    socket.create_connection(("127.0.0.1", world.port), timeout=2)
                )
        begun = time.monotonic()
        status = world.post("/list")[0]
        seconds = time.monotonic() - begun
    return Seen(status == 200 and seconds < 5, f"status {status}")


@check("X10", "requests with two lengths, both kinds of length, folded headers")
def smuggling(world: World) -> Seen:
    start = (
        f"POST /list HTTP/1.1\r\nHost: 127.0.0.1:{world.port}\r\nContent-Type: application/json\r\n"
    )
    taken = []
    for words in (
        "Content-Length: 2\r\nTransfer-Encoding: chunked",
        "Content-Length: 2\r\nContent-Length: 3",
        "Content-Length: +2",
        "Content-Length: 2\r\n folded: x",
        "Transfer-Encoding: xchunked",
    ):
        if status_of(world.raw((start + words + "\r\n\r\n{}").encode(), 3.0)) == 200:
            taken.append(words.replace("\r\n", ", "))
    return Seen(not taken, f"taken: {'; '.join(taken)}" if taken else "all refused")


@check("X11", "JSON nested 100,000 deep, bad UTF-8, NaN, half a surrogate, no object")
def bombs(world: World) -> Seen:
    found = []
    for body in (
        b'{"a":' * 100_000,
        b'{"a":"\xff"}',
        b'{"a":NaN}',
        b'{"sessionId":"\\ud800"}',
        b"[]",
    ):
        found.append(world.ask("/stop-session", body, "Content-Type: application/json")[0])
    return Seen(
        all(status == 400 for status in found) and world.lives(),
        f"status {', '.join(map(str, found))}",
    )


@check("X12", "stop-session with the pid of a process that is no session")
def stop_a_stranger(world: World) -> Seen:
    with world.bystander() as process:
        answers = [
            world.post("/stop-session", {"sessionId": f"PID-{pid}"})[1]
            for pid in (1, 0, process.pid)
        ]
        time.sleep(0.5)  # a signal would have come
        lives = process.poll() is None
    return Seen(
        lives,
        f"{'lives' if lives else 'was killed'}, "
        + ", ".join(str(answer.get("status")) for answer in answers),
    )


@check("W03", "a forged announcement names the pid of a process that is no session")
def forged(world: World) -> Seen:
    with world.bystander() as process:
        body = {
            "sessionId": "forged",
            "metadata": {"hostPid": process.pid, "startedBy": "runner", "path": "/", "host": "h"},
        }
        status = world.post("/session-started", body)[0]
        time.sleep(1.0)  # a signal would have come
        lives = process.poll() is None
    return Seen(lives, f"status {status}, the process {'lives' if lives else 'was killed'}")


@check("X13", "a caller hangs up while his session starts")
def hang_up(world: World) -> Seen:
    directory = world.root / "hung-up"
    directory.mkdir()
    body = json.dumps({"directory": str(directory), "agent": "opencode"}).encode()
    head = f"POST /spawn-session HTTP/1.1\r\nHost: 127.0.0.1:{world.port}\r\n"
    head += "Content-Type: application/json\r\n"
    with socket.create_connection(("127.0.0.1", world.port)) as connection:
        connection.sendall((head + f"Content-Length: {len(body)}\r\n\r\n").encode() + body)
        time.sleep(0.05)  # it has been read
    with contextlib.suppress(TimeoutError):
        until(world.listed, 10.0)
    count = len(world.listed())
    world.stop_all()
    return Seen(count == 1, "listed" if count else "not listed")


@check(
    "X14", "another program has the port of a runner that was killed, and the command line asks it"
)
def squatter(world: World) -> Seen:
    assert world.running is not None
    port, state = world.port, (world.home / "runner.state.json").read_text()
    token = str(json.loads(state).get("controlToken") or CANARY)
    pid = int(json.loads(state)["pid"])
    os.kill(pid, 9)
    until(lambda: not alive(pid))
    heard: list[bytes] = []

    def taken() -> socket.socket | None:
        try:
            return socket.create_server(("127.0.0.1", port))
        except OSError:  # its threads may end after it
            return None

    try:
        listener = until(taken, 20.0)
    except TimeoutError:
        return Seen(None, "nobody else could get its port")
    with listener:
        listener.settimeout(0.2)
        command = [NPM_HAPI] if world.make == NPM else OUR_HAPI
        environment = {**world.cast.base, **world.cast.settings(world.user, world.home, "")}
        with subprocess.Popen(
            [*command, "runner", "list"], env=environment, stdout=-3, stderr=-3
        ) as asked:
            while asked.poll() is None:
                with contextlib.suppress(OSError), listener.accept()[0] as connection:
                    connection.settimeout(0.5)
                    heard.append(connection.recv(65536))
    said = b"".join(heard)
    known = token.encode() in said
    return Seen(
        not known,
        "a token was sent"
        if known
        else "no token was sent" + (", the request was" if said else ""),
    )


@check("X16", "a child that calls by ::ffff:127.0.0.1")
def mapped(world: World) -> Seen:
    request = (
        f"POST /list HTTP/1.1\r\nHost: 127.0.0.1:{world.port}\r\nConnection: close\r\n\r\n".encode()
    )
    status = status_of(world.raw(request, host="::ffff:127.0.0.1"))
    return Seen(status == 200, f"status {status}")


@check("X17", "a start by the control API outside the workspace roots")
def outside(world: World) -> Seen:
    return refused_at(world, world.root.parent / "outside")


def refused_at(world: World, directory: Path | str) -> Seen:
    status, answer = world.spawn(directory)
    world.stop_all()
    if status == 200:
        return Seen(False, "status 200, started")
    return Seen(True, f"status {status}, {answer.get('error') or answer.get('message')}")


@check("X18", "who asked for a stop is on record")
def record(world: World) -> Seen:
    world.spawn(world.root / "project")
    (child,) = world.listed()
    world.post("/stop-session", {"sessionId": child["happySessionId"]})
    mine = f"pid {os.getpid()}".encode()
    found = [name for name, content in world.written().items() if mine in content]
    return Seen(bool(found), f"in {Path(found[0]).name}" if found else "nowhere")


@check("X19", "callers of every kind: without body, HTTP/1.0, node's own fetch")
def legitimate(world: World) -> Seen:
    host = f"Host: 127.0.0.1:{world.port}\r\n"
    found = [
        status_of(world.raw(f"POST /list HTTP/1.1\r\n{host}Connection: close\r\n\r\n".encode())),
        status_of(world.raw(f"POST /list HTTP/1.0\r\n{host}\r\n".encode())),
        world.ask(
            "/list",
            b"{}",
            "Content-Type: application/json",
            "Sec-Fetch-Mode: cors",
            "User-Agent: node",
        )[0],
    ]
    return Seen(found == [200] * 3, f"status {', '.join(map(str, found))}")


# --- D: directories and worktrees


@check("D01", "a start in root/../outside, and beside the root under a longer name")
def climbing(world: World) -> Seen:
    found = [world.spawn(f"{world.root}/../outside")[0], world.spawn(f"{world.root}-sibling")[0]]
    world.stop_all()
    return Seen(200 not in found, f"status {', '.join(map(str, found))}")


@check("D02", "a start through a symlink that leads out of the root")
def link_out(world: World) -> Seen:
    (world.root / "link").symlink_to(world.root.parent / "outside")
    return refused_at(world, world.root / "link")


@check("D04", "a start while the root is gone")
def root_gone(world: World) -> Seen:
    aside = world.root.with_name("aside")
    world.root.rename(aside)
    try:
        seen = refused_at(world, world.root / "project")
        made = world.root.exists()
    finally:
        subprocess.run(["rm", "-rf", str(world.root)], check=True)
        aside.rename(world.root)
    return Seen(seen.held and not made, seen.words + (", made anew" if made else ""))


@check("D05", "directories with NUL, 10,000 characters, a leading dash; a worktree called --help")
def names(world: World) -> Seen:
    found = [world.spawn(f"{world.root}/{name}")[0] for name in ("a\0b", "x" * 10_000)]
    found.append(
        world.spawn(world.root / "project", sessionType="worktree", worktreeName="--help")[0]
    )
    world.stop_all()
    return Seen(
        200 not in found and 0 not in found and world.lives(),
        f"status {', '.join(map(str, found))}",
    )


@check("D06", "a worktree of something that is no repository")
def no_repository(world: World) -> Seen:
    status, answer = world.spawn(world.root / "sub", sessionType="worktree")
    words = str(answer.get("error") or answer.get("message"))
    return Seen(status != 200 and "epository" in words, f"status {status}, {words[:60]}")


def repository(world: World, name: str) -> Path:
    path = world.root / name
    path.mkdir()
    git = ["git", "-c", "user.name=a", "-c", "user.email=a@example", "-C", str(path)]
    (path / "file").write_text("x\n")
    for words in (["init", "-q"], ["add", "."], ["commit", "-q", "-m", "first"]):
        subprocess.run(
            [*git, *words], check=True, env={**world.cast.base, "GIT_CONFIG_GLOBAL": os.devnull}
        )
    return path


def worktrees(path: Path) -> list[Path]:
    beside = path.with_name(f"{path.name}-worktrees")
    return sorted(beside.iterdir()) if beside.is_dir() else []


@check("D07", "a worktree whose session ended before it came up")
def worktree_left(world: World) -> Seen:
    path = repository(world, "repo")
    status, _ = world.spawn(path, sessionType="worktree", worktreeName="exit-3")
    with contextlib.suppress(TimeoutError):
        until(lambda: not worktrees(path), 5.0)
    left = worktrees(path)
    return Seen(status != 200 and not left, f"status {status}, {'it stays' if left else 'removed'}")


@check("D08", "the same with a file that is not committed in it")
def worktree_dirty(world: World) -> Seen:
    path = repository(world, "repo-dirty")
    with (path / ".git/config").open("a") as config:
        config.write('[filter "work"]\n\tsmudge = "echo work > unsaved && cat"\n')
    (path / ".git/info").mkdir(exist_ok=True)
    (path / ".git/info/attributes").write_text("* filter=work\n")
    world.spawn(path, sessionType="worktree", worktreeName="exit-3")
    time.sleep(1.0)  # it would be removed by now
    left = worktrees(path)
    kept = bool(left) and (left[0] / "unsaved").exists()
    return Seen(kept, "kept" if kept else "removed with the work in it")


@check("D09", "a directory below a file")
def below_a_file(world: World) -> Seen:
    (world.root / "file").write_text("x")
    seen = refused_at(world, world.root / "file/sub")
    return Seen(seen.held and world.lives(), seen.words)


# --- K: secrets, logs, files


@check("K01", "the hub's token in a command line")
def token_in_argv(world: World) -> Seen:
    found = any(CANARY in line for line in world.cast.command_lines())
    return Seen(not found, "found" if found else "in none")


@check("K02", "the hub's token in files beside settings.json")
def token_in_files(world: World) -> Seen:
    holding = [
        Path(name).name for name, content in world.written().items() if CANARY.encode() in content
    ]
    found = [name for name in holding if name != "settings.json"]
    return Seen(not found, f"in {', '.join(sorted(set(found)))}" if found else "in none")


@check("K03", "a directory whose name holds a line and escape codes, in the logs")
def escapes(world: World) -> Seen:
    world.spawn(f"{world.root}/a\nFORGED LINE\x1b[2J")
    world.stop_all()
    logs = {
        name: content
        for name, content in world.written().items()
        if name.endswith((".log", ".jsonl"))
    }
    found = [
        Path(name).name
        for name, content in logs.items()
        if b"\nFORGED LINE" in content or b"\x1b[2J" in content
    ]
    return Seen(not found, f"unescaped in {len(found)} logs" if found else "escaped or absent")


@check("K04", "files that others may read, made without a umask")
def open_files(world: World) -> Seen:
    found = [
        path.name
        for path in world.home.rglob("*")
        if "runtime" not in path.parts and open_to_others(path)
    ]
    return Seen(
        not found, f"{len(found)}, {', '.join(sorted(set(found))[:3])} …" if found else "none"
    )


def open_to_others(path: Path) -> bool:
    try:
        mode = path.lstat().st_mode
    except FileNotFoundError:  # it was replaced meanwhile
        return False
    return bool(mode & 0o077) and not stat.S_ISLNK(mode)


@check("K05", "a home that was open to everybody")
def open_home(world: World) -> Seen:
    mode = stat.S_IMODE(world.home.stat().st_mode)
    return Seen(not mode & 0o022, f"mode {mode:o} once it runs")


@check("K06", "predictable or open names in the temporary directory")
def temporary(world: World) -> Seen:
    directory = Path(world.cast.base["TMPDIR"])
    found = [path.name for path in directory.iterdir() if open_to_others(path)]
    return Seen(not found, f"{len(found)} open to others" if found else "none")


@check("K07", "core dumps of sessions")
def core(world: World) -> Seen:
    world.spawn(world.root / "project")
    (child,) = world.listed()
    limits = Path(f"/proc/{child['pid']}/limits").read_text()
    size = next(
        line.split()[4] for line in limits.splitlines() if line.startswith("Max core file size")
    )
    world.stop_all()
    return Seen(size == "0", f"limit {size}")


@check("K08", "the state file: who reads it, and what of the hub's token is in it")
def state_file(world: World) -> Seen:
    path = world.home / "runner.state.json"
    mode, plain = stat.S_IMODE(path.stat().st_mode), CANARY in path.read_text()
    return Seen(
        mode == 0o600 and not plain, f"mode {mode:o}, {'the token itself' if plain else 'no token'}"
    )


@check("K09", "the unix socket")
def unix_socket(world: World) -> Seen:
    path = world.home / "runner.sock"
    if not path.exists():
        return Seen(None, "has none")
    mode = stat.S_IMODE(path.stat().st_mode)
    return Seen(mode == 0o600, f"mode {mode:o}")


# --- U: what applies of the hub's list


def ask_hub(
    world: World, path: str, *headers: str, method: str = "GET", body: bytes = b"", host: str = ""
) -> tuple[int, bytes]:
    """Status and everything that the hub answered."""
    port = int(world.user.url.rpartition(":")[2])
    lines = [
        f"{method} {path} HTTP/1.1",
        f"Host: {host or '127.0.0.1'}:{port}",
        *headers,
        "Connection: close",
    ]
    if body:
        lines += ["Content-Type: application/json", f"Content-Length: {len(body)}"]
    said = world.raw("\r\n".join([*lines, "", ""]).encode() + body, port=port)
    return status_of(said), said


@check("U03", "a web token without signature (alg none)")
def unsigned(world: World) -> Seen:
    parts = world.user.jwt.split(".")
    claims = parts[1]
    header = base64.urlsafe_b64encode(b'{"alg":"none","typ":"JWT"}').rstrip(b"=").decode()
    found = [
        ask_hub(world, "/api/sessions", f"Authorization: Bearer {header}.{claims}.{rest}")[0]
        for rest in ("", parts[2])
    ]
    return Seen(found == [401, 401], f"status {', '.join(map(str, found))}")


@check("U08", "a page of another origin asks the hub")
def other_origin(world: World) -> Seen:
    _, said = ask_hub(
        world,
        "/api/sessions",
        f"Authorization: Bearer {world.user.jwt}",
        "Origin: http://evil.example",
    )
    lines = [
        line
        for line in said.lower().split(b"\r\n")
        if line.startswith(b"access-control-allow-origin:")
    ]
    allowed = any(b"*" in line or b"evil" in line for line in lines)
    return Seen(not allowed, lines[0].decode() if lines else "no Access-Control-Allow-Origin")


@check("U09", "a foreign Host at a hub on the loopback address")
def foreign_host(world: World) -> Seen:
    status, _ = ask_hub(
        world, "/api/sessions", f"Authorization: Bearer {world.user.jwt}", host="evil.example"
    )
    return Seen(status >= 400, f"status {status}")


@check("U12", "paths that lead out of the page's directory")
def out_of_the_page(world: World) -> Seen:
    tries = (
        "/../../../../../../etc/passwd",
        "/%2e%2e/%2e%2e/%2e%2e/%2e%2e/etc/passwd",
        "/..%2f..%2f..%2f..%2fetc/passwd",
    )
    found = [ask_hub(world, path)[1] for path in tries]
    return Seen(
        not any(b"root:" in said for said in found),
        f"status {', '.join(str(status_of(said)) for said in found)}",
    )


@check("U07", "300 wrong tokens, one after the other")
def guessing(world: World) -> Seen:
    """The last of all: who guessed has to wait."""
    found = {
        ask_hub(world, "/api/auth", method="POST", body=b'{"accessToken":"wrong-%d"}' % number)[0]
        for number in range(300)
    }
    return Seen(429 in found, f"status {', '.join(map(str, sorted(found)))}")


def ask_everything(world: World) -> dict[str, Seen]:
    """Id → what was seen; a check that broke says so and did not hold."""
    found = {}
    for name, (_, asked) in CHECKS.items():
        world.up()
        world.slow = world.slow or Slow(world.port)
        try:
            found[name] = asked(world)
        except (
            OSError,
            ValueError,
            KeyError,
            TimeoutError,
            AttributeError,
            subprocess.SubprocessError,
        ) as error:
            found[name] = Seen(False, f"no sensible answer: {type(error).__name__} {error}")
    return {name: Seen(one.held, shortened(one.words, world)) for name, one in found.items()}


def shortened(words: str, world: World) -> str:
    words = words.replace(str(world.root.parent), "…")
    return words if len(words) < 110 else f"{words[:108]} …"


def rows(seen: dict[str, dict[str, Seen]]) -> str:
    """The comparison as a table."""
    lines = ["| id | what is tried | ours | npm 0.30.7 |", "| --- | --- | --- | --- |"]
    for name in sorted(CHECKS):
        lines.append(
            f"| {name} | {CHECKS[name][0]} | {cell(seen[OURS][name])} | {cell(seen[NPM][name])} |"
        )
    held = {make: sum(one.held is True for one in found.values()) for make, found in seen.items()}
    asked = {
        make: sum(one.held is not None for one in found.values()) for make, found in seen.items()
    }
    lines.append(f"| | held | {held[OURS]} of {asked[OURS]} | {held[NPM]} of {asked[NPM]} |")
    return "\n".join(lines)


def cell(seen: Seen) -> str:
    words = "".join(part if part.isprintable() else " " for part in seen.words).replace("|", "\\|")
    return {True: "held", False: "**not held**", None: "–"}[seen.held] + f": {words}"
