"""The running and the installed build, told apart by version and content.

Times of files only tell when the content has to be read again.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path

from attrs import define, field, frozen

import hapi

PACKAGE = Path(hapi.__file__).parent
_VERSION = re.compile(r"""^__version__\s*=\s*["']([^"']+)["']""", re.MULTILINE)


@frozen
class Build:
    """Two builds are the same when version and content are."""

    version: str
    digest: str  # SHA-256 of all files of the package, in hexadecimal


@frozen
class Stamp:
    """What can be seen without reading a file: it stays the same while the package does."""

    files: int
    size: int  # bytes
    newest: int  # nanoseconds of the epoch


def mtime_ms(nanoseconds: int) -> float:
    """A file's time in milliseconds as npm's programs compute it: s·1000 + ns/10⁶, in doubles."""
    seconds, rest = divmod(nanoseconds, 10**9)
    return seconds * 1000.0 + rest / 1e6


def removal(program: Path | None = None) -> str | None:
    """That HAPI was removed under this program, as a clause; None while it is there.

    What runs goes on, but can start no other program of this package. `program` is another one that
    is needed, instead of Python and this package.
    """
    needed = [program] if program is not None else [Path(sys.executable), PACKAGE / "__main__.py"]
    for path in needed:
        if not path.exists():
            return f"{path} no longer exists (was HAPI uninstalled or moved?)"
    return None


@define
class Installation:
    """The package at `root`. A program creates it at its start, to know later which build it runs.

    The digest is computed when it is first needed. If the files changed before that, the running
    build is unknown and equals no other.
    """

    root: Path = PACKAGE
    version: str = hapi.__version__  # of the program that runs
    at_start: Stamp = field(init=False)
    _running: Build | None = None
    _last_installed: tuple[Stamp, Build] | None = None

    def __attrs_post_init__(self) -> None:
        self.at_start = self.stamp()

    @property
    def started_mtime_ms(self) -> float:
        return mtime_ms(self.at_start.newest)

    @property
    def installed_mtime_ms(self) -> float:
        return mtime_ms(self.stamp().newest)

    def running(self) -> Build | None:
        """The build of this program; None if the files changed before anybody asked."""
        if self._running is None and self.stamp() == self.at_start:
            digest = self._digest()
            if self.stamp() == self.at_start:
                self._running = Build(self.version, digest)
        return self._running

    def installed(self) -> Build | None:
        """The build on the disk; None while files are missing or unreadable, as during a copy.

        Reads the files only if their times or sizes have changed since the last call.
        """
        try:
            stamp = self.stamp()
            if self._last_installed is None or self._last_installed[0] != stamp:
                found = _VERSION.search((self.root / "__init__.py").read_text("utf-8"))
                if found is None:
                    return None
                self._last_installed = stamp, Build(found[1], self._digest())
            return self._last_installed[1]
        except (OSError, ValueError):
            return None

    def has_changed(self) -> bool:
        """Whether the installed build differs from the running one; False if it is unreadable."""
        if self.stamp() == self.at_start:
            return False
        installed = self.installed()
        return installed is not None and installed != self.running()

    def stamp(self) -> Stamp:
        """Count, size and newest time of all files; takes about a millisecond."""
        count = size = newest = 0
        for entry in self._entries():
            try:
                facts = entry.stat()
            except FileNotFoundError:  # it is being replaced
                continue
            count, size, newest = count + 1, size + facts.st_size, max(newest, facts.st_mtime_ns)
        return Stamp(count, size, newest)

    def _files(self) -> list[str]:
        return sorted(entry.path for entry in self._entries())

    def _entries(self) -> Iterator[os.DirEntry[str]]:
        """What belongs to the build: everything but compiled copies and hidden files."""
        directories = [str(self.root)]
        while directories:
            try:
                entries = list(os.scandir(directories.pop()))
            except OSError:  # it is being replaced
                continue
            for entry in entries:
                if entry.name.startswith(".") or entry.name.endswith(".pyc"):
                    continue
                if not entry.is_dir():
                    yield entry
                elif entry.name != "__pycache__" and not entry.is_symlink():
                    directories.append(entry.path)

    def _digest(self) -> str:
        import hashlib  # before a program knows its hub, this would load OpenSSL

        whole = hashlib.sha256()
        for path in self._files():
            with open(path, "rb") as file:
                content = file.read()
            whole.update(
                f"{os.path.relpath(path, self.root)}\0{len(content)}\0".encode(
                    errors="surrogateescape"
                )
            )
            whole.update(content)
        return whole.hexdigest()
