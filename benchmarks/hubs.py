"""Compares one hub on SQLite, hubs on PostgreSQL, and npm's hub, in one run and from outside.
Prints figures and the ratio of three hubs to one, writes JSON.

    python -m benchmarks hubs [--rounds N] [--short] [--only SUBJECT …] [--setup SETUP …]
        [--hub-processors N] [--json FILE] [--markdown]

The setups take turns with each subject; the medians of the rounds are shown. Clients are spread
over the hubs of a setup without a balancer. The processor time of hubs and of PostgreSQL is counted
apart: where the processors of the machine are the limit, the capacity of each part is reckoned from
it; or `--hub-processors 0.2` gives each hub a fifth of a processor, so that the machine can carry
three. Subjects: burst, pages, calls, storm.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from statistics import median
from typing import Any

import psutil
from attrs import define, field

from benchmarks.cpu_limit import CpuLimit, Unlimited
from benchmarks.frame import HERE, NPM, OURS, Cast, cpu
from benchmarks.hub import TOKEN, helper_program, prepare, serving_pid
from benchmarks.hub_client import HubClient, SessionSocket, run
from tests.support.peers import OUR_HAPI, Running, User, quietly
from tests.support.programs import free_port

SQLITE, ONE, THREE, NPM_HUB = "SQLite", "PostgreSQL", "PostgreSQL, 3 hubs", "npm"
SETUPS = (SQLITE, ONE, THREE, NPM_HUB)
SENDERS = 30  # sessions that send
RATE = 200  # messages a second where the delay is measured
PAGES = 50
TIMEOUT = 120.0  # seconds for one burst
CALLS = 300  # one after the other
SETTLE = 1.0  # seconds
RPC_METHOD = "git-status"


@define(eq=False)
class Setup:
    """The hubs of one setup that run, for one subject."""

    name: str
    hubs: list[Running]
    clients: list[HubClient]
    database: Any = None  # PostgresServer
    pids: list[int] = field(factory=list)

    def hub_cpu(self) -> float:
        return sum(map(cpu, self.pids))

    def database_cpu(self) -> float:
        """Seconds of all processes of PostgreSQL, those that have ended included."""
        if self.database is None:
            return 0.0
        found = 0.0
        for place, process in enumerate(self.database.processes()):
            with contextlib.suppress(psutil.Error):
                times = process.cpu_times()
                found += times.user + times.system
                if place == 0:
                    found += times.children_user + times.children_system
        return found

    def client(self, number: int) -> HubClient:
        return self.clients[number % len(self.clients)]

    def create(self, count: int) -> list[str]:
        return [self.client(number).create(f"session-{number}") for number in range(count)]

    async def sockets(self, ids: list[str], at_once: int = 64) -> list[SessionSocket]:
        """A socket for each session, the hubs in turn."""
        places = asyncio.Semaphore(at_once)

        async def connect(number: int, session_id: str) -> SessionSocket:
            async with places:
                return await self.client(number).socket(session_id).open()

        connecting = (connect(number, session_id) for number, session_id in enumerate(ids))
        return list(await asyncio.gather(*connecting))


@define(eq=False)
class Used:
    """Processor seconds since it was made."""

    setup: Setup
    hubs: float = 0.0
    database: float = 0.0
    began: float = 0.0

    def __attrs_post_init__(self) -> None:
        self.hubs, self.database = self.setup.hub_cpu(), self.setup.database_cpu()
        self.began = time.monotonic()

    def take(self) -> tuple[float, float, float]:
        """Of the hubs, of the database, and the seconds that have passed."""
        return (
            self.setup.hub_cpu() - self.hubs,
            self.setup.database_cpu() - self.database,
            time.monotonic() - self.began,
        )


@define(eq=False)
class Bench:
    path: Path
    arguments: argparse.Namespace
    values: dict[tuple[str, str], list[float]] = field(factory=dict)
    problems: list[str] = field(factory=list)
    _serial: int = 0

    @contextlib.contextmanager
    def setup(self, name: str) -> Iterator[Setup]:
        """Hubs with empty homes and an empty database."""
        self._serial += 1
        path = self.path / f"stage-{self._serial}"
        cast = Cast(path, token=TOKEN)
        with ExitStack() as stack:
            stack.callback(shutil.rmtree, path, ignore_errors=True)
            database = None
            if name in (ONE, THREE):
                from tests.support.postgres import end_servers, make_server

                database = make_server(free_port(), fsync=True)
                stack.callback(end_servers, database.directory)
                database.create_database("hapi")
            limits = ExitStack()  # their programs have to end before
            stack.push(limits)
            stack.callback(cast.end)
            made = Setup(name, [], [], database)
            for number in range(3 if name == THREE else 1):
                running, user = _hub(cast, name, number, database)
                made.hubs.append(running)
                made.clients.append(HubClient(user))
                made.pids.append(serving_pid(running.program.pid))
                if self.arguments.hub_processors is not None:
                    limit = CpuLimit(self.arguments.hub_processors)
                    limits.callback(limit.close)
                    limit.add(made.pids[-1])
            yield made

    def note(self, figure: str, setup: Setup, value: float) -> None:
        self.values.setdefault((figure, setup.name), []).append(value)
        print(f"  {setup.name:20} {figure}: {value:.4g}", file=sys.stderr, flush=True)

    def note_cpu(self, figure: str, setup: Setup, used: Used, messages: int) -> None:
        hubs, database, seconds = used.take()
        self.note(f"{figure}: CPU of hubs per 1,000 (s)", setup, hubs / messages * 1000)
        if setup.database is not None:
            each = database / messages * 1000
            self.note(f"{figure}: CPU of PostgreSQL per 1,000 (s)", setup, each)
        busy = (hubs + database) / seconds
        self.note(f"{figure}: processors busy with both", setup, busy)


def _hub(cast: Cast, name: str, number: int, database: Any) -> tuple[Running, User]:
    if name in (SQLITE, NPM_HUB):
        return cast.hub(OURS if name == SQLITE else NPM)
    from tests.support.postgres import PASSWORD, ROLE

    port, home = free_port(), cast.home(OURS, f"hub-{number}")
    where = f"postgresql://{ROLE}@127.0.0.1:{database.port}/hapi"
    argv = [*OUR_HAPI, "hub", "--host", "127.0.0.1", "--port", str(port), "--database", where]
    if name == THREE:
        argv += ["--advertise", f"http://127.0.0.1:{port}", "--name", f"hub-{number}"]
    given = {"HAPI_HOME": str(home), "CLI_API_TOKEN": cast.token, "PGPASSWORD": PASSWORD}
    program = cast.start(f"hub-{number}", argv, given)
    user = User(f"http://127.0.0.1:{port}", cast.token)
    program.ready(lambda: quietly(lambda: user.get("/ready")), 60.0)
    return Running(OURS, program, home), user.login()


# --- the subjects ---------------------------------------------------------------------------------


def burst(bench: Bench, setup: Setup) -> None:
    """Messages as fast as they are confirmed, without a page."""
    run(_burst(bench, setup, setup.create(SENDERS)))


async def _burst(bench: Bench, setup: Setup, ids: list[str]) -> None:
    sockets = await setup.sockets(ids)
    await _send(sockets, 5)
    await asyncio.gather(*(each.ping() for each in sockets))
    each_count = bench.arguments.messages // len(sockets)
    used = Used(setup)
    began = time.monotonic()
    await asyncio.gather(*(_send_confirmed(each, each_count) for each in sockets))
    total = each_count * len(sockets)
    bench.note("burst (messages a second)", setup, total / (time.monotonic() - began))
    bench.note_cpu("burst", setup, used, total)
    await _close(sockets)


async def _send_confirmed(socket: SessionSocket, count: int) -> None:
    """As a session does: at most 100 are not confirmed."""
    for number in range(count):
        socket.say()
        if number % 100 == 99:
            await socket.ping()
    await socket.ping()


async def _send(sockets: list[SessionSocket], each_count: int) -> None:
    for each in sockets:
        each.alive()
        for _ in range(each_count):
            each.say()


def pages(bench: Bench, setup: Setup) -> None:
    """The delay from a session to 50 pages at a fixed rate."""
    run(_pages(bench, setup, setup.create(SENDERS)))


async def _pages(bench: Bench, setup: Setup, ids: list[str]) -> None:
    sockets = await setup.sockets(ids)
    await _send(sockets, 1)
    total = int(RATE * bench.arguments.seconds)
    with ExitStack() as stack:
        readers = []
        for place, client in enumerate(setup.clients):
            count = len(range(place, PAGES, len(setup.clients)))
            readers.append(
                stack.enter_context(
                    helper_program("hub_readers.py", client.port, client.user.jwt, count)
                )
            )
        await _at_rate(sockets, RATE)
        await asyncio.sleep(SETTLE)
        for each in readers:
            await asyncio.to_thread(each.ask, "reset")
        used = Used(setup)
        await _at_rate(sockets, total)
        asked = (asyncio.to_thread(each.ask, f"wait {total} {TIMEOUT}") for each in readers)
        answers = await asyncio.gather(*asked)
        missing = sum(max(0, total - answer["messages"]) for answer in answers)
        if missing or any(answer["lost"] for answer in answers):
            bench.problems.append(f"{setup.name}: {missing} messages missing at pages")
        figure = f"{RATE} a second to {PAGES} pages"
        for place in ("p50", "p99"):
            worst = max(answer[place] for answer in answers)
            bench.note(f"{figure}: {place} (ms)", setup, worst * 1e3)
        bench.note_cpu(figure, setup, used, total)
    await _close(sockets)


async def _at_rate(sockets: list[SessionSocket], count: int) -> None:
    began, sent = time.monotonic(), 0
    while sent < count:
        due = min(count, int((time.monotonic() - began) * RATE) + 1)
        while sent < due:
            sockets[sent % len(sockets)].say()
            sent += 1
        await asyncio.sleep(0.001)


def calls(bench: Bench, setup: Setup) -> None:
    """RPC of a person to a session, asked at the next hub where there are several."""
    run(_calls(bench, setup, setup.create(len(setup.clients))))


async def _calls(bench: Bench, setup: Setup, ids: list[str]) -> None:
    sockets = await setup.sockets(ids)
    for each in sockets:
        each.answers[RPC_METHOD] = {"success": True, "stdout": "", "stderr": "", "exitCode": 0}
        each.serve(RPC_METHOD)
        each.alive()
        await each.ping()
    await asyncio.sleep(SETTLE)
    kept = setup.client(1).keep()  # the session's own hub if it is the only one
    took = []
    for number in range(bench.arguments.calls + 20):
        began = time.perf_counter()
        path = f"/api/sessions/{ids[0]}/git-status"
        status, body = await asyncio.to_thread(kept.call, "GET", path)
        if status != 200 or not json.loads(body).get("success"):
            bench.problems.append(f"{setup.name}: RPC was answered with {status} {body[:200]!r}")
            return
        if number >= 20:
            took.append(time.perf_counter() - began)
    took.sort()
    bench.note("RPC: p50 (ms)", setup, median(took) * 1e3)
    bench.note("RPC: p99 (ms)", setup, took[int(len(took) * 0.99)] * 1e3)
    await _close(sockets)


def storm(bench: Bench, setup: Setup) -> None:
    """All sockets are lost at once and connect again."""
    run(_storm(bench, setup, setup.create(bench.arguments.sockets)))


async def _storm(bench: Bench, setup: Setup, ids: list[str]) -> None:
    sockets = await setup.sockets(ids)
    for each in sockets:
        each.alive()
    await asyncio.gather(*(each.ping() for each in sockets))
    used = Used(setup)
    for each in sockets:
        each.transport.abort()
    began = time.monotonic()
    sockets = await setup.sockets(ids, at_once=len(ids))
    for each in sockets:
        each.alive()
    await asyncio.gather(*(each.ping() for each in sockets))
    name = f"{len(ids)} sockets lost at once"
    bench.note(f"{name}: until all are back (s)", setup, time.monotonic() - began)
    hubs, database, _ = used.take()
    bench.note(f"{name}: CPU of hubs (s)", setup, hubs)
    if setup.database is not None:
        bench.note(f"{name}: CPU of PostgreSQL (s)", setup, database)
    await _close(sockets)


async def _close(sockets: list[SessionSocket]) -> None:
    for each in sockets:
        each.transport.abort()
    await asyncio.sleep(0.1)


SUBJECTS: dict[str, Callable[[Bench, Setup], None]] = {
    "burst": burst,
    "pages": pages,
    "calls": calls,
    "storm": storm,
}


# --- the table ------------------------------------------------------------------------------------


def rows(bench: Bench, setups: list[str]) -> list[list[str]]:
    """A line for each figure: its name, its value with each setup, and the ratio to one hub on
    PostgreSQL.
    """
    found: dict[str, dict[str, float]] = {}
    for (figure, name), values in bench.values.items():
        found.setdefault(figure, {})[name] = median(values)
    table = [["", *setups, *([f"{THREE} / {ONE}"] if {ONE, THREE} <= set(setups) else [])]]
    for figure, by_setup in found.items():
        line = [figure, *(_text(by_setup.get(name)) for name in setups)]
        if {ONE, THREE} <= set(setups):
            one, three = by_setup.get(ONE), by_setup.get(THREE)
            line.append(f"{three / one:.2f}" if one and three is not None else "")
        table.append(line)
    return table


def _text(value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}" if value >= 10 else f"{value:.3f}"


def printed(table: list[list[str]], markdown: bool) -> str:
    if markdown:
        lines = [f"| {' | '.join(line)} |" for line in table]
        lines.insert(1, f"|{' --- |' * len(table[0])}")
        return "\n".join(lines)
    widths = [max(len(line[column]) for line in table) for column in range(len(table[0]))]
    return "\n".join(
        "  ".join(
            cell.rjust(width) if place else cell.ljust(width)
            for place, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in table
    )


def main(argv: list[str]) -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks hubs",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--short", action="store_true", help="one round with small numbers")
    parser.add_argument("--messages", type=int, default=9000, metavar="N", help="in one burst")
    parser.add_argument("--seconds", type=float, default=8.0, help=f"of {RATE} messages a second")
    parser.add_argument("--calls", type=int, default=CALLS, metavar="N")
    parser.add_argument("--sockets", type=int, default=200, metavar="N")
    parser.add_argument("--only", choices=SUBJECTS, nargs="*", help="measure these only")
    parser.add_argument("--setup", choices=SETUPS, nargs="*", default=SETUPS)
    parser.add_argument(
        "--hub-processors", type=float, metavar="N", help="processors that each hub may use"
    )
    parser.add_argument("--json", type=Path, default=HERE.parent / ".cache/bench-hubs.json")
    parser.add_argument("--markdown", action="store_true", help="print the table of the docs")
    arguments = parser.parse_args(argv)
    if arguments.short:
        arguments.rounds, arguments.messages, arguments.seconds = 1, 1500, 2.0
        arguments.calls, arguments.sockets = 50, 60

    prepare()
    setups = [name for name in SETUPS if name in arguments.setup]
    path = Path(tempfile.mkdtemp(prefix="hapi-bench-hubs-"))
    bench = Bench(path, arguments)
    try:
        for subject in arguments.only or SUBJECTS:
            print(f"{subject} (load {os.getloadavg()[0]:.1f})", file=sys.stderr, flush=True)
            for _ in range(arguments.rounds):
                for name in setups:
                    with bench.setup(name) as setup:
                        SUBJECTS[subject](bench, setup)
    except Unlimited as error:
        bench.problems.append(str(error))
    finally:
        shutil.rmtree(path, ignore_errors=True)
        about = {
            "rounds": arguments.rounds,
            "cores": os.cpu_count(),
            "python": sys.version.split()[0],
            "load": round(os.getloadavg()[0], 1),
        }
        values = {f"{figure} | {name}": each for (figure, name), each in bench.values.items()}
        arguments.json.parent.mkdir(parents=True, exist_ok=True)
        arguments.json.write_text(json.dumps({**about, "values": values}, indent=2))
        print(", ".join(f"{name} {value}" for name, value in about.items()))
        print(printed(rows(bench, setups), arguments.markdown))
        for problem in bench.problems:
            print(f"PROBLEM: {problem}")
