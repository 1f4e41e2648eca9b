"""Workspace roots: the part of the disk that hub and control callers may name (runner.md §17.1)."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from attrs import field, frozen


class RootUnusable(ValueError):
    """A `--workspace-root` that is no existing directory; the text says which and why."""


@frozen
class WorkspaceRoots:
    """No roots: everything is inside. Else a path is inside when, symlinks resolved, it is a root or lies below one."""

    given: tuple[str, ...] = ()  # absolute, as advertised to the hub
    resolved: tuple[Path, ...] = field(default=())

    @classmethod
    def parse(cls, given: Iterable[str]) -> WorkspaceRoots:
        """Roots from the command line: `~` expanded, made absolute, doubles dropped. Raises RootUnusable."""
        kept: dict[str, Path] = {}
        for text in given:
            if not text.strip():
                raise RootUnusable("a workspace root is empty")
            path = os.path.abspath(os.path.expanduser(text))
            if "\0" in path or not os.path.isdir(path):
                raise RootUnusable(f"workspace root {text!r} is not an existing directory")
            if any(
                "\udc80" <= character <= "\udcff" for character in path
            ):  # bytes that are no text
                raise RootUnusable(
                    f"workspace root {text!r} is not valid UTF-8, so hub and page could not name it"
                )
            kept.setdefault(path, Path(path).resolve())
        return cls(tuple(kept), tuple(kept.values()))

    def contains(self, path: str | Path) -> bool:
        """Whether `path` is inside. A missing path counts by its nearest existing ancestor; one not resolvable is outside."""
        if not self.given:
            return True
        place = resolve(path)
        return place is not None and any(
            place == root or root in place.parents for root in self.resolved
        )

    def contains_worktree(self, top: str, path: str) -> bool:
        """Whether `path` may be a worktree of the repository at `top`: that is inside, and so is `path`, or it lies beside `top`.

        Beside means `<top>-worktrees/<name>` with no symlink on the way: a repository that is a root itself has them there.
        """
        is_beside = os.path.dirname(path) == f"{top}-worktrees" and resolve(path) == Path(path)
        return self.contains(top) and (is_beside or self.contains(path))

    @contextmanager
    def pinned(self, directory: str, top: str | None = None) -> Iterator[str]:
        """A name for the very directory that was judged: a symlink may be turned elsewhere between a look and a start.

        `top`: of the repository whose worktree it is. Raises OSError when it is no directory any more or not inside.
        """
        if not (self.given and hasattr(os, "O_PATH") and os.path.isdir("/proc/self/fd")):
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

    def is_mounted(self, path: str | Path) -> bool:
        """Whether a root that holds `path` is there: a root may be unmounted while we run."""
        place = resolve(path)
        if not self.given:
            return True
        return place is not None and any(
            (place == root or root in place.parents) and root.is_dir() for root in self.resolved
        )


def resolve(path: str | Path) -> Path | None:
    """`path` without symlinks and dots, None when it cannot be looked at (a loop, a NUL, a name too long)."""
    try:
        return Path(path).resolve(strict=False)
    except (OSError, ValueError, RuntimeError):
        return None
