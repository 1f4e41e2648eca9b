"""What all benchmarks share: a hub, runners of both makes that come and go, figures with their
limits, the table."""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Callable
from http.client import HTTPConnection
from pathlib import Path
from statistics import median
from typing import Any, TypeVar

import psutil
from attrs import define, field

from tests.support.peers import NPM, NPM_BINARY, OUR_HAPI, OURS, Cast, Running, User, quietly
from tests.support.programs import Program, alive, free_port, marked, until

__all__ = [
    "MAKES",
    "NPM",
    "OURS",
    "Bench",
    "Cast",
    "Limit",
    "Program",
    "Running",
    "User",
    "alive",
    "free_port",
    "marked",
    "median",
    "quietly",
    "timed",
    "until",
]

HERE = Path(__file__).resolve().parent

MAKES = (OURS, NPM)
AGENT = "kimi"  # which flavour the scripted agent stands in for
T = TypeVar("T")


@define
class Limit:
    """What a figure of ours must not be beyond: a number, or so many times npm's."""

    most: float | None = None
    least: float | None = None
    ratio: float | None = None  # ours / npm
    times: float | None = None  # ours / npm at least

    def __str__(self) -> str:
        told = [
            f"≤ {self.most:g}" if self.most is not None else "",
            f"≥ {self.least:g}" if self.least is not None else "",
            f"ratio ≥ {self.times:g}" if self.times is not None else "",
        ]
        return ", ".join(
            filter(None, [*told, f"ratio ≤ {self.ratio:g}" if self.ratio is not None else ""])
        )

    def missed(self, ours: float, npm: float | None) -> bool:
        if self.most is not None and ours > self.most:
            return True
        if self.least is not None and ours < self.least:
            return True
        if self.times is not None and npm is not None and ours < self.times * npm:
            return True
        return self.ratio is not None and npm is not None and ours > self.ratio * npm


@define
class Figure:
    """One line of the table. A make that cannot do it has no value, and `notes` may say why."""

    name: str
    limit: Limit
    values: dict[str, float] = field(factory=dict)
    notes: dict[str, str] = field(factory=dict)

    @property
    def missed(self) -> bool:
        return OURS in self.values and self.limit.missed(self.values[OURS], self.values.get(NPM))

    def row(self) -> tuple[str, str, str, str, str, str]:
        ours, npm = self.values.get(OURS), self.values.get(NPM)
        told = [
            _text(value) if value is not None else self.notes.get(make, "-")
            for make, value in ((OURS, ours), (NPM, npm))
        ]
        ratio = f"{ours / npm:.2f}" if ours is not None and npm else ""
        return self.name, told[0], told[1], ratio, str(self.limit), "MISSED" if self.missed else ""


def _text(value: float) -> str:
    return f"{value:.0f}" if value >= 100 else f"{value:.3g}" if value >= 10 else f"{value:.3f}"


@define(eq=False)
class Bench:
    """One run. What is started is a runner of its own for each subject, so that none suffers from
    the one before."""

    cast: Cast
    user: User
    arguments: argparse.Namespace
    figures: dict[str, Figure] = field(factory=dict)
    _serial: int = 0

    def note(
        self, name: str, make: str, value: float | None, limit: Limit | None = None, why: str = ""
    ) -> None:
        """Take a figure down. None: this make cannot, `why` says it in a word."""
        figure = self.figures.setdefault(name, Figure(name, limit or Limit()))
        if value is None:
            figure.notes[make] = why
        else:
            figure.values[make] = round(value, 5)
        print(
            f"  {make:5} {name}: {why if value is None else _text(value)}",
            file=sys.stderr,
            flush=True,
        )

    # --- programs

    def home(self, make: str) -> Path:
        self._serial += 1
        return self.cast.home(make, f"home-{self._serial}")

    def launch(
        self, make: str, home: Path, user: User | None = None, **environment: str
    ) -> Running:
        """Exec a runner, and do not wait for anything."""
        self._serial += 1
        argv = (
            [NPM_BINARY, "runner", "start-sync"]
            if make == NPM
            else [*OUR_HAPI, "runner", "start-sync"]
        )
        given = {**self.cast.settings(user or self.user, home, ""), **environment}
        return Running(make, self.cast.start(f"{make}-{self._serial}", argv, given), home)

    def is_active(self, running: Running, user: User | None = None) -> bool:
        """Whether the hub shows this very process as running."""
        states = [
            machine["runnerState"] or {}
            for machine in (user or self.user).machines()
            if machine["active"]
        ]
        return any(
            state.get("pid") == running.program.pid and state.get("status") == "running"
            for state in states
        )

    def runner(self, make: str, home: Path | None = None, **environment: str) -> Running:
        """A runner that is active at the hub."""
        running = self.launch(make, home or self.home(make), **environment)
        running.program.ready(lambda: self.is_active(running), 30.0)
        return running

    def leave(self, running: Running) -> None:
        running.program.end()

    # --- sessions

    def spawn(self, running: Running) -> str:
        """A real session with the scripted agent, through the hub: its id."""
        answer = self.user.spawn(running.machine_id, self.cast.directory("project"), AGENT)
        assert answer["type"] == "success", answer
        return str(answer["sessionId"])

    def ask_to_spawn(self, control: Control, directory: Path) -> str:
        """A session through the control API: its id.

        What it is decides the runner's HAPI_CLI_EXECUTABLE.
        """
        answer = control.post("/spawn-session", {"directory": str(directory), "agent": AGENT})
        assert answer.get("success"), answer
        return str(answer["sessionId"])

    def pid_of(self, session: str) -> int:
        return int(self.user.session(session)["metadata"]["hostPid"])

    def end(self, sessions: list[str]) -> None:
        """End the session processes and wait until they are gone."""
        pids = [self.pid_of(session) for session in sessions]
        for pid in pids:
            if psutil.pid_exists(pid):
                os.kill(pid, 15)
        until(lambda: not any(psutil.pid_exists(pid) for pid in pids), 30.0, "the sessions to end")

    def puppet(self) -> str:
        """A session program that does nothing: announces itself and waits, so that many of them
        cost little."""
        path = self.cast.directory("puppet") / "hapi"
        if not path.exists():
            path.write_text(f'#!/bin/sh\nexec {sys.executable} -S -E {HERE / "puppet.py"} "$@"\n')
            path.chmod(0o755)
        return str(path)


class Control:
    """A kept connection to a runner's control port."""

    def __init__(self, running: Running, seconds: float = 60.0) -> None:
        self.port = int(running.state["httpPort"])
        self._connection = HTTPConnection("127.0.0.1", self.port, timeout=seconds)

    def post(self, path: str, body: Any = None) -> Any:
        headers = {} if body is None else {"Content-Type": "application/json"}
        self._connection.request("POST", path, None if body is None else json.dumps(body), headers)
        return json.loads(self._connection.getresponse().read())

    def children(self) -> list[dict[str, Any]]:
        return list(self.post("/list")["children"])

    def close(self) -> None:
        self._connection.close()


def timed(work: Callable[[], T]) -> tuple[float, T]:
    began = time.perf_counter()
    result = work()
    return time.perf_counter() - began, result


def cpu(pid: int) -> float:
    """Seconds of processor time that a process has had, to the nanosecond; threads that have ended
    count."""
    return time.clock_gettime(
        (~pid << 3) | 2
    )  # the clock of another process, as clock_getcpuclockid(3) makes it


def table(figures: list[Figure]) -> str:
    rows = [("", OURS, NPM, "ours/npm", "limit of ours", ""), *(figure.row() for figure in figures)]
    widths = [max(len(row[column]) for row in rows) for column in range(6)]
    lines = []
    for row in rows:
        sized = enumerate(zip(row, widths, strict=True))
        cells = [
            cell.ljust(width) if place in (0, 4, 5) else cell.rjust(width)
            for place, (cell, width) in sized
        ]
        lines.append("  ".join(cells).rstrip())
    return "\n".join(lines)


def markdown(figures: list[Figure]) -> str:
    """The same for the documentation."""
    lines = ["| | ours | npm | ours / npm | limit of ours |", "| --- | --- | --- | --- | --- |"]
    for figure in figures:
        name, ours, npm, ratio, limit, missed = figure.row()
        lines.append(
            f"| {name} | {ours} | {npm} | {ratio} | {limit}{' **missed**' if missed else ''} |"
        )
    return "\n".join(lines)
