"""Running `git`: with a deadline, without questions, and never on the names of another repository's environment."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from attrs import define, frozen
from twisted.internet.defer import Deferred, TimeoutError
from twisted.internet.error import ProcessExitedAlready
from twisted.internet.protocol import ProcessProtocol
from twisted.internet.task import deferLater
from twisted.python.failure import Failure

PAUSE = 1.0  # seconds
OUTPUT_LIMIT = 64 * 1024  # bytes kept of each stream


@frozen
class Ran:
    """How a git command ended; `code` is None when it was ended for taking too long."""

    code: int | None
    out: str
    error: str


class _Collector(ProcessProtocol):
    def __init__(self) -> None:
        self.done: Deferred[int | None] = Deferred(lambda _: self.kill())
        self.out, self.error = bytearray(), bytearray()

    def outReceived(self, data: bytes) -> None:
        self.out += data[: OUTPUT_LIMIT - len(self.out)]

    def errReceived(self, data: bytes) -> None:
        self.error += data[: OUTPUT_LIMIT - len(self.error)]

    def processEnded(self, reason: Failure) -> None:
        if not self.done.called:
            self.done.callback(getattr(reason.value, "exitCode", None))

    def kill(self) -> None:
        with suppress(ProcessExitedAlready):
            if self.transport is not None:
                self.transport.signalProcess("KILL")


@define
class Git:
    _reactor: Any  # IReactorProcess and IReactorTime
    _environ: Mapping[str, str]
    patience: float = 10.0  # seconds for one command; the hub waits 30 for the whole spawn

    async def pause(self) -> None:
        """Leave another git its time."""
        await deferLater(self._reactor, PAUSE)

    async def run(self, directory: str, *arguments: str) -> Ran:
        """`git -C directory …`. Never raises: a missing git is a Ran with code 127."""
        program = shutil.which("git", path=self._environ.get("PATH"))
        if program is None:
            return Ran(127, "", "git is not installed or is not on PATH")
        environment = {
            name: value for name, value in self._environ.items() if not name.startswith("GIT_")
        }
        environment |= {"GIT_TERMINAL_PROMPT": "0", "LC_ALL": "C", "GIT_OPTIONAL_LOCKS": "0"}
        collector = _Collector()
        argv = ["git", "-C", directory, *arguments]
        try:
            with open(os.devnull, "rb") as nothing:
                self._reactor.spawnProcess(
                    collector,
                    program,
                    argv,
                    environment,
                    childFDs={0: nothing.fileno(), 1: "r", 2: "r"},
                )
        except OSError as error:
            return Ran(127, "", f"git could not be started: {error.strerror}")
        try:
            code = await collector.done.addTimeout(self.patience, self._reactor)
        except TimeoutError:
            return Ran(None, "", f"git gave no answer within {self.patience:.0f} s")
        return Ran(
            code, collector.out.decode(errors="replace"), collector.error.decode(errors="replace")
        )
