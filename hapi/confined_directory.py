"""Directories out of which no path leads, also while somebody exchanges symbolic links in them.

A path that is checked by its name and then opened by its name can be another one in between. Here
each component is opened in the directory that was opened before it (openat(2) with O_NOFOLLOW), and
links are read and followed component by component. What was reached without passing through an
allowed directory is refused. Unlike openat2(2) with RESOLVE_BENEATH, this also follows absolute
links that lead back into the directory, and it works on every POSIX system.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TypeVar

from attrs import define, field, frozen

MAX_LINKS = 40  # symbolic links on the way of one path, the limit of Linux (path_resolution(7))
# A directory on the way has to be searchable, not readable, where the system can express that.
DIRECTORY = getattr(os, "O_PATH", os.O_RDONLY) | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_LAST = os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
_LINK_ERRORS = frozenset({errno.ELOOP, errno.ENOTDIR, errno.EMLINK})  # EMLINK: FreeBSD

T = TypeVar("T")
Identity = tuple[int, int]  # device and inode


class PathNotAllowed(Exception):
    """A path that leads out of the directory."""

    def __init__(self, path: str) -> None:
        shown = path.encode(errors="replace").decode()
        super().__init__(f"Access denied: Path '{shown}' is outside the working directory")


class LinkOnTheWay(OSError):
    """A symbolic link where none is followed."""

    def __init__(self) -> None:
        super().__init__(errno.ELOOP, os.strerror(errno.ELOOP))


def _real_path(path: Path) -> Path:
    return Path(os.path.realpath(path))


@frozen
class ConfinedDirectory:
    """The directory `root`, and those of `others` that exist. Paths are absolute or relative to
    `root`.

    Links in the names of `root` and `others` are resolved here and now; one that takes the place of
    the root later is not followed. Every method raises PathNotAllowed for a path outside, and
    OSError.
    """

    root: Path = field(converter=_real_path)
    others: tuple[Path, ...] = ()
    follow_links: bool = True  # within the directory; False: a link is an error

    def open(self, path: str, flags: int = os.O_RDONLY, mode: int = 0o600) -> int:
        """A descriptor of what `path` names. A FIFO or device is opened without waiting."""
        return self.act(
            path, lambda name, parent: os.open(name, flags | _LAST, mode, dir_fd=parent)
        )

    def stat(self, path: str) -> os.stat_result:
        """The facts of what `path` names, links followed."""

        def facts(name: str, parent: int) -> os.stat_result:
            found = os.stat(name, dir_fd=parent, follow_symlinks=False)
            if stat.S_ISLNK(found.st_mode):
                raise LinkOnTheWay
            return found

        return self.act(path, facts)

    def makedirs(self, path: str) -> None:
        """Make a directory and those above it that are missing, as `os.makedirs` does."""

        def make(name: str, parent: int) -> None:
            os.mkdir(name, dir_fd=parent)

        try:
            self.act(path, make)
        except FileNotFoundError:
            above = os.path.dirname(path.rstrip("/"))
            if above in ("", "/"):
                raise
            with suppress(FileExistsError):  # another process may have made it
                self.makedirs(above)
            self.act(path, make)

    @contextmanager
    def pinned(self, path: str) -> Iterator[str]:
        """A name of the very directory that `path` names, for a program that is to run in it.

        It is valid in other processes as well, until the end of the `with` block. On systems
        without `/proc` it is the directory's own name, which a link may replace meanwhile.
        """
        descriptor = self.open(path, os.O_RDONLY | os.O_DIRECTORY)
        try:
            if os.path.isdir("/proc/self/fd"):
                yield f"/proc/{os.getpid()}/fd/{descriptor}"
            else:
                yield os.path.realpath(self.root / path)
        finally:
            os.close(descriptor)

    def act(self, path: str, action: Callable[[str, int], T]) -> T:
        """The result of `action` for the last component of `path` and a descriptor of the directory
        it is in. The action must not follow links; it raises an error of ELOOP for one."""
        if "\0" in path:
            raise PathNotAllowed(path.replace("\0", "?"))
        try:
            os.fsencode(path)
        except UnicodeEncodeError:  # no file can be called so
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT)) from None
        walk = _Walk(self)
        try:
            return walk.follow(path, action)
        except (OSError, _Outside) as error:
            if isinstance(error, _Outside) or not (walk.is_inside or walk.is_at_start):
                raise PathNotAllowed(path) from error  # nothing is told of what is outside
            raise
        finally:
            walk.close()


class _Outside(Exception):
    """The walk ended outside of the allowed directories."""


@define
class _Walk:
    """A walk along one path: the open directories from where it began to where it is."""

    _confined: ConfinedDirectory
    _chain: list[tuple[int, bool]] = field(factory=list)  # with: whether it is inside
    _allowed: frozenset[Identity] | None = None
    is_at_start: bool = True  # the root itself could not be opened yet

    @property
    def is_inside(self) -> bool:
        return bool(self._chain) and self._chain[-1][1]

    def follow(self, path: str, action: Callable[[str, int], T]) -> T:
        pending, links = self._begin(path), 0
        while True:
            while pending and pending[-1] in ("", "."):
                pending.pop()
            name = pending.pop() if pending else "."
            if name == "..":
                self._leave()
                continue
            if name == "." and not self.is_inside:
                raise _Outside
            try:
                if not pending and self.is_inside:
                    return action(name, self._chain[-1][0])
                self._enter(name)
            except OSError as error:
                links += 1
                target = self._link(name) if error.errno in _LINK_ERRORS else None
                if target is None:
                    if error.errno == errno.ELOOP and links <= MAX_LINKS:
                        pending.append(name)  # it was a link until now
                        continue
                    raise
                if links > MAX_LINKS or not self._confined.follow_links:
                    raise LinkOnTheWay from error
                pending += self._begin(target)

    def close(self) -> None:
        while self._chain:
            os.close(self._chain.pop()[0])

    def _begin(self, path: str) -> list[str]:
        """The components of `path`, the last one first. An absolute path begins the walk anew."""
        root, is_absolute = str(self._confined.root), path.startswith("/")
        if not is_absolute and self._chain:
            return path.split("/")[::-1]
        self.close()
        if not is_absolute or path == root or path.startswith(f"{root}/"):
            self._chain.append((open_without_links(root), True))
            path = path[len(root) :] if is_absolute else path
        else:
            top = os.open("/", DIRECTORY)
            self._chain.append((top, self._is_allowed(top)))
        self.is_at_start = False
        return path.split("/")[::-1]

    def _enter(self, name: str) -> None:
        descriptor = os.open(name, DIRECTORY, dir_fd=self._chain[-1][0])
        self._chain.append((descriptor, self.is_inside or self._is_allowed(descriptor)))

    def _leave(self) -> None:
        """Go to the parent, by the way that the walk came."""
        descriptor, _ = self._chain.pop()
        try:
            if not self._chain:  # above the root
                parent = os.open("..", DIRECTORY, dir_fd=descriptor)
                self._chain.append((parent, self._is_allowed(parent)))
        finally:
            os.close(descriptor)

    def _is_allowed(self, descriptor: int) -> bool:
        if self._allowed is None:
            places = (self._confined.root, *self._confined.others)
            self._allowed = frozenset(_identities([str(place) for place in places]))
        return _identity(descriptor) in self._allowed

    def _link(self, name: str) -> str | None:
        """Where the link called `name` points, None if it is none (any more)."""
        with suppress(OSError):
            return os.readlink(name, dir_fd=self._chain[-1][0])
        return None


def open_without_links(path: str) -> int:
    """A descriptor of the directory at the absolute `path`, for opening what is in it. Raises
    OSError, also for a symbolic link on the way."""
    descriptor = os.open("/", DIRECTORY)
    for name in filter(None, path.split("/")):
        try:
            below = os.open(name, DIRECTORY, dir_fd=descriptor)
        finally:
            os.close(descriptor)
        descriptor = below
    return descriptor


def _identity(descriptor: int) -> Identity:
    facts = os.fstat(descriptor)
    return facts.st_dev, facts.st_ino


def _identities(paths: Sequence[str]) -> Iterator[Identity]:
    for path in paths:
        with suppress(OSError):
            descriptor = open_without_links(path)
            try:
                yield _identity(descriptor)
            finally:
                os.close(descriptor)
