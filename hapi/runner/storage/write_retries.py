"""What the disk refused is written again, every two seconds until the disk takes it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from attrs import define, field
from twisted.logger import Logger

from hapi.deferreds import run_in_background

RETRY_INTERVAL = 2.0  # seconds


class Writer(Protocol):
    """Keeps in memory what the disk refused."""

    @property
    def write_error(self) -> str | None:
        """Why something is not on the disk, as a sentence; None if everything is."""

    async def retry_writes(self) -> None:
        """Try once to write it. An error is kept in `write_error`, and not raised."""


@define(eq=False, repr=False)
class WriteRetries:
    """Tries again as long as one of its writers has something that is not on the disk."""

    _schedule: Callable[[float, Callable[[], object]], object]  # seconds, call
    _may_write: Callable[[], bool]  # whether the files of the home are ours
    _writers: list[Writer] = field(factory=list)
    _is_scheduled: bool = False
    log = Logger()

    def add(self, writer: Writer) -> None:
        """Retry the writes of `writer` as well."""
        self._writers.append(writer)

    @property
    def write_error(self) -> str | None:
        """Why something is not on the disk; None if everything is."""
        return next(filter(None, (writer.write_error for writer in self._writers)), None)

    def begin(self) -> None:
        """A write has failed: try it again soon."""
        if not self._is_scheduled:
            self._is_scheduled = True
            self._schedule(RETRY_INTERVAL, self._begin_retry)

    async def finish(self) -> None:
        """The runner leaves: try a last time, and log what is lost."""
        for writer in self._writers:
            if writer.write_error is not None and self._may_write():
                await writer.retry_writes()
                if writer.write_error is not None:
                    self.log.error("Lost as the runner ends: {reason}", reason=writer.write_error)

    def _begin_retry(self) -> None:
        run_in_background(self._retry(), self.log, "Writing what the disk refused failed")

    async def _retry(self) -> None:
        try:
            for writer in self._writers:
                if writer.write_error is not None and self._may_write():
                    await writer.retry_writes()
        finally:
            self._is_scheduled = False
            if self.write_error is not None:
                self.begin()
