"""Logs: JSON lines in files below HAPI_HOME/logs, text on terminals; never a secret."""

from __future__ import annotations

import json
import os
import re
import sys
import time
from collections.abc import Iterable, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TextIO

from attrs import define
from twisted.logger import (
    ILogObserver,
    LogEvent,
    LogLevel,
    formatEvent,
    globalLogBeginner,
    globalLogPublisher,
)
from zope.interface import implementer, provider

from hapi.home import PRIVATE_FILE_MODE, Home
from hapi.redaction import CONTROL, Secrets, escape_control
from hapi.request_id import current_request_id

LINE_LIMIT, FAILURE_LIMIT = 8_192, 32_768  # characters
FILE_LIMIT, GENERATIONS = 10 << 20, 3  # bytes of one file; older ones are kept as .1 .2 .3
MAX_FILES = 40  # of all programs together; the oldest are removed first

_LEGACY = frozenset(
    [
        "isError",
        "why",
        "failure",
        "message",
        "system",
        "time",
        "format",
        "printed",
        "logLevel",
        "logger",
    ]
)
_VERBOSE_NAMESPACES = ("log_legacy", "twisted.")  # ports opening, factories starting
TEXT, JSON_LINES = FORMATS = ("text", "json")  # of what programs log to standard error
LEVELS = {
    "debug": LogLevel.debug,
    "info": LogLevel.info,
    "warn": LogLevel.warn,
    "error": LogLevel.error,
}


def json_line(event: LogEvent, secrets: Secrets) -> str:
    """The event as one line of JSON.

    Fields: `time` (RFC 3339, UTC), `level`, `system`, `message`, those of the event, `failure`;
    `request_id` of an event that an HTTP request caused.
    """
    failure = event.get("log_failure") or event.get("failure")
    line: dict[str, Any] = {
        "time": datetime.fromtimestamp(event.get("log_time", 0.0), UTC)
        .isoformat(timespec="milliseconds")
        .replace("+00:00", "Z"),
        "level": _level_name(event),
        "system": str(event.get("log_namespace") or event.get("log_system") or "-"),
        "message": _shortened(formatEvent(event), LINE_LIMIT),
    }
    for name, value in event.items():
        if not name.startswith("log_") and name not in _LEGACY and name not in line:
            line[name] = (
                value
                if isinstance(value, bool | int | float | None)
                else _shortened(_text_of(value), LINE_LIMIT)
            )
    if failure is not None:
        line["failure"] = _shortened(_traceback(failure), FAILURE_LIMIT)
    if (request_id := current_request_id()) is not None:
        line.setdefault("request_id", request_id)
    hidden = {
        name: secrets.redact(value) if isinstance(value, str) else value
        for name, value in line.items()
    }
    written = json.dumps(hidden, ensure_ascii=False, allow_nan=True)
    return CONTROL.sub(lambda found: f"\\u{ord(found[0]):04x}", written) + "\n"


def text_line(event: LogEvent, secrets: Secrets) -> str:
    """The event as one line for a person: local time, level unless info, message, failure."""
    clock = time.strftime("%H:%M:%S", time.localtime(event.get("log_time", 0.0)))
    level = _level_name(event)
    failure = event.get("log_failure") or event.get("failure")
    message = formatEvent(event)
    if failure is not None:
        kind = getattr(failure.type, "__name__", failure.type)
        message = f"{message.partition(chr(10))[0]} ({kind}: {failure.getErrorMessage()})"
    if (request_id := current_request_id()) is not None:
        message = f"{message} [request {request_id}]"
    shown = escape_control(secrets.redact(_shortened(message, LINE_LIMIT)))
    return f"{clock} {'' if level == 'info' else level + ': '}{shown}\n"


def _level_name(event: LogEvent) -> str:
    level = event.get("log_level")
    return str(level.name) if level is not None else "error" if event.get("isError") else "info"


def _text_of(value: object) -> str:
    try:
        return str(value)
    except Exception:
        return f"<{type(value).__name__} that cannot be shown>"


def _traceback(failure: Any) -> str:
    try:
        return str(failure.getTraceback())
    except Exception:
        return _text_of(failure)


def _shortened(text: str, limit: int) -> str:
    return text if len(text) <= limit else f"{text[:limit]} … ({len(text) - limit} more characters)"


@define
class RotatingFile:
    """An append-only file that only its owner can read.

    Beyond `limit` bytes it is renamed to `.1`, the former `.1` to `.2`, and so on.
    """

    path: Path
    limit: int = FILE_LIMIT
    generations: int = GENERATIONS
    _descriptor: int = -1
    _size: int = 0

    def write(self, line: str) -> None:
        """Append `line`. A disk that takes no more loses log lines, not the program."""
        content = line.encode("utf-8", "backslashreplace")
        with suppress(OSError):
            if self._descriptor < 0:
                self._open()
            elif self._size and self._size + len(content) > self.limit:
                self._rotate()
            self._size += os.write(self._descriptor, content)

    def close(self) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def _open(self) -> None:
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC
        self._descriptor = os.open(self.path, flags, PRIVATE_FILE_MODE)
        self._size = os.fstat(self._descriptor).st_size

    def _rotate(self) -> None:
        self.close()
        for number in range(self.generations - 1, -1, -1):
            older = self.path.with_name(f"{self.path.name}.{number}") if number else self.path
            with suppress(FileNotFoundError):
                older.rename(self.path.with_name(f"{self.path.name}.{number + 1}"))
        self._open()


@implementer(ILogObserver)
@define(eq=False, repr=False)
class FileLog:
    """Writes every event from `level` up as a JSON line."""

    file: RotatingFile
    secrets: Secrets
    level: Any = LogLevel.info

    def __call__(self, event: LogEvent) -> None:
        if _is_logged(event, self.level):
            self.file.write(json_line(event, self.secrets))


@implementer(ILogObserver)
@define(eq=False, repr=False)
class TerminalLog:
    """Writes every event from `level` up as a line of text or, with `as_json`, of JSON."""

    stream: TextIO
    secrets: Secrets
    level: Any = LogLevel.warn
    as_json: bool = False

    def __call__(self, event: LogEvent) -> None:
        if _is_logged(event, self.level):
            line = (json_line if self.as_json else text_line)(event, self.secrets)
            with suppress(OSError, ValueError):  # the terminal is gone, or closed
                self.stream.write(
                    line.encode("utf-8", "backslashreplace").decode("utf-8", "replace")
                )
                self.stream.flush()


def _is_logged(event: LogEvent, level: Any) -> bool:
    found = event.get("log_level") or (LogLevel.error if event.get("isError") else LogLevel.info)
    if found == LogLevel.info and str(event.get("log_namespace", "")).startswith(
        _VERBOSE_NAMESPACES
    ):
        found = LogLevel.debug
    return bool(found >= level)


@define(eq=False, repr=False)
class Logging:
    """What `start_logging` has set up; more values can be added to `secrets` at any time."""

    secrets: Secrets
    path: Path | None
    _observers: list[Any]
    _terminal_level: Any = LogLevel.warn

    def enable_terminal(self) -> None:
        """End `quiet_start`: log to the terminal at its own level from now on."""
        for observer in self._observers:
            if isinstance(observer, TerminalLog):
                observer.level = self._terminal_level

    def reopen(self) -> None:
        """Continue in a new file of the same name, after the old one was moved away."""
        for observer in self._observers:
            if isinstance(observer, FileLog):
                observer.file.close()  # the next line opens it again

    def stop(self) -> None:
        for observer in self._observers:
            globalLogPublisher.removeObserver(observer)
            if isinstance(observer, FileLog):
                observer.file.close()


def log_format(environ: Mapping[str, str], settings: Mapping[str, Any]) -> str:
    """How programs log to standard error: HAPI_LOG_FORMAT, `logFormat` in settings.json, or text.

    An invalid value counts as none; `hapi doctor` names it.
    """
    given = (environ.get("HAPI_LOG_FORMAT"), settings.get("logFormat"))
    return next((value for value in given if value in FORMATS), TEXT)


def start_logging(
    program: str,
    home: Home | None = None,
    *,
    terminal: TextIO | None = None,
    terminal_level: Any = LogLevel.warn,
    quiet_start: bool = False,
    environ: Mapping[str, str] = os.environ,
    settings: Mapping[str, Any] | None = None,
    secrets: Iterable[str | None] = (),
) -> Logging:
    """Log `program` from now on: to `home`/logs (when given) and to `terminal` (when given).

    With `quiet_start` the terminal gets nothing below critical until `enable_terminal`: the program
    that starts this one reports a failed start once. HAPI_LOG_LEVEL (debug, info, warn, error) is
    the level of the file, info by default. CLI_API_TOKEN is always among the secrets. Raises
    OSError if the directory cannot be created.

    If `log_format` is `json`, the terminal is taken for a collector of logs: it gets the lines that
    the file gets, from the start on, instead of text for a person. What a session logs there ends
    up in a file of its runner, beside its own log, and stays at `terminal_level`.
    """
    hidden = Secrets()
    hidden.add(environ.get("CLI_API_TOKEN"), *secrets)
    observers: list[Any] = []
    path = None
    level = LEVELS.get(environ.get("HAPI_LOG_LEVEL", "").lower(), LogLevel.info)
    as_json = log_format(environ, settings or {}) == JSON_LINES
    if as_json and quiet_start:
        terminal_level, quiet_start = level, False
    if home is not None:
        path = new_log_file(home, program)
        observers.append(FileLog(RotatingFile(path), hidden, level))
    if terminal is not None:
        observers.append(
            TerminalLog(
                terminal, hidden, LogLevel.critical if quiet_start else terminal_level, as_json
            )
        )
    globalLogBeginner.beginLoggingTo(observers, redirectStandardIO=False, discardBuffer=False)
    return Logging(hidden, path, observers, terminal_level)


def new_log_file(home: Home, program: str) -> Path:
    """A path for this process's log, named as the npm CLI does; removes the oldest files."""
    directory = home.directory("logs")
    found = sorted((path for path in directory.iterdir() if path.is_file()), key=_age_key)
    for old in found[: max(0, len(found) - MAX_FILES)]:
        if not _is_in_use(old):
            with suppress(OSError):
                old.unlink()
    return directory / f"{time.strftime('%Y-%m-%d-%H-%M-%S')}-pid-{os.getpid()}-{program}.log"


def _age_key(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except OSError:
        return 0.0


def _is_in_use(path: Path) -> bool:
    named = re.search(r"-pid-(\d+)", path.name)
    if named is None:
        return False
    import psutil  # only when there are too many files

    return bool(psutil.pid_exists(int(named[1])))


def json_logger() -> Any:
    """An observer for `twistd --logger=hapi.log.json_logger`: JSON lines on standard output."""
    from hapi.settings import InvalidSettings, read_settings

    secrets = Secrets()
    secrets.add(os.environ.get("CLI_API_TOKEN"))
    with suppress(InvalidSettings, OSError):
        token = read_settings(Home.find()).get("cliApiToken")
        secrets.add(token if isinstance(token, str) else None)

    stream = sys.stdout  # the real one: twistd puts its log in its place

    @provider(ILogObserver)
    def observe(event: LogEvent) -> None:
        with suppress(OSError, ValueError):
            stream.write(json_line(event, secrets))
            stream.flush()

    return observe
