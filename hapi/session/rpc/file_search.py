"""File search by name for the page's `@` completion, by ripgrep or by walking the directory."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from attrs import define
from twisted.internet.threads import deferToThread

from hapi.confined_directory import ConfinedDirectory, PathNotAllowed
from hapi.process.command import run_command

MAX_FILES, MAX_RESULTS = 200_000, 200  # files looked at; files answered
SKIPPED_DIRECTORIES = frozenset(
    {".git", "node_modules", ".venv", "__pycache__", ".mypy_cache", ".cache"}
)
Json = dict[str, Any]


@define
class FileSearch:
    """The `ripgrep` RPC for file names. Its `args` are ignored: ripgrep can be told to run
    programs."""

    _reactor: Any
    _directory: ConfinedDirectory
    _environ: Mapping[str, str]

    async def ripgrep(self, params: Any) -> Json:
        asked = params.get("fileSearch") if isinstance(params, Mapping) else None
        if not isinstance(asked, Mapping):
            return {"success": False, "error": "Only searches for files are served"}
        query, limit, cwd = asked.get("query"), asked.get("limit"), params.get("cwd")
        query, cwd = (text if isinstance(text, str) else "" for text in (query, cwd))
        limit = min(limit, MAX_RESULTS) if isinstance(limit, int) and limit > 0 else MAX_RESULTS
        try:
            found = await self._find(cwd, query, limit)
        except PathNotAllowed as problem:
            return {"success": False, "error": str(problem)}
        except OSError as error:
            return {"success": False, "error": error.strerror or str(error)}
        return {"success": True, "stdout": "\n".join(found), "stderr": "", "exitCode": 0}

    async def _find(self, cwd: str, query: str, limit: int) -> list[str]:
        if not shutil.which("rg", path=self._environ.get("PATH")):
            return await deferToThread(self._walk, cwd, query, limit)
        command = ["rg", "--no-config", "--files", "--hidden", "-g", "!.git"]
        with self._directory.pinned(cwd) as directory:
            listed = await run_command(self._reactor, command, self._environ, directory)
        names = ranked(listed.stdout.splitlines(), query, limit)
        return [name for name in names if self._is_inside(cwd, name)]

    def _walk(self, cwd: str, query: str, limit: int) -> list[str]:
        descriptor = self._directory.open(cwd, os.O_RDONLY | os.O_DIRECTORY)
        try:
            return ranked(files_below(descriptor), query, limit)
        finally:
            os.close(descriptor)

    def _is_inside(self, cwd: str, name: str) -> bool:
        """Whether the file exists inside: ripgrep opens directories by their names, and a link may
        have taken the place of one."""
        try:
            parent = os.path.join(cwd, os.path.dirname(name))
            os.close(self._directory.open(parent, os.O_RDONLY | os.O_DIRECTORY))
        except (OSError, PathNotAllowed):
            return False
        return True


def ranked(paths: Iterable[str], query: str, limit: int) -> list[str]:
    """The paths that contain the letters of `query` in order, the closest matches first."""
    wanted = query.lower()
    letters = re.compile(".*?".join(map(re.escape, wanted)))
    found = []
    for path in paths:
        match = letters.search(path.lower())
        if match is not None:
            found.append(
                (
                    wanted not in os.path.basename(path.rstrip("/")).lower(),
                    match.end() - match.start(),
                    len(path),
                    path,
                )
            )
    return [path for *_, path in sorted(found)[:limit]]


def files_below(directory: int) -> Iterator[str]:
    """Relative paths of the files below the open `directory`, without directories of tools and
    caches. No symbolic link is followed, also if it takes the place of a directory meanwhile."""
    seen = 0
    for place, names, files, _ in os.fwalk(".", dir_fd=directory):
        names[:] = sorted(name for name in names if name not in SKIPPED_DIRECTORIES)
        for name in sorted(files):
            seen += 1
            if seen > MAX_FILES:
                return
            yield os.path.normpath(os.path.join(place, name))
