"""`events.jsonl`, the journal: what happened to sessions and runner, why, and who asked for it.

It is appended to, one JSON object a line, for people and audits. The attempt folders are the truth.
The journal decides whether an end has been recorded, and stands in for the files of a folder that a
full disk refused and whose runner was killed before it could write them again.
"""

from __future__ import annotations

import errno
import os
import re
import time
from collections import deque
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol

import msgspec
from attrs import asdict, define, field, frozen
from twisted.logger import Logger

from hapi.home import PRIVATE_FILE_MODE, Home
from hapi.protocol.attempt import (
    AttemptEnd,
    AttemptSession,
    ExitCode,
    Pid,
    Seconds,
    StopOrder,
)
from hapi.redaction import Secrets

# A larger journal becomes events.jsonl.1, in place of the one before.
MAX_JOURNAL_BYTES = 4 << 20
MAX_FACT_CHARACTERS = 2000
MAX_UNWRITTEN_LINES = 1000  # lines that are kept in memory while the disk refuses them
READ_BACK = 256 << 10  # bytes of the last lines that are looked at for ends


@frozen
class AttemptIds:
    """The names under which an event of an attempt is recorded."""

    attempt: str
    session: str | None = None
    pid: int | None = None


class RecordEvent(Protocol):
    """Writes one event into the journal.

    `event` is a word like `spawn-refused`, `ids` name the attempt that it concerns. Facts that
    are None are left out.
    """

    def __call__(self, event: str, ids: AttemptIds | None = None, **facts: Any) -> object: ...


def discard_event(event: str, ids: AttemptIds | None = None, **facts: Any) -> None:
    """Record nothing: the `RecordEvent` of a part that has no journal."""


@frozen
class JournalFacts:
    """What the last lines of the journal say about attempts, by their names."""

    since: float  # epoch seconds; earlier events are in lines that were not read
    ended: Mapping[str, AttemptEnd] = field(factory=dict)
    stopped: Mapping[str, StopOrder] = field(factory=dict)  # the first order for each
    announced: Mapping[str, AttemptSession] = field(factory=dict)  # under its last name

    def has_end_of(self, attempt: str, ended_at: float) -> bool:
        return ended_at < self.since or attempt in self.ended


def read_journal(home: Home) -> JournalFacts:
    """Read the end of the journal.

    A runner that was killed between an end and its line leaves the line to the next runner.
    """
    lines = [
        *_last_lines(home.events.with_name(f"{home.events.name}.1")),
        *_last_lines(home.events),
    ]
    ended: dict[str, AttemptEnd] = {}
    stopped: dict[str, StopOrder] = {}
    announced: dict[str, AttemptSession] = {}
    since = float("inf")
    for line in lines:
        if since == float("inf") or _OF_ATTEMPTS.search(line):
            try:
                line_read = _LINE.decode(line)
            except (msgspec.DecodeError, ValueError):
                continue
            since = min(since, line_read.time)
            if line_read.event == "ended":
                ended[line_read.attempt] = AttemptEnd(
                    line_read.exit_code, line_read.signal, line_read.time
                )
            elif line_read.event == "stop-asked":
                stopped.setdefault(
                    line_read.attempt,
                    StopOrder(line_read.reason, line_read.actor, "journal", line_read.time),
                )
            elif line_read.event == "announced" and line_read.session is not None:
                announced[line_read.attempt] = AttemptSession(
                    line_read.session, host_pid=line_read.pid, at=line_read.time
                )
    return JournalFacts(since, ended, stopped, announced)


class _Line(msgspec.Struct, frozen=True, rename="camel"):
    """The fields of a line that are read back."""

    time: Seconds
    event: str
    attempt: str = ""
    session: str | None = None
    pid: Pid | None = None
    reason: str = ""
    actor: str = ""
    exit_code: ExitCode | None = None
    signal: str | None = None


_LINE = msgspec.json.Decoder(_Line)
_OF_ATTEMPTS = re.compile(rb'"event":"(ended|stop-asked|announced)"')


def _last_lines(path: Path) -> list[bytes]:
    """The last complete lines of a file, none when it cannot be read."""
    try:
        with open(
            os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK), "rb"
        ) as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(size - READ_BACK, 0))
            lines = file.read(READ_BACK).splitlines()
    except OSError:
        return []
    return lines[1:] if size > READ_BACK else lines


@define
class Journal:
    _home: Home
    _secrets: Secrets = field(factory=Secrets)
    _now: Callable[[], float] = time.time
    _max_bytes: int = MAX_JOURNAL_BYTES
    _on_write_error: Callable[[], object] = lambda: None
    write_error: str | None = None  # why the last lines are not written
    _unwritten: deque[bytes] = field(factory=lambda: deque(maxlen=MAX_UNWRITTEN_LINES))
    _dropped: int = 0  # lines that were too many to be kept
    log = Logger()

    def record(self, event: str, ids: AttemptIds | None = None, **facts: Any) -> None:
        """Append a line. A write error is logged once and stops nothing: the line is written
        later, before all that follow."""
        line: dict[str, Any] = {"time": round(self._now(), 3), "event": event}
        if ids is not None:
            line |= asdict(ids)
        line |= facts
        known = {
            key: value[:MAX_FACT_CHARACTERS] if isinstance(value, str) else value
            for key, value in line.items()
            if value is not None
        }
        self._dropped += len(self._unwritten) == self._unwritten.maxlen
        self._unwritten.append(
            self._secrets.redact(msgspec.json.encode(known).decode()).encode() + b"\n"
        )
        self._write_out()

    async def retry_writes(self) -> None:
        """Append the lines that the disk refused."""
        self._write_out()

    def _write_out(self) -> None:
        try:
            while self._unwritten:
                if self._dropped:
                    self._append(self._gap())
                    self._dropped = 0
                self._append(self._unwritten[0])
                self._unwritten.popleft()
        except OSError as error:
            write_error = f"{self._home.events} was not written: {error.strerror or error}"
            if write_error != self.write_error:
                self.log.error("{write_error}", write_error=write_error)
            self.write_error = write_error
            self._on_write_error()
        else:
            self.write_error = None

    def _gap(self) -> bytes:
        """The line for those that were dropped."""
        gap = {"time": round(self._now(), 3), "event": "journal-gap", "lines": self._dropped}
        return msgspec.json.encode(gap) + b"\n"

    def _append(self, line: bytes) -> None:
        path = self._home.events
        flags = (
            os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
        )
        if (seen := self._size()) and seen + len(line) > self._max_bytes:
            os.replace(path, path.with_name(f"{path.name}.1"))
            seen = 0
        descriptor = os.open(path, flags, PRIVATE_FILE_MODE)
        try:
            if os.write(descriptor, line) < len(
                line
            ):  # a full disk takes a part; the next line begins where this one did
                os.ftruncate(descriptor, seen)
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        finally:
            os.close(descriptor)

    def _size(self) -> int:
        try:
            return os.lstat(self._home.events).st_size
        except FileNotFoundError:
            return 0
