"""Whether the files of an open database are still where they were opened.

A deleted or replaced file stays open, and SQLite goes on writing into it: all of that is gone when
the hub ends. So the paths are compared with what was opened before each transaction, with each
`/ready`, and every few seconds by the hub.

What happens to the `-wal` file of a database that is gone is decided here as well: SQLite would
replay a log that was left behind into whatever database is put beside it next.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path

from attrs import define, field, frozen
from twisted.logger import Logger

from hapi.hub.store.interface import StoreLost

LOG, INDEX = "-wal", "-shm"  # SQLite's suffixes for the files beside a database in WAL mode
DELETED = " (deleted)"  # proc(5): the end of a link in /proc/PID/fd to a file without a name

Inode = tuple[int, int]  # device and number


@frozen
class Gone:
    """The files do not belong together any more; `remedy` says to a person what to do."""

    what: str
    remedy: str


@frozen
class OpenFile:
    """A file as this process has it open."""

    links: int  # 0: deleted
    link: str  # of /proc/PID/fd

    @property
    def has_name(self) -> bool:
        """Whether `path` names it; a file with several names may have lost this one."""
        return self.links > 0 and not self.link.endswith(DELETED)

    @property
    def path(self) -> Path:
        """Where it is now, or was last."""
        return Path(self.link.removesuffix(DELETED))

    def is_at(self, path: Path) -> bool:
        return self.has_name and self.path == path


@define(eq=False, repr=False)
class DatabaseFiles:
    """The files of the open database at `path`."""

    _given: Path
    path: Path = field(init=False)  # without symbolic links, as SQLite names the files beside it
    gone: Gone | None = None
    _names: dict[str, str] = field(init=False)  # suffix -> path
    _inodes: dict[str, Inode] = field(factory=dict)  # suffix -> what was opened
    _seen: dict[str, Inode | None] = field(factory=dict)  # suffix -> what was there last time

    log = Logger()

    def __attrs_post_init__(self) -> None:
        self.path = Path(os.path.realpath(self._given))
        self._names = {suffix: f"{self.path}{suffix}" for suffix in ("", LOG, INDEX)}
        self._inodes = {"": self._at("") or (0, 0)}

    def verify(self) -> None:
        """Raises StoreLost if a file is not in place. Logs when that begins and when it ends."""
        for suffix in (LOG, INDEX):  # SQLite creates them with the first transaction
            if suffix not in self._inodes and (created := self._at(suffix)) is not None:
                self._inodes[suffix] = created
        seen = {suffix: self._at(suffix) for suffix in self._inodes}
        if seen != self._seen:
            self._seen = seen
            found = None if seen == self._inodes else self._judge(seen)
            if found != self.gone:
                self.gone = found
                self._report()
        if self.gone is not None:
            raise StoreLost(self.gone.what)

    def detach(self) -> None:
        """Take our log and index away from a path where our database is no more: to where the
        database is, or for good if it was deleted. Call this before the last connection closes.

        They stay open, so that this process loses nothing of them.
        """
        ours = open_file(self._inodes[""])
        if ours is None or ours.is_at(self.path) or self._at("") == self._inodes[""]:
            return
        for suffix in (LOG, INDEX):
            place = Path(self._names[suffix])
            if suffix not in self._inodes or self._at(suffix) != self._inodes[suffix]:
                continue
            with suppress(OSError):
                if not ours.links:
                    place.unlink()
                elif ours.has_name and not os.path.lexists(f"{ours.path}{suffix}"):
                    place.rename(f"{ours.path}{suffix}")

    # --- looking ----------------------------------------------------------------------------------

    def _at(self, suffix: str) -> Inode | None:
        return _inode(self._names[suffix])

    def _judge(self, seen: Mapping[str, Inode | None]) -> Gone:
        """What has happened to files of which not all are in place."""
        if seen[""] == self._inodes[""]:
            name = next(name for name, inode in seen.items() if inode != self._inodes[name])
            return Gone(
                f"{self.path}{name} was deleted or replaced",
                "To keep everything, run `hapi hub backup FILE`, then stop the hub and start it "
                f"again: when it stops, it writes the rest into {self.path}",
            )
        ours, is_occupied = open_file(self._inodes[""]), seen[""] is not None
        if ours is not None and ours.is_at(self.path):
            return Gone(f"{self.path} cannot be reached", "Once it can be, the hub goes on")
        if is_occupied or (ours is not None and not ours.links):
            self.detach()
        if ours is not None and ours.has_name:
            return Gone(
                f"{self.path} was moved to {ours.path}",
                "Another file took its place; to use that file, stop the hub and start it again"
                if is_occupied
                else "Move it back, and the hub goes on",
            )
        rescue = (
            "run `hapi hub backup FILE` before the hub stops: its open file still has all of it"
        )
        if is_occupied:
            return Gone(
                f"{self.path} was replaced by another file",
                f"To keep the content of the old file, {rescue}. To use the new one, stop the hub "
                "and start it again",
            )
        return Gone(
            f"{self.path} was deleted",
            f"To keep its content, {rescue}. Then stop the hub, move FILE to {self.path}, and "
            "start the hub again",
        )

    def _report(self) -> None:
        if self.gone is None:
            self.log.info("The database {path} is in place again", path=str(self.path))
        else:
            self.log.error(
                "{what} while the hub (process {pid}) runs. The hub refuses every change from now "
                "on, because nothing of it would last. {remedy}",
                what=self.gone.what,
                pid=os.getpid(),
                remedy=self.gone.remedy,
            )


def _inode(path: str) -> Inode | None:
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_dev, found.st_ino


def open_file(inode: Inode) -> OpenFile | None:
    """The file with that inode, if this process has it open."""
    for link, found in open_files(os.getpid()):
        if (found.st_dev, found.st_ino) == inode:
            with suppress(OSError):
                return OpenFile(found.st_nlink, os.readlink(link))
    return None


def open_files(pid: int) -> Iterator[tuple[str, os.stat_result]]:
    """The open files of a process: links in /proc and what stat(2) says, without opening one.

    (Closing a second descriptor of a database would release SQLite's locks on it.)
    """
    with suppress(OSError):
        for number in os.listdir(f"/proc/{pid}/fd"):
            link = f"/proc/{pid}/fd/{number}"
            with suppress(OSError):
                yield link, os.stat(link)


def size_on_disk(path: Path) -> int | None:
    """The size of the files of the database at `path` in bytes, None if there is none."""
    sizes = []
    for suffix in ("", LOG, INDEX):
        with suppress(OSError):
            sizes.append(os.stat(f"{path}{suffix}").st_size)
    return sum(sizes) if sizes else None
