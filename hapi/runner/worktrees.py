"""Git worktrees for sessions: made beside the repository, removed only when ours, clean and left by their session."""

from __future__ import annotations

import os
import re
import secrets
import time
from collections.abc import Callable

from attrs import define
from twisted.logger import Logger

from hapi.protocol.spawn import SpawnRefused, Worktree
from hapi.runner.git import Git, Ran

TRIES = 5
LONGEST_NAME = 64


def slug(name: str) -> str:
    """`name` as a file and branch name: a-z, 0-9 and dashes; "" when nothing is left."""
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")[:LONGEST_NAME].strip("-")


@define
class Worktrees:
    _git: Git
    _now: Callable[[], float] = time.time
    _random_hex: Callable[[int], str] = secrets.token_hex
    log = Logger()

    async def make(self, directory: str, name: str | None) -> Worktree | SpawnRefused:
        """A new worktree on a new branch from HEAD of the repository that holds `directory`."""
        if not os.path.isdir(directory):
            return SpawnRefused(f"Worktree sessions require an existing Git repository. Directory not found: {directory}")
        top = await self._git.run(directory, "rev-parse", "--show-toplevel")
        root = top.out.rstrip("\n")
        if top.code != 0 or not root:
            return SpawnRefused(f"Worktree sessions require a Git repository. {_text(top)}".rstrip())
        parent = f"{root}-worktrees"
        wanted = slug(name or "") or f"{time.strftime('%m%d', time.localtime(self._now()))}-{self._random_hex(2)}"
        try:
            os.makedirs(parent, exist_ok=True)
        except OSError as error:
            return SpawnRefused(f"Failed to create worktree: {parent}: {error.strerror}")
        for attempt in range(TRIES):
            chosen = wanted if attempt == 0 else f"{wanted}-{self._random_hex(2)}"
            path, branch = os.path.join(parent, chosen), f"hapi-{chosen}"
            if (
                os.path.lexists(path)
                or (await self._git.run(root, "rev-parse", "--verify", "--quiet", f"refs/heads/{branch}")).code == 0
            ):
                continue
            added = await self._git.run(root, "worktree", "add", "-b", branch, path)
            if added.code == 0:
                return Worktree(root, branch, chosen, path, int(self._now() * 1000))
            if added.code is None:  # ended in the middle: nothing half made stays
                await self._git.run(root, "worktree", "prune")
            return SpawnRefused(f"Failed to create worktree: {_text(added)}")
        return SpawnRefused(f"Failed to create worktree: {TRIES} names beginning with {wanted!r} are taken already")

    async def remove(self, worktree: Worktree) -> bool:
        """Take a worktree of ours away; the branch stays. False when it is dirty, locked or not removable: then it stays too."""
        if not os.path.isdir(worktree.path):
            return True
        removed = await self._git.run(worktree.base_path, "worktree", "remove", worktree.path)  # git itself refuses a dirty one
        if removed.code != 0:
            self.log.warn("Worktree {path} stays: {reason}", path=worktree.path, reason=_text(removed))
        return removed.code == 0

    async def is_linked(self, directory: str) -> bool:
        """Whether `directory` lies in a worktree other than the repository's first."""
        own = await self._git.run(directory, "rev-parse", "--absolute-git-dir")
        common = await self._git.run(directory, "rev-parse", "--path-format=absolute", "--git-common-dir")
        return own.code == 0 == common.code and os.path.realpath(own.out.strip()) != os.path.realpath(common.out.strip())


def _text(ran: Ran) -> str:
    return (ran.error or ran.out).strip()
