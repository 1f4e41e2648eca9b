"""Real processes for tests: started with a clean environment, waited for by looking, ended with
everything below them."""

from __future__ import annotations

import contextlib
import os
import secrets
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TypeVar

import psutil
from attrs import define, field

from tests.support.paths import ROOT

T = TypeVar("T")
# access token for tests: the suite fails when it shows up where it must not
CANARY = f"canary{secrets.token_hex(16)}"
# in the environment of all that a stage starts: what detached itself is found by it
MARK = "HAPI_TEST_STAGE"


def until(check: Callable[[], T | bool | None], seconds: float = 180.0, what: str = "") -> T:
    """Call `check` until it returns something true, and return that. Raises TimeoutError.

    `seconds` is generous: it bounds a failure, and no test that passes waits for it.
    """
    deadline = time.monotonic() + seconds
    while True:
        seen = check()
        if seen:
            return seen  # type: ignore[return-value]
        if time.monotonic() > deadline:
            raise TimeoutError(
                f"{what or check} did not come within {seconds:.0f} s (last result: {seen!r})"
            )
        time.sleep(0.05)  # between two checks


def level(each_change: int, release: int) -> int:
    """How often a test tries: with HAPI_FAULTS=release the second number, with HAPI_FAULTS=0.1 a
    tenth of it, else the first."""
    share = os.environ.get("HAPI_FAULTS", "")
    return (
        each_change
        if not share
        else release
        if share == "release"
        else max(each_change, round(release * float(share)))
    )


def free_port() -> int:
    """A port of the loopback address that nobody had a moment ago; for programs that cannot take
    port 0."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def alive(pid: int) -> bool:
    """Whether a process of that pid runs; one that ended and waits for its parent does not."""
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def marked(mark: str) -> list[psutil.Process]:
    """Every running process whose environment holds our mark."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, OSError):
            if process.environ().get(MARK) == mark and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
    return found


@define(eq=False)
class Program:
    """One started program: its process, its output file."""

    name: str
    argv: list[str]
    process: subprocess.Popen[bytes]
    output_path: Path

    @property
    def pid(self) -> int:
        return self.process.pid

    @property
    def output(self) -> str:
        return self.output_path.read_text(errors="replace")

    @property
    def running(self) -> bool:
        return self.process.poll() is None

    def end(self, how: signal.Signals = signal.SIGTERM, seconds: float = 10.0) -> int:
        """Signal this process alone and wait for its exit: the code, negative for a signal."""
        if self.running:
            self.process.send_signal(how)
        return self.exit_code(seconds)

    def exit_code(self, seconds: float = 10.0) -> int:
        return self.process.wait(seconds)

    def ready(
        self, check: Callable[[], T | bool | None], seconds: float = 180.0, what: str = ""
    ) -> T:
        """Like `until`, but an early exit of the program ends the wait and shows its output."""

        def checked() -> T | bool | None:
            seen = check()
            if not seen and not self.running:
                raise AssertionError(
                    f"{self.name} ended with {self.process.returncode}:\n{self.output}"
                )
            return seen

        try:
            return until(checked, seconds, what or f"{self.name} to be ready")
        except TimeoutError as late:
            raise TimeoutError(f"{late}\n{self.name} said:\n{self.output[-4000:]}") from None


@define(eq=False)
class Stage:
    """Where programs of one test run. Ending it ends them all, detached descendants included."""

    path: Path  # empty directory, ours
    mark: str = field(factory=lambda: secrets.token_hex(8))
    programs: list[Program] = field(factory=list)
    base: dict[str, str] = field(factory=dict)  # environment of every program started here

    def __attrs_post_init__(self) -> None:
        user = self.directory("user")
        self.base = {
            "HOME": str(user),
            "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]),
            "LANG": "C.UTF-8",
            "TZ": "UTC",
            "TMPDIR": str(self.directory("tmp")),
            "PYTHONPATH": str(ROOT),
            MARK: self.mark,
            **self.base,
        }

    def directory(self, name: str) -> Path:
        path = self.path / name
        path.mkdir(parents=True, exist_ok=True)
        return path

    def start(
        self,
        name: str,
        argv: list[str],
        environment: Mapping[str, str] | None = None,
        cwd: Path | None = None,
        output: str = ".log",
        stdin: int = subprocess.DEVNULL,
    ) -> Program:
        """Start `argv` with the stage's environment and `environment`; both output streams go to
        one file."""
        path = self.path / f"{name}{output}"
        with path.open("ab") as file:
            process = subprocess.Popen(
                argv,
                env={**self.base, **(environment or {})},
                cwd=cwd or self.path,
                stdin=stdin,
                stdout=file,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        program = Program(name, argv, process, path)
        self.programs.append(program)
        return program

    def command_lines(self) -> list[str]:
        """What any user of this machine may read of the programs running here."""
        found = []
        for process in marked(self.mark):
            with contextlib.suppress(psutil.Error):
                found.append(" ".join(process.cmdline()))
        return found

    def end(self) -> None:
        """End every program and whatever descends from it."""
        for how, seconds in ((signal.SIGTERM, 3.0), (signal.SIGKILL, 5.0)):
            left = marked(self.mark)
            for process in left:
                with contextlib.suppress(psutil.Error):
                    process.send_signal(how)
            for program in self.programs:
                program.process.poll()
            with contextlib.suppress(TimeoutError):
                until(self._all_gone, seconds)
        for program in self.programs:
            program.process.wait(1)

    def _all_gone(self) -> bool:
        for program in self.programs:
            program.process.poll()
        return not marked(self.mark)

    def tell(self) -> Iterator[tuple[str, str]]:
        """Name and last output of each program, for the report of a failed test."""
        for program in self.programs:
            state = "running" if program.running else f"ended with {program.process.returncode}"
            yield f"{program.name} ({state})", program.output[-6000:]
