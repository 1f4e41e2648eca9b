"""Compares our hub with npm's, in one run and from outside. Prints figures and ratios, marks goals
that were missed, writes JSON.

    python -m benchmarks hub [--rounds N] [--readers N …] [--short] [--only SUBJECT …]
        [--make ours|npm] [--json FILE] [--markdown]

Each subject starts a hub of each make with an empty home; the makes take turns, and the medians of
the rounds are shown. One process sends, one reads (all pages), and one asks for `/health` where the
longest silence is measured. `--short` takes about a minute. Subjects: messages, lists, pages,
sockets.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import gzip
import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from statistics import median
from typing import Any

import psutil
from attrs import asdict, define, field

from benchmarks.frame import HERE, MAKES, Cast, Figure, Limit, cpu, markdown, table
from benchmarks.hub_client import HubClient, SessionSocket, run
from tests.support.peers import Running

TOKEN = "benchmark-token-of-no-value"
SENDERS = 10  # sessions that send
RATE = 200  # messages a second where the delay is measured
MESSAGES_TIMEOUT = 60.0  # seconds for one burst
SETTLE = 1.0  # seconds before memory and processor time are read
PAGE_LIMIT = 200  # messages in the greatest page that a hub serves
BIG_MESSAGE = 60_000  # characters: such a page is 12 MB
BIG_READERS = 8
FILE_LIMIT = 16384


@define(eq=False)
class HubRun:
    """One hub of one make that runs, for one subject."""

    make: str
    running: Running
    client: HubClient

    @property
    def pid(self) -> int:
        """The process that serves: npm's program is started by a small one."""
        return serving_pid(self.running.program.pid)

    def cpu(self) -> float:
        return cpu(self.pid)

    def memory(self) -> tuple[float, float]:
        """RSS and PSS in MB."""
        info = psutil.Process(self.pid).memory_full_info()
        return info.rss / 2**20, info.pss / 2**20


def serving_pid(pid: int) -> int:
    """The process of the tree below `pid` that listens."""
    root = psutil.Process(pid)
    for process in (root, *root.children(recursive=True)):
        if any(found.status == psutil.CONN_LISTEN for found in process.net_connections("tcp")):
            return int(process.pid)
    raise LookupError(f"nothing below process {pid} listens")


@define(eq=False)
class HubBench:
    """One run of the suite; each value is taken down by name and make, the table shows medians."""

    path: Path
    arguments: argparse.Namespace
    values: dict[tuple[str, str], list[float]] = field(factory=dict)
    limits: dict[str, Limit] = field(factory=dict)
    _serial: int = 0

    @contextlib.contextmanager
    def hub(self, make: str) -> Iterator[HubRun]:
        """A hub with an empty home."""
        self._serial += 1
        path = self.path / f"stage-{self._serial}"
        cast = Cast(path, token=TOKEN)
        try:
            running, user = cast.hub(make)
            yield HubRun(make, running, HubClient(user))
        finally:
            cast.end()
            shutil.rmtree(path, ignore_errors=True)

    def note(self, name: str, make: str, value: float, limit: Limit | None = None) -> None:
        self.values.setdefault((name, make), []).append(value)
        if limit is not None:
            self.limits[name] = limit
        print(f"  {make:5} {name}: {value:.4g}", file=sys.stderr, flush=True)

    def figures(self) -> list[Figure]:
        found: dict[str, Figure] = {}
        for (name, make), values in self.values.items():
            figure = found.setdefault(name, Figure(name, self.limits.get(name, Limit())))
            figure.values[make] = round(median(values), 5)
        return list(found.values())


# --- the other processes --------------------------------------------------------------------------


@define(eq=False)
class _Helper:
    """A program of the benchmark beside the hub, spoken to by lines."""

    process: subprocess.Popen[str]

    def receive(self) -> dict[str, Any]:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            raise RuntimeError(f"a helper of the benchmark ended with {self.process.wait()}")
        return dict(json.loads(line))

    def ask(self, command: str) -> dict[str, Any]:
        assert self.process.stdin is not None
        self.process.stdin.write(f"{command}\n")
        self.process.stdin.flush()
        return self.receive()


@contextlib.contextmanager
def helper_program(program: str, *arguments: object) -> Iterator[_Helper]:
    argv = [sys.executable, "-S", "-E", str(HERE / program), *map(str, arguments)]
    with subprocess.Popen(
        argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            helper = _Helper(process)
            helper.receive()  # it is ready
            yield helper
        finally:
            process.kill()


def readers(hub: HubRun, count: int) -> contextlib.AbstractContextManager[_Helper]:
    """Pages that read the event stream."""
    return helper_program("hub_readers.py", hub.client.port, hub.client.user.jwt, count)


@contextlib.contextmanager
def silence(hub: HubRun, pause: float = 0.002) -> Iterator[dict[str, Any]]:
    """How long another client waits for `/health` meanwhile; in the dictionary afterwards."""
    found: dict[str, Any] = {}
    with helper_program("hub_silence.py", hub.client.port, pause) as helper:
        yield found
        assert helper.process.stdin is not None
        helper.process.stdin.close()
        found.update(helper.receive())


# --- messages from sessions to pages --------------------------------------------------------------


def messages(bench: HubBench) -> None:
    """Burst and steady rate, with each number of pages."""
    for _ in range(bench.arguments.rounds):
        for count in bench.arguments.readers:
            for make in MAKES:
                if make in bench.arguments.make:
                    with bench.hub(make) as hub:
                        ids = [hub.client.create(f"sender-{n}") for n in range(SENDERS)]
                        run(_messages(bench, hub, ids, count))


async def _messages(bench: HubBench, hub: HubRun, ids: list[str], count: int) -> None:
    total = bench.arguments.messages
    sockets = await hub.client.sockets(ids)
    for each in sockets:
        each.alive()
        each.say()  # the first message of a session causes more than the others
    pages = f"{count} page{'s' if count > 1 else ''}"
    with readers(hub, count) as reading:
        await _send(sockets, 100, 1000.0)  # warms up
        await _asked(reading, f"wait 100 {MESSAGES_TIMEOUT}")
        await _asked(reading, "reset")
        used, began = hub.cpu(), time.monotonic_ns()
        await _send(sockets, total)
        got = await _asked(reading, f"wait {total} {MESSAGES_TIMEOUT}")
        used = hub.cpu() - used
        seconds = max(got["last"] - began, 1) / 1e9
        rate = got["messages"] / seconds
        bench.note(f"burst, {pages} (messages a second)", hub.make, rate, Limit(times=3))
        per_thousand = used / max(got["messages"], 1) * 1e6
        bench.note(f"burst, {pages}: CPU per 1,000 (ms)", hub.make, per_thousand)
        if got["messages"] < total or got["lost"]:
            missing, lost = total - got["messages"], got["lost"]
            print(f"  {hub.make}: {missing} messages missing, {lost} pages cut", file=sys.stderr)
            if got["lost"]:
                return
        await _asked(reading, "reset")
        steady = int(RATE * bench.arguments.seconds)
        used = hub.cpu()
        await _send(sockets, steady, RATE)
        got = await _asked(reading, f"wait {steady} {MESSAGES_TIMEOUT}")
        used = hub.cpu() - used
        p99, half = f"{RATE} a second, {pages}, p99 (ms)", f"{RATE} a second, {pages}, p50 (ms)"
        bench.note(half, hub.make, got["p50"] * 1e3)
        bench.note(p99, hub.make, got["p99"] * 1e3, Limit(ratio=0.5))
        name = f"{RATE} a second, {pages}: CPU per 1,000 (ms)"
        bench.note(name, hub.make, used / max(got["messages"], 1) * 1e6)
    for each in sockets:
        await each.close()


async def _asked(helper: _Helper, command: str) -> dict[str, Any]:
    """Ask in a thread, so that the sockets answer the hub's pings meanwhile."""
    return await asyncio.to_thread(helper.ask, command)


async def _send(sockets: list[SessionSocket], count: int, rate: float = 0.0) -> None:
    """Send `count` messages by the sockets in turn; `rate` a second, 0: without a pause."""
    began, sent = time.monotonic(), 0
    while sent < count:
        due = min(count, int((time.monotonic() - began) * rate) + 1) if rate else count
        while sent < due:
            each = sockets[sent % len(sockets)]
            each.say()
            sent += 1
            if sent % 64 == 0:
                await each.drain()
                await asyncio.sleep(0)
        if rate:
            await asyncio.sleep(0.001)


# --- the list of sessions -------------------------------------------------------------------------


def lists(bench: HubBench) -> None:
    """`GET /api/sessions` with more and more rows, and how long others wait meanwhile."""
    for _ in range(bench.arguments.rounds):
        for make in MAKES:
            if make in bench.arguments.make:
                with bench.hub(make) as hub:
                    made = 0
                    for count in bench.arguments.sessions:
                        for number in range(made, count):
                            hub.client.create(f"project-{number}")
                        made = count
                        time.sleep(SETTLE)
                        _list(bench, hub, count)


def _list(bench: HubBench, hub: HubRun, count: int) -> None:
    connection, took = hub.client.keep(), []
    with silence(hub) as others:
        used = hub.cpu()
        for _ in range(5):
            began = time.perf_counter()
            status, body = connection.call("GET", "/api/sessions")
            took.append(time.perf_counter() - began)
            assert status == 200
            assert len(json.loads(body)["sessions"]) == count
            time.sleep(0.1)
        used = hub.cpu() - used
    name = f"list of {count:,} sessions"
    bench.note(f"{name} (ms)", hub.make, median(took) * 1e3, Limit(ratio=1))
    longest = others["longest"] * 1e3
    bench.note(f"{name}: longest silence (ms)", hub.make, longest, Limit(most=100))
    connection.close()


# --- large pages of a conversation ----------------------------------------------------------------


def pages(bench: HubBench) -> None:
    """Readers of pages of 12 MB, compressed, and how long others wait meanwhile."""
    for _ in range(bench.arguments.rounds):
        for make in MAKES:
            if make in bench.arguments.make:
                with bench.hub(make) as hub:
                    session_id = hub.client.create()
                    run(_fill(hub, session_id))
                    _read_pages(bench, hub, session_id)


async def _fill(hub: HubRun, session_id: str) -> None:
    each = await hub.client.socket(session_id).open()
    each.alive()
    for number in range(PAGE_LIMIT):
        text = "".join(f"{number * position:x} " for position in range(BIG_MESSAGE // 8))
        data = {"type": "message", "message": text[:BIG_MESSAGE].ljust(BIG_MESSAGE, ".")}
        content = {"type": "codex", "data": data}
        message = {"role": "agent", "content": content}
        each.emit("message", {"sid": session_id, "message": message})
        await each.drain()
        await asyncio.sleep(0)
    await each.ping()
    path = f"/api/sessions/{session_id}/messages?limit={PAGE_LIMIT}"
    deadline = time.monotonic() + MESSAGES_TIMEOUT
    while len((await asyncio.to_thread(hub.client.user.get, path))["messages"]) < PAGE_LIMIT:
        assert time.monotonic() < deadline
        await asyncio.sleep(0.2)
    await each.close()


def _read_pages(bench: HubBench, hub: HubRun, session_id: str) -> None:
    path = f"/api/sessions/{session_id}/messages?limit={PAGE_LIMIT}"
    bodies: list[bytes] = []

    def read() -> None:
        connection = hub.client.keep()
        bodies.append(connection.call("GET", path, **{"Accept-Encoding": "gzip"})[1])
        connection.close()

    with silence(hub) as others:
        began = time.perf_counter()
        threads = [threading.Thread(target=read) for _ in range(BIG_READERS)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        took = time.perf_counter() - began
    assert len(bodies) == BIG_READERS
    text = gzip.decompress(bodies[0]) if bodies[0].startswith(b"\x1f\x8b") else bodies[0]
    assert len(json.loads(text)["messages"]) == PAGE_LIMIT
    name = f"{BIG_READERS} readers of pages of 12 MB, gzip"
    bench.note(f"{name} (s)", hub.make, took)
    longest = others["longest"] * 1e3
    bench.note(f"{name}: longest silence (ms)", hub.make, longest, Limit(most=100))


# --- sockets --------------------------------------------------------------------------------------


def sockets(bench: HubBench) -> None:
    """Memory with idle sockets, and how long it takes until all are back after they were lost."""
    count = bench.arguments.sockets
    for _ in range(bench.arguments.rounds):
        for make in MAKES:
            if make in bench.arguments.make:
                with bench.hub(make) as hub:
                    time.sleep(SETTLE)
                    rss, pss = hub.memory()
                    bench.note("idle hub: RSS (MB)", make, rss, Limit(ratio=0.5))
                    bench.note("idle hub: PSS (MB)", make, pss)
                    ids = [hub.client.create(f"idle-{number}") for number in range(count)]
                    run(_sockets(bench, hub, ids))


async def _sockets(bench: HubBench, hub: HubRun, ids: list[str]) -> None:
    name = f"{len(ids):,} sockets"
    connected = await hub.client.sockets(ids)
    await asyncio.sleep(SETTLE)
    rss, pss = hub.memory()
    bench.note(f"{name}: RSS (MB)", hub.make, rss, Limit(ratio=0.5))
    bench.note(f"{name}: PSS (MB)", hub.make, pss)
    with silence(hub) as others:
        used = hub.cpu()
        for each in connected:
            each.transport.abort()
        began = time.monotonic()
        connected = await hub.client.sockets(ids, at_once=len(ids))
        took = time.monotonic() - began
        used = hub.cpu() - used
    bench.note(f"{name} lost at once: until all are back (s)", hub.make, took, Limit(ratio=1))
    bench.note(f"{name} lost at once: CPU (s)", hub.make, used)
    longest = others["longest"] * 1e3
    bench.note(f"{name} lost at once: longest silence (ms)", hub.make, longest)
    for each in connected:
        each.transport.abort()


def prepare() -> None:
    """Raise the limit of open files, which hubs inherit, and end with all that was started when
    terminated.
    """
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(FILE_LIMIT, hard), hard))
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))


SUBJECTS = {"messages": messages, "lists": lists, "pages": pages, "sockets": sockets}


def main(argv: list[str]) -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks hub",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--short", action="store_true", help="one round with small numbers")
    parser.add_argument("--readers", type=int, nargs="*", default=[1, 10, 50], metavar="N")
    parser.add_argument("--messages", type=int, default=3000, metavar="N", help="in one burst")
    parser.add_argument("--seconds", type=float, default=5.0, help=f"of {RATE} messages a second")
    parser.add_argument("--sessions", type=int, nargs="*", default=[500, 5000], metavar="N")
    parser.add_argument("--sockets", type=int, default=1000, metavar="N")
    parser.add_argument("--only", choices=SUBJECTS, nargs="*", help="measure these only")
    parser.add_argument("--make", choices=MAKES, nargs="*", default=MAKES, help="these hubs only")
    parser.add_argument("--json", type=Path, default=HERE.parent / ".cache/bench-hub.json")
    parser.add_argument("--markdown", action="store_true", help="print the table of the docs")
    arguments = parser.parse_args(argv)
    if arguments.short:
        arguments.rounds, arguments.messages, arguments.seconds = 1, 1000, 2.0
        arguments.sessions, arguments.sockets = [500], 300

    prepare()
    path = Path(tempfile.mkdtemp(prefix="hapi-bench-hub-"))
    bench = HubBench(path, arguments)
    try:
        for subject in arguments.only or SUBJECTS:
            print(f"{subject} (load {os.getloadavg()[0]:.1f})", file=sys.stderr, flush=True)
            SUBJECTS[subject](bench)
    finally:
        shutil.rmtree(path, ignore_errors=True)
        _tell(bench, arguments)


def _tell(bench: HubBench, arguments: argparse.Namespace) -> None:
    figures = bench.figures()
    about = {
        "rounds": arguments.rounds,
        "cores": os.cpu_count(),
        "python": sys.version.split()[0],
        "load": round(os.getloadavg()[0], 1),
    }
    rounds = {f"{name} | {make}": values for (name, make), values in bench.values.items()}
    arguments.json.parent.mkdir(parents=True, exist_ok=True)
    shown = [asdict(figure) for figure in figures]
    arguments.json.write_text(json.dumps({**about, "figures": shown, "values": rounds}, indent=2))
    print(", ".join(f"{name} {value}" for name, value in about.items()))
    print(markdown(figures) if arguments.markdown else table(figures))
