"""The spool: events of a session that its hub has not confirmed, kept on the disk.

Each session process has at most one file below `$HAPI_HOME/spool`. It holds an flock on that file,
which the kernel releases when the process ends, however it ends. Whoever gets the lock then, the
next process of the session or the runner, delivers the events and removes the file.

A line is the CRC-32 of a JSON text (8 hexadecimal digits), a space, and that text. The first line
is the header (`SpoolHeader`), each other one is an event as on the wire: `["message",{…}]`.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
import zlib
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import msgspec
from attrs import define, frozen
from twisted.logger import Logger

from hapi.home import PRIVATE_FILE_MODE, Home
from hapi.protocol.events import MESSAGE, MESSAGES_CONSUMED
from hapi.protocol.json import Malformed, from_json

MAX_SIZE = 64 * 1024 * 1024  # bytes of one file
COMPACTION_SIZE = 4 * 1024 * 1024  # bytes of confirmed events from which on a file is rewritten
# The events that whoever comes after a session process delivers for it. Its end is reported by the
# runner, and it is not ready any more.
DELIVERED_BY_OTHERS = (MESSAGE, MESSAGES_CONSUMED)
_NAMEABLE = re.compile(r"[0-9A-Za-z-]{1,64}")
_SUFFIX = ".jsonl"
log = Logger()


class SpoolFull(OSError):
    """The file has reached `MAX_SIZE`."""


class SpoolHeader(msgspec.Struct, frozen=True, rename="camel"):
    """Whose events a file holds. `after_seq`: the session's messages up to this sequence number
    were at the hub before the first event of the file, so only later ones are compared with it."""

    session_id: str
    pid: int  # of the session process, as in `hostPid` of the session's metadata
    hub: str  # the URL at which the session was registered
    after_seq: int = 0


def encode_line(text: str) -> bytes:
    """One line of a spool file."""
    content = text.encode("utf-8", "surrogatepass")
    return b"%08x %b\n" % (zlib.crc32(content), content)


def decode_line(line: bytes) -> str | None:
    """The JSON text of a line without its newline; None if the line is torn or damaged."""
    if len(line) < 10 or line[8:9] != b" ":
        return None
    content = line[9:]
    try:
        if int(line[:8], 16) != zlib.crc32(content):
            return None
        return content.decode("utf-8", "surrogatepass")
    except ValueError:
        return None


def file_prefix(session_id: str) -> str:
    """What the names of this session's files begin with; ids that are no file name are hashed."""
    if _NAMEABLE.fullmatch(session_id):
        return f"{session_id}."
    return f"{hashlib.sha256(session_id.encode('utf-8', 'replace')).hexdigest()[:40]}."


@define(eq=False, repr=False)
class SpoolFile:
    """The file that one session process writes; it exists while there are events in it.

    Positions count the bytes ever written and never restart, whatever is removed at the front.
    """

    _home: Home
    _session_id: str
    _header: Callable[[], SpoolHeader]
    max_size: int = MAX_SIZE
    position: int = 0  # behind the last event
    _confirmed: int = 0
    _path: Path | None = None
    _descriptor: int = -1
    _header_size: int = 0
    _start: int = 0  # position of the first byte behind the header
    is_dirty: bool = False  # written and not synced
    log = Logger()

    @property
    def path(self) -> Path | None:
        """Where the file is, None while there is none."""
        return self._path

    def append(self, text: str) -> int:
        """Write one event, unsynced; the position behind it. Raises OSError (SpoolFull)."""
        line = encode_line(text)
        if self._path is None:
            self._create()
        if self._size() + len(line) > self.max_size:
            self._compact()
            if self._size() + len(line) > self.max_size:
                raise SpoolFull(f"the spool of this session has reached {self.max_size} bytes")
        try:
            _write_all(self._descriptor, line)
        except OSError:  # nothing of a line that did not fit stays
            os.ftruncate(self._descriptor, self._size())
            raise
        self.position += len(line)
        self.is_dirty = True
        return self.position

    def begin_sync(self) -> Callable[[], None]:
        """A function, for any thread, that syncs what was written so far. It raises OSError."""
        self.is_dirty = False
        if self._descriptor < 0:
            return lambda: None
        duplicate = os.dup(self._descriptor)  # ours may be closed or replaced meanwhile

        def sync() -> None:
            try:
                os.fsync(duplicate)
            finally:
                os.close(duplicate)

        return sync

    def confirm(self, position: int) -> None:
        """The events before `position` need not be kept. Without others the file is removed."""
        self._confirmed = max(self._confirmed, position)
        if self._path is None:
            return
        if self._confirmed >= self.position:
            self._remove()
        elif (
            self._confirmed - self._start >= COMPACTION_SIZE
            and self._confirmed - self._start >= self.position - self._confirmed
        ):
            try:
                self._compact()
            except OSError as error:
                self.log.warn(
                    "{path} keeps confirmed events: {reason}",
                    path=str(self._path),
                    reason=error.strerror or str(error),
                )

    def close(self) -> None:
        """Release the file; events in it are left to whoever delivers them."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def _size(self) -> int:
        return self._header_size + self.position - self._start

    def _create(self) -> None:
        directory = self._home.directory("spool")
        path = directory / f"{file_prefix(self._session_id)}{os.urandom(6).hex()}{_SUFFIX}"
        self._descriptor, self._header_size = self._replace(path, b"")
        self._path, self._start = path, self.position

    def _replace(self, path: Path, rest: bytes) -> tuple[int, int]:
        """A new file at `path` with the header and `rest`: its descriptor, the header's size.

        It is locked before it gets its name, so nobody else can claim it in between.
        """
        header = encode_line(msgspec.json.encode(self._header()).decode())
        sibling = path.with_name(f".{path.name}.{os.getpid()}")
        flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        descriptor = os.open(sibling, flags, PRIVATE_FILE_MODE)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            _write_all(descriptor, header + rest)
            if rest:
                os.fsync(descriptor)
            sibling.rename(path)
        except OSError:
            os.close(descriptor)
            sibling.unlink(missing_ok=True)
            raise
        return descriptor, len(header)

    def _compact(self) -> None:
        """Rewrite the file without the confirmed events. Raises OSError."""
        kept_from = max(self._confirmed, self._start)
        if self._path is None or kept_from == self._start:
            return
        rest = os.pread(
            self._descriptor,
            self.position - kept_from,
            self._header_size + kept_from - self._start,
        )
        descriptor, header_size = self._replace(self._path, rest)
        os.close(self._descriptor)
        self._descriptor, self._header_size, self._start = descriptor, header_size, kept_from

    def _remove(self) -> None:
        assert self._path is not None
        try:
            self._path.unlink(missing_ok=True)
        except OSError as error:
            os.ftruncate(self._descriptor, 0)  # nobody delivers a file without header
            self.log.warn(
                "{path} stays: {reason}",
                path=str(self._path),
                reason=error.strerror or str(error),
            )
        self.close()
        self._path, self.is_dirty = None, False


@frozen
class SpooledEvent:
    """An event that was read from a spool file."""

    event: str
    args: tuple[Any, ...]
    text: str  # the JSON of both


@define(eq=False, repr=False)
class ClaimedSpool:
    """The spool file of a process that has ended. It is ours until it is removed or released."""

    path: Path
    header: SpoolHeader
    events: list[SpooledEvent]
    damaged_lines: int  # lines that were torn or damaged, and are left out
    modified_at: float  # epoch seconds of the last write
    _descriptor: int

    def remove(self) -> None:
        """Everything was delivered, or nobody will take it."""
        try:
            self.path.unlink(missing_ok=True)
        except OSError as error:
            log.warn("{path} stays: {reason}", path=str(self.path), reason=str(error))
        self.release()

    def release(self) -> None:
        """Leave the file to whoever claims it next."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


def spooled_sessions(home: Home) -> list[Path]:
    """The spool files of a home, the oldest first, whoever has them."""
    found = []
    try:
        with os.scandir(home.spool) as entries:
            for entry in entries:
                if entry.name.endswith(_SUFFIX) and not entry.name.startswith("."):
                    with suppress(OSError):  # its process has delivered and removed it meanwhile
                        modified_at = entry.stat(follow_symlinks=False).st_mtime
                        found.append((modified_at, Path(entry.path)))
    except OSError:
        return []
    return [path for _, path in sorted(found)]


def claim_spools(home: Home, session_id: str | None = None) -> Iterator[ClaimedSpool]:
    """Claim the files whose processes have ended, one after the other; those of `session_id`, or
    all. A file that somebody else has is left out."""
    for path in spooled_sessions(home):
        if session_id is None or path.name.startswith(file_prefix(session_id)):
            try:
                claimed = _claim(path)
            except OSError as error:
                log.warn("{path} cannot be read: {reason}", path=str(path), reason=str(error))
                continue
            if claimed is not None and session_id in (None, claimed.header.session_id):
                yield claimed
            elif claimed is not None:
                claimed.release()


def _claim(path: Path) -> ClaimedSpool | None:
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    except FileNotFoundError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        facts = os.fstat(descriptor)
        if facts.st_ino != path.stat().st_ino:  # rewritten or removed while we waited
            raise BlockingIOError
        with os.fdopen(os.dup(descriptor), "rb") as file:
            content = file.read(2 * MAX_SIZE)
    except (BlockingIOError, FileNotFoundError):
        os.close(descriptor)
        return None
    except OSError:
        os.close(descriptor)
        raise
    header, events, damaged = read_spool(content)
    claimed = ClaimedSpool(
        path,
        header or SpoolHeader("", 0, ""),
        events,
        damaged,
        facts.st_mtime,
        descriptor,
    )
    if header is None:
        log.warn("{path} has no readable header and is removed", path=str(path))
        claimed.remove()
        return None
    return claimed


def read_spool(content: bytes) -> tuple[SpoolHeader | None, list[SpooledEvent], int]:
    """Header, events and the number of torn or damaged lines of a file's content."""
    first, *lines = content.split(b"\n")
    if lines and not lines[-1]:
        lines.pop()  # what follows the last newline
        torn = 0
    else:
        lines, torn = lines[:-1], 1 if lines else 0
    try:
        header = msgspec.json.decode(decode_line(first) or "", type=SpoolHeader)
    except msgspec.DecodeError:
        return None, [], 0
    events, damaged = [], torn
    for line in lines:
        event = _read_event(decode_line(line))
        if event is None:
            damaged += 1
        else:
            events.append(event)
    return header, events, damaged


def _read_event(text: str | None) -> SpooledEvent | None:
    if text is None:
        return None
    try:
        found = from_json(text)
    except Malformed:
        return None
    if not isinstance(found, list) or not found or not isinstance(found[0], str):
        return None
    return SpooledEvent(found[0], tuple(found[1:]), text)


def _write_all(descriptor: int, content: bytes) -> None:
    rest = memoryview(content)
    while rest:
        rest = rest[os.write(descriptor, rest) :]
