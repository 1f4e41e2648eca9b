"""Git worktrees for sessions: made beside the repository, removed only when ours, clean and
left by their session."""

from __future__ import annotations

import os
import re
import secrets
import time
from collections.abc import Callable

from attrs import define, field
from twisted.logger import Logger

from hapi.process.git import Git
from hapi.protocol.spawn import SpawnRefused, Worktree

MAX_NAME_TRIES = 5
MAX_REMOVE_TRIES = 10  # for a worktree that git is still making on behalf of a runner that is gone
INITIALIZING = "lock reason: initializing"  # the lock that git holds meanwhile
MAX_NAME_LENGTH = 64  # characters


def slug(name: str) -> str:
    """`name` as a file and branch name: a-z, 0-9 and dashes; "" when nothing is left."""
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")[:MAX_NAME_LENGTH].strip("-")


@define
class Worktrees:
    """Chooses, makes and removes the worktrees of sessions."""

    _git: Git
    _now: Callable[[], float] = time.time
    _random_hex: Callable[[int], str] = secrets.token_hex
    _reserved: set[str] = field(factory=set)  # paths that were chosen for a start
    log = Logger()

    async def choose(self, directory: str, name: str | None) -> Worktree | SpawnRefused:
        """What the new worktree of the repository around `directory` is to be. Its path is
        reserved until `settled`."""
        if not os.path.isdir(directory):
            return SpawnRefused(
                "Worktree sessions require an existing Git repository. Directory not found: "
                f"{directory}"
            )
        toplevel = await self._git.run(directory, "rev-parse", "--show-toplevel")
        root = toplevel.stdout.rstrip("\n")
        if toplevel.exit_code != 0 or not root:
            message = f"Worktree sessions require a Git repository. {toplevel.reason()}"
            return SpawnRefused(message.rstrip())
        wanted = slug(name or "") or self._default_name()
        for attempt in range(MAX_NAME_TRIES):
            chosen = wanted if attempt == 0 else f"{wanted}-{self._random_hex(2)}"
            if (worktree := await self._reserve(root, chosen)) is not None:
                return worktree
        return SpawnRefused(
            f"Failed to create worktree: {MAX_NAME_TRIES} names beginning with {wanted!r} are "
            "taken already"
        )

    def _default_name(self) -> str:
        today = time.strftime("%m%d", time.localtime(self._now()))
        return f"{today}-{self._random_hex(2)}"

    async def _reserve(self, root: str, name: str) -> Worktree | None:
        """The worktree of that name, None if its path or its branch is taken."""
        path, branch = os.path.join(f"{root}-worktrees", name), f"hapi-{name}"
        if path in self._reserved or os.path.lexists(path):
            return None
        self._reserved.add(path)
        found = await self._git.run(
            root, "rev-parse", "--verify", "--quiet", f"refs/heads/{branch}"
        )
        if found.exit_code != 0:
            return Worktree(root, branch, name, path, int(self._now() * 1000))
        self._reserved.discard(path)
        return None

    def settled(self, worktree: Worktree) -> None:
        """The chosen worktree exists, or is not going to be made: its path is reserved no more."""
        self._reserved.discard(worktree.path)

    async def add(self, worktree: Worktree) -> SpawnRefused | None:
        """Make a chosen worktree on a new branch from HEAD."""
        root, path = worktree.base_path, worktree.path
        parent = os.path.dirname(path)
        try:
            os.makedirs(parent, exist_ok=True)
        except OSError as error:
            return SpawnRefused(f"Failed to create worktree: {parent}: {error.strerror}")
        added = await self._git.run(root, "worktree", "add", "-b", worktree.branch, path)
        if added.exit_code == 0:
            return None
        if added.exit_code is None:  # it was killed half-way: nothing half made stays
            await self._git.run(root, "worktree", "remove", "--force", "--force", path)
            await self._git.run(root, "worktree", "prune")
        return SpawnRefused(f"Failed to create worktree: {added.reason()}")

    async def remove(self, worktree: Worktree) -> bool:
        """Remove a worktree of ours; its branch stays. False when the worktree stays as well
        because it is dirty, locked, or on another branch."""
        if not os.path.isdir(worktree.path):
            return True
        head = await self._git.run(worktree.path, "symbolic-ref", "--short", "HEAD")
        if head.stdout.strip() != worktree.branch:
            # A killed runner chose its path, and somebody else made it then.
            self.log.warn(
                "Worktree {path} stays: it is not on {branch}",
                path=worktree.path,
                branch=worktree.branch,
            )
            return False
        for _ in range(MAX_REMOVE_TRIES):  # git refuses to remove a dirty one
            removed = await self._git.run(worktree.base_path, "worktree", "remove", worktree.path)
            if INITIALIZING not in removed.stderr:
                break
            await self._git.pause()
        if removed.exit_code != 0:
            self.log.warn(
                "Worktree {path} stays: {reason}", path=worktree.path, reason=removed.reason()
            )
        return removed.exit_code == 0

    async def is_linked(self, directory: str) -> bool:
        """Whether `directory` lies in a worktree other than the repository's first."""
        own = await self._git.run(directory, "rev-parse", "--absolute-git-dir")
        common = await self._git.run(
            directory, "rev-parse", "--path-format=absolute", "--git-common-dir"
        )
        if own.exit_code != 0 or common.exit_code != 0:
            return False
        directories = (os.path.realpath(found.stdout.strip()) for found in (own, common))
        return len(set(directories)) == 2
