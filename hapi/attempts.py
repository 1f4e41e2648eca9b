"""One folder for each session attempt below `$HAPI_HOME/sessions`: the record of all sessions."""

from __future__ import annotations

import os
import re
import shutil
import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, Generic, TypeVar, overload

import msgspec
from attrs import define, field, frozen, setters
from twisted.logger import Logger

from hapi.home import (
    PRIVATE_DIRECTORY_MODE,
    Home,
    read_capped,
    remove_partial_writes,
    sync_directory,
    write_atomically,
)
from hapi.protocol.attempt import (
    AttemptEnd,
    AttemptEndReported,
    AttemptHubAccess,
    AttemptProcess,
    AttemptReport,
    AttemptRequest,
    AttemptSession,
    StopOrder,
)

# Names the attempt in the environment of a session and of everything it starts.
ATTEMPT_VARIABLE = "HAPI_ATTEMPT"
_ID = re.compile(r"[0-9A-Za-z][0-9A-Za-z._-]{0,99}")
REPORT, HUB = "report.json", "hub.json"
REST = "rest"  # the runner asks the session to let its idle agent rest
_UNFINISHED = ".new-"  # folders begin so until their request is on the disk

T = TypeVar("T", bound=msgspec.Struct)
log = Logger()


class _Record(Generic[T]):
    """One file of the folder as an attribute; None if it is missing or malformed.

    A value that is `kept` and could not be written is read from memory until `retry_writes` has
    written it. A file that `stands` takes precedence over the value in memory: another process that
    knows better has written it meanwhile.
    """

    def __init__(
        self,
        name: str,
        kind: type[T],
        durable: bool = True,
        kept: bool = False,
        stands: bool = False,
    ) -> None:
        self._name, self._decoder, self._durable = name, msgspec.json.Decoder(kind), durable
        self._kept, self._stands = kept, stands

    @overload
    def __get__(self, folder: None, owner: type) -> _Record[T]: ...

    @overload
    def __get__(self, folder: AttemptFolder, owner: type) -> T | None: ...

    def __get__(self, folder: AttemptFolder | None, owner: type) -> _Record[T] | T | None:
        if folder is None:
            return self
        unsaved = folder.unsaved.get(self._name)
        if unsaved is None:
            return self._read(folder)
        return self._read(folder) or unsaved.value if self._stands else unsaved.value

    def _read(self, folder: AttemptFolder) -> T | None:
        path = folder.path / self._name
        try:
            content = read_capped(path)
            return None if content is None else self._decoder.decode(content)
        except NotADirectoryError:
            return None
        except (OSError, ValueError, RecursionError) as error:
            log.warn(
                "{path} is not readable and counts as missing: {reason}",
                path=str(path),
                reason=str(error),
            )
            return None

    def __set__(self, folder: AttemptFolder, value: T) -> None:
        try:
            write_atomically(
                folder.path / self._name,
                msgspec.json.format(msgspec.json.encode(value)) + b"\n",
                durable=self._durable,
            )
        except OSError as error:
            if self._kept:
                folder.unsaved[self._name] = _Unsaved(
                    value, error.strerror or str(error), partial(self.retry_writes, folder, value)
                )
            raise
        folder.unsaved.pop(self._name, None)

    def retry_writes(self, folder: AttemptFolder, value: T) -> None:
        if self._stands and self._read(folder) is not None:
            folder.unsaved.pop(self._name, None)
        else:
            self.__set__(folder, value)


@frozen
class _Unsaved:
    """A value that is in no file yet, and why."""

    value: Any
    reason: str
    save: Callable[[], None]


@define(unsafe_hash=True)
class AttemptFolder:
    """The folder at `path`. Setting one of the records writes its file (raises OSError).

    Session id, stop order and end are known to this object even if the disk refuses them;
    `retry_writes` writes them later.
    """

    path: Path = field(on_setattr=setters.frozen)
    unsaved: dict[str, _Unsaved] = field(init=False, factory=dict, eq=False, repr=False)

    request = _Record("request.json", AttemptRequest)
    process = _Record("process.json", AttemptProcess, kept=True)
    session = _Record("session.json", AttemptSession, kept=True)
    report = _Record(REPORT, AttemptReport, durable=False)
    stop = _Record("stop.json", StopOrder, kept=True)
    end = _Record("end.json", AttemptEnd, kept=True, stands=True)
    hub = _Record(HUB, AttemptHubAccess, durable=False)
    end_reported = _Record("told.json", AttemptEndReported, durable=False)

    @classmethod
    def create(cls, home: Home, request: AttemptRequest) -> AttemptFolder:
        """A new folder that holds `request`; it appears with it or not at all. Raises OSError."""
        parent = home.directory("sessions")
        while True:
            folder = cls(parent / new_id())
            unfinished = parent / f"{_UNFINISHED}{folder.id}"
            unfinished.mkdir(mode=PRIVATE_DIRECTORY_MODE)
            try:
                cls(unfinished).request = request
                if folder.path.exists():
                    continue
                unfinished.rename(folder.path)
            finally:
                if unfinished.exists():
                    shutil.rmtree(unfinished, ignore_errors=True)
            sync_directory(parent)
            return folder

    @classmethod
    def of_this_process(
        cls, home: Home, environ: Mapping[str, str] = os.environ
    ) -> AttemptFolder | None:
        """The folder of this session process's attempt, None if no runner started it."""
        return cls.find(home, environ.get(ATTEMPT_VARIABLE, ""))

    @classmethod
    def find(cls, home: Home, attempt: str) -> AttemptFolder | None:
        """The folder called `attempt`, None if there is none."""
        if _ID.fullmatch(attempt) is None:
            return None
        folder = cls(home.attempts / attempt)
        return folder if folder.path.is_dir() else None

    @property
    def id(self) -> str:
        return self.path.name

    @property
    def home(self) -> Home:
        return Home(self.path.parents[1])

    @property
    def output(self) -> Path:
        """Standard output and error of the session."""
        return self.path / "output.log"

    def request_rest(self) -> None:
        """Ask the session to let its agent rest if it is idle. Raises OSError."""
        write_atomically(self.path / REST, b"", durable=False)

    def take_rest_request(self) -> bool:
        """Whether the runner has asked since the last call."""
        try:
            (self.path / REST).unlink()
        except OSError:
            return False
        return True

    @property
    def report_path(self) -> Path:
        """Its time is that of the last sign of life; what stands in it is `report`."""
        return self.path / REPORT

    @property
    def hub_path(self) -> Path:
        """The file of `hub`, which holds an access token."""
        return self.path / HUB

    def remove_hub(self) -> None:
        """Remove `hub`. Raises OSError."""
        self.hub_path.unlink(missing_ok=True)

    @property
    def earlier_output(self) -> Path:
        """What was moved out of `output` when that had grown too large."""
        return self.path / "output.log.1"

    @property
    def write_error(self) -> str | None:
        """Why a record is not on the disk; None if all are."""
        name, unsaved = next(iter(self.unsaved.items()), ("", None))
        return None if unsaved is None else f"{self.path / name} was not written: {unsaved.reason}"

    def retry_writes(self) -> None:
        """Write the values that could not be written. Raises OSError for the first that fails.

        For a folder that was removed there is nothing to do.
        """
        if not self.path.is_dir():
            self.unsaved.clear()
        for unsaved in list(self.unsaved.values()):
            unsaved.save()

    def tail(self, size: int = 4096) -> str:
        """The last `size` bytes of the output as text, "" if there are none."""
        last = _last_bytes(self.output, size)
        if len(last) < size:
            last = _last_bytes(self.earlier_output, size - len(last)) + last
        return last.decode(errors="replace")

    def remove(self) -> None:
        """Take the folder away. What cannot be removed stays and is logged."""

        def stays(_call: object, path: str, reason: Any) -> None:
            if isinstance(reason[1], FileNotFoundError):  # another process was faster
                return
            log.warn("{path} stays: {reason}", path=path, reason=str(reason[1]))

        shutil.rmtree(self.path, onerror=stays)


def new_id(now: float | None = None) -> str:
    """A name for an attempt that sorts by time: `20261120-140612-345-9f3ac2d1` (UTC)."""
    now = time.time() if now is None else now
    second = time.strftime("%Y%m%d-%H%M%S", time.gmtime(now))
    return f"{second}-{int(now * 1000) % 1000:03}-{os.urandom(4).hex()}"


def attempts(home: Home) -> list[AttemptFolder]:
    """All attempts, the oldest first, without unfinished folders and foreign files."""
    try:
        with os.scandir(home.attempts) as entries:
            names = [
                entry.name
                for entry in entries
                if _ID.fullmatch(entry.name) and entry.is_dir(follow_symlinks=False)
            ]
    except OSError:
        return []
    return [AttemptFolder(home.attempts / name) for name in sorted(names)]


def remove_partial_attempts(home: Home) -> None:
    """Remove the unfinished files of runners that were killed. Needs the home's lock."""
    try:
        with os.scandir(home.attempts) as entries:
            unfinished = [entry.path for entry in entries if entry.name.startswith(_UNFINISHED)]
    except OSError:
        unfinished = []
    for path in unfinished:
        shutil.rmtree(path, ignore_errors=True)
    remove_partial_writes(home.runner_state, home.refusals)


def _last_bytes(path: Path, size: int) -> bytes:
    try:
        with open(
            os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK), "rb"
        ) as file:
            file.seek(max(file.seek(0, os.SEEK_END) - size, 0))
            return file.read(size)
    except OSError:
        return b""
