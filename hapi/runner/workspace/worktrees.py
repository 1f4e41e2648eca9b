"""Git worktrees for sessions: made beside the repository, removed only when ours, clean and left by their session."""

from __future__ import annotations

import os
import re
import secrets
import time
from collections.abc import Callable

from attrs import define, field
from twisted.logger import Logger

from hapi.protocol.spawn import SpawnRefused, Worktree
from hapi.runner.workspace.git import Git, Ran

TRIES = 5
LOOKS = 10  # at a worktree that git still makes, for a runner that is gone
INITIALIZING = "lock reason: initializing"  # git's own lock meanwhile
LONGEST_NAME = 64


def slug(name: str) -> str:
    """`name` as a file and branch name: a-z, 0-9 and dashes; "" when nothing is left."""
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")[:LONGEST_NAME].strip("-")


@define
class Worktrees:
    _git: Git
    _now: Callable[[], float] = time.time
    _random_hex: Callable[[int], str] = secrets.token_hex
    _chosen: set[str] = field(factory=set)  # paths that are spoken for
    log = Logger()

    async def choose(self, directory: str, name: str | None) -> Worktree | SpawnRefused:
        """What a new worktree of the repository that holds `directory` is to be. Its path is kept for it until `settled`."""
        if not os.path.isdir(directory):
            return SpawnRefused(
                f"Worktree sessions require an existing Git repository. Directory not found: {directory}"
            )
        top = await self._git.run(directory, "rev-parse", "--show-toplevel")
        root = top.out.rstrip("\n")
        if top.code != 0 or not root:
            return SpawnRefused(
                f"Worktree sessions require a Git repository. {_text(top)}".rstrip()
            )
        wanted = (
            slug(name or "")
            or f"{time.strftime('%m%d', time.localtime(self._now()))}-{self._random_hex(2)}"
        )
        for attempt in range(TRIES):
            chosen = wanted if attempt == 0 else f"{wanted}-{self._random_hex(2)}"
            path, branch = os.path.join(f"{root}-worktrees", chosen), f"hapi-{chosen}"
            if path in self._chosen or os.path.lexists(path):
                continue
            self._chosen.add(path)
            if (
                await self._git.run(
                    root, "rev-parse", "--verify", "--quiet", f"refs/heads/{branch}"
                )
            ).code != 0:
                return Worktree(root, branch, chosen, path, int(self._now() * 1000))
            self._chosen.discard(path)
        return SpawnRefused(
            f"Failed to create worktree: {TRIES} names beginning with {wanted!r} are taken already"
        )

    def settled(self, worktree: Worktree) -> None:
        """It is there, or is not going to be."""
        self._chosen.discard(worktree.path)

    async def add(self, worktree: Worktree) -> SpawnRefused | None:
        """Make what was chosen, on a new branch from HEAD."""
        root, path = worktree.base_path, worktree.path
        parent = os.path.dirname(path)
        try:
            os.makedirs(parent, exist_ok=True)
        except OSError as error:
            return SpawnRefused(f"Failed to create worktree: {parent}: {error.strerror}")
        added = await self._git.run(root, "worktree", "add", "-b", worktree.branch, path)
        if added.code == 0:
            return None
        if added.code is None:  # ended in the middle: nothing half made stays
            await self._git.run(root, "worktree", "remove", "--force", "--force", path)
            await self._git.run(root, "worktree", "prune")
        return SpawnRefused(f"Failed to create worktree: {_text(added)}")

    async def remove(self, worktree: Worktree) -> bool:
        """Take a worktree of ours away; the branch stays. False when it is dirty, locked or not removable: then it stays too."""
        if not os.path.isdir(worktree.path):
            return True
        on = await self._git.run(worktree.path, "symbolic-ref", "--short", "HEAD")
        if (
            on.out.strip() != worktree.branch
        ):  # chosen by a runner that was killed, and then made by somebody else
            self.log.warn(
                "Worktree {path} stays: it is not on {branch}",
                path=worktree.path,
                branch=worktree.branch,
            )
            return False
        for _ in range(LOOKS):
            removed = await self._git.run(
                worktree.base_path, "worktree", "remove", worktree.path
            )  # it refuses a dirty one
            if INITIALIZING not in removed.error:
                break
            await self._git.pause()
        if removed.code != 0:
            self.log.warn(
                "Worktree {path} stays: {reason}", path=worktree.path, reason=_text(removed)
            )
        return removed.code == 0

    async def is_linked(self, directory: str) -> bool:
        """Whether `directory` lies in a worktree other than the repository's first."""
        own = await self._git.run(directory, "rev-parse", "--absolute-git-dir")
        common = await self._git.run(
            directory, "rev-parse", "--path-format=absolute", "--git-common-dir"
        )
        return own.code == 0 == common.code and os.path.realpath(
            own.out.strip()
        ) != os.path.realpath(common.out.strip())


def _text(ran: Ran) -> str:
    return (ran.error or ran.out).strip()
