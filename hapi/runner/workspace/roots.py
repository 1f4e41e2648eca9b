"""Workspace roots: the part of the disk that hub and control callers may name (runner.md §17.1)."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from attrs import field, frozen

from hapi.confined_directory import ConfinedDirectory


class RootUnusable(ValueError):
    """A `--workspace-root` that is not an existing directory; the message says which and why."""


@frozen
class WorkspaceRoots:
    """Without roots, every path is inside. Otherwise a path is inside when it is a root or lies
    below one after all symlinks were resolved."""

    given: tuple[str, ...] = ()  # absolute, as advertised to the hub
    resolved: tuple[Path, ...] = field(default=())
    # For opening what is inside, whatever links are exchanged meanwhile. Paths are absolute.
    confined: ConfinedDirectory = field(init=False, eq=False, repr=False)

    @confined.default
    def _make_confined(self) -> ConfinedDirectory:
        first, *others = self.resolved or (Path("/"),)
        return ConfinedDirectory(first, tuple(others))

    @classmethod
    def parse(cls, given: Iterable[str]) -> WorkspaceRoots:
        """Read roots as users write them: `~` is expanded, relative paths become absolute, and
        duplicates are dropped. Raises RootUnusable."""
        kept: dict[str, Path] = {}
        for text in given:
            if not text.strip():
                raise RootUnusable("a workspace root is empty")
            path = os.path.abspath(os.path.expanduser(text))
            if "\0" in path or not os.path.isdir(path):
                raise RootUnusable(f"workspace root {text!r} is not an existing directory")
            if has_undecodable_bytes(path):
                raise RootUnusable(
                    f"workspace root {text!r} is not valid UTF-8, so hub and page could not name it"
                )
            kept.setdefault(path, Path(path).resolve())
        return cls(tuple(kept), tuple(kept.values()))

    def contains(self, path: str | Path) -> bool:
        """Whether `path` is inside. A missing path counts by its nearest existing ancestor; a path
        that cannot be resolved is outside."""
        return not self.given or bool(self._roots_around(path))

    def contains_worktree(self, top: str, path: str) -> bool:
        """Whether `path` may be a worktree of the repository at `top`: `top` is inside, and `path`
        is inside as well or lies beside `top`.

        Beside means `<top>-worktrees/<name>` without a symlink on the way: the worktrees of a
        repository that is a root itself are there.
        """
        is_beside = os.path.dirname(path) == f"{top}-worktrees" and resolve(path) == Path(path)
        return self.contains(top) and (is_beside or self.contains(path))

    def is_mounted(self, path: str | Path) -> bool:
        """Whether a root around `path` exists: a root may be unmounted while the runner runs."""
        return not self.given or any(root.is_dir() for root in self._roots_around(path))

    def _roots_around(self, path: str | Path) -> list[Path]:
        place = resolve(path)
        if place is None:
            return []
        return [root for root in self.resolved if place == root or root in place.parents]

    @contextmanager
    def pinned(self, directory: str, top: str | None = None) -> Iterator[str]:
        """A name of the very directory that was checked: a symlink may be turned elsewhere between
        the check and the start.

        `top` is the repository whose worktree the directory is. Raises OSError when it is no
        longer a directory or no longer inside.
        """
        if not (self.given and os.path.isdir("/proc/self/fd")):
            yield directory
            return
        descriptor = os.open(directory, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            found = os.readlink(f"/proc/self/fd/{descriptor}")
            if not (self.contains(found) if top is None else self.contains_worktree(top, found)):
                raise OSError("the directory was moved out of the workspace roots")
            yield f"/proc/{os.getpid()}/fd/{descriptor}"
        finally:
            os.close(descriptor)


def has_undecodable_bytes(text: str) -> bool:
    """Whether `text`, decoded from the operating system, held bytes that are not UTF-8."""
    return any("\udc80" <= character <= "\udcff" for character in text)


def resolve(path: str | Path) -> Path | None:
    """`path` without symlinks and dots; None when it cannot be resolved because of a loop, a NUL
    or a name that is too long."""
    try:
        return Path(path).resolve(strict=False)
    except (OSError, ValueError, RuntimeError):
        return None
