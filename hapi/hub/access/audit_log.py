"""Who did what: the audit of a hub, in files beside its database.

`audit.jsonl` has what was done, `audit-refused.jsonl` what was not allowed: nobody without a right
can push the other entries out by asking often. Both are appended to, one JSON object a line, and
rotated by size. Of what is rotated out, audit_retention chooses what a last file keeps.
"""

from __future__ import annotations

import errno
import heapq
import os
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import msgspec
from attrs import define, field, frozen
from twisted.logger import Logger

from hapi.home import write_atomically
from hapi.hub.access.audit_retention import retained

DONE_NAME, REFUSED_NAME = "audit.jsonl", "audit-refused.jsonl"
MAX_BYTES = 4 << 20  # a larger file becomes .1, that one .2, and so on
GENERATIONS = 4  # earlier files that are kept
MAX_FACT_LENGTH = 500  # characters
REPEAT_INTERVAL = 60_000  # ms: a login by the same token and network is recorded once in that time
MAX_REPEATS = 1000  # logins that are remembered for it
LOGIN = "login"


@frozen
class Actor:
    """Who asks: the namespace, and the name and id of a device's token, None and "" for the access
    token of the hub.
    """

    namespace: str = ""
    name: str | None = None
    token_id: str = ""


NOBODY = Actor()  # nobody that the hub knows


class AuditEntry(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True):
    """One line. `outcome`: `done`, `refused` or `failed`; `actor`: the token's name, None for the
    access token of the hub or an unknown one.
    """

    time: int  # ms since the epoch
    action: str
    outcome: str
    status: int  # of the reply
    namespace: str = ""
    actor: str | None = None
    token_id: str = ""
    address: str = ""
    subject: Mapping[str, str] = {}
    facts: Mapping[str, Any] = {}
    request_id: str = ""


_DECODER = msgspec.json.Decoder(AuditEntry)


def shortened(value: Any) -> Any:
    """`value` as a fact of an entry: a number, or a text of limited length."""
    if value is None or isinstance(value, bool | int | float):
        return value
    text = value if isinstance(value, str) else msgspec.json.encode(value).decode()
    return text.encode("utf-8", "replace").decode()[:MAX_FACT_LENGTH]


def _outcome(status: int, failed: bool) -> str:
    if status in (401, 403):
        return "refused"
    return "failed" if failed or status >= 400 else "done"


@define(eq=False, repr=False)
class AuditLog:
    """`directory` None: nothing is written. `now` is wall time in ms."""

    directory: Path | None
    _now: Callable[[], int]
    max_bytes: int = MAX_BYTES
    _logins: OrderedDict[tuple[str, str, str], int] = field(factory=OrderedDict)
    _write_error: str = ""

    log = Logger()

    def record(
        self,
        action: str,
        status: int,
        actor: Actor,
        address: str,
        subject: Mapping[str, str] | None = None,
        facts: Mapping[str, Any] | None = None,
        request_id: str = "",
        network: str = "",
        failed: bool = False,
    ) -> None:
        """Append an entry. A write error is logged once and stops nothing.

        `network`: what counts as one with `address` for logins that are repeated. `failed`: it was
        not done, although the status is that of a success.
        """
        if self.directory is None:
            return
        entry = AuditEntry(
            self._now(),
            action,
            _outcome(status, failed),
            status,
            actor.namespace,
            actor.name,
            actor.token_id,
            address,
            {name: str(shortened(value)) for name, value in (subject or {}).items()},
            {name: shortened(value) for name, value in (facts or {}).items() if value is not None},
            request_id,
        )
        if action == LOGIN and entry.outcome == "done" and self._is_repeated(entry, network):
            return
        name = REFUSED_NAME if entry.outcome == "refused" else DONE_NAME
        try:
            self._append(self.directory / name, msgspec.json.encode(entry) + b"\n")
        except OSError as error:
            reason = f"{name} was not written: {error.strerror or error}"
            if reason != self._write_error:
                self.log.error("{reason}", reason=reason)
            self._write_error = reason
        else:
            self._write_error = ""

    def _is_repeated(self, entry: AuditEntry, network: str) -> bool:
        key = (entry.namespace, entry.token_id, network)
        before = self._logins.get(key)
        if before is not None and 0 <= entry.time - before < REPEAT_INTERVAL:
            return True
        self._logins[key] = entry.time
        self._logins.move_to_end(key)
        while len(self._logins) > MAX_REPEATS:
            self._logins.popitem(last=False)
        return False

    def _append(self, path: Path, line: bytes) -> None:
        flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
        try:
            size = os.lstat(path).st_size
        except FileNotFoundError:
            size = 0
        if size and size + len(line) > self.max_bytes:
            self._rotate(path)
            size = 0
        descriptor = os.open(path, flags | os.O_NONBLOCK, 0o600)
        try:
            if size and os.pread(descriptor, 1, size - 1) != b"\n":  # half a line, from a power cut
                line = b"\n" + line
            if os.write(descriptor, line) < len(line):  # a full disk takes a part
                os.ftruncate(descriptor, size)
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        finally:
            os.close(descriptor)

    def _rotate(self, path: Path) -> None:
        if (oldest := generation(path, GENERATIONS)).exists():
            kept = kept_file(path)
            lines = [*_lines(kept), *_lines(oldest)]
            content = b"".join(line + b"\n" for line in retained(lines, self.max_bytes))
            write_atomically(kept, content)
        for number in range(GENERATIONS - 1, 0, -1):
            if (older := generation(path, number)).exists():
                os.replace(older, generation(path, number + 1))
        os.replace(path, generation(path, 1))

    def newest(self, limit: int, before: int | None = None, action: str = "") -> list[AuditEntry]:
        """The last `limit` entries, newest first: those before a time (ms), and of one action."""
        if self.directory is None:
            return []
        found: list[AuditEntry] = []
        both = (_entries(self.directory / name) for name in (DONE_NAME, REFUSED_NAME))
        for entry in heapq.merge(*both, key=lambda entry: -entry.time):
            if (before is None or entry.time < before) and action in ("", entry.action):
                found.append(entry)
                if len(found) >= limit:
                    break
        return found


def generation(path: Path, number: int) -> Path:
    return path.with_name(f"{path.name}.{number}")


def kept_file(path: Path) -> Path:
    """What is kept of entries older than all generations."""
    return path.with_name(f"{path.name}.kept")


def audit_files(directory: Path, name: str) -> list[Path]:
    """The files of one kind, newest first."""
    path = directory / name
    generations = (generation(path, number) for number in range(1, GENERATIONS + 1))
    return [path, *generations, kept_file(path)]


def _lines(path: Path) -> list[bytes]:
    try:
        return path.read_bytes().splitlines()
    except FileNotFoundError:
        return []


def _entries(path: Path) -> Iterator[AuditEntry]:
    """The entries of a file and of those before it, newest first."""
    for found in audit_files(path.parent, path.name):
        for line in reversed(_lines(found)):
            try:
                yield _DECODER.decode(line)
            except (msgspec.DecodeError, UnicodeError):
                continue  # half a line, from a power cut
