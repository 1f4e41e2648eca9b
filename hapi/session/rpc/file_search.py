"""File search by name for the page's `@` completion, by ripgrep or by walking the directory."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from attrs import define
from twisted.internet.threads import deferToThread

from hapi.process.command import run_command
from hapi.session.rpc.paths import AllowedPaths, PathNotAllowed

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
    _paths: AllowedPaths
    _environ: Mapping[str, str]

    async def ripgrep(self, params: Any) -> Json:
        asked = params.get("fileSearch") if isinstance(params, Mapping) else None
        if not isinstance(asked, Mapping):
            return {"success": False, "error": "Only searches for files are served"}
        query, limit, cwd = asked.get("query"), asked.get("limit"), params.get("cwd")
        limit = min(limit, MAX_RESULTS) if isinstance(limit, int) and limit > 0 else MAX_RESULTS
        try:
            root = self._paths.resolve(cwd if isinstance(cwd, str) else "")
        except PathNotAllowed as problem:
            return {"success": False, "error": str(problem)}
        if shutil.which("rg", path=self._environ.get("PATH")):
            command = ["rg", "--no-config", "--files", "--hidden", "-g", "!.git"]
            listed = await run_command(self._reactor, command, self._environ, str(root))
            names = listed.stdout.splitlines()
            found = ranked(names, query if isinstance(query, str) else "", limit)
        else:
            found = await deferToThread(
                lambda: ranked(files_below(root), query if isinstance(query, str) else "", limit)
            )
        return {"success": True, "stdout": "\n".join(found), "stderr": "", "exitCode": 0}


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
                    wanted not in os.path.basename(path).lower(),
                    match.end() - match.start(),
                    len(path),
                    path,
                )
            )
    return [path for *_, path in sorted(found)[:limit]]


def files_below(root: Path) -> Iterator[str]:
    """Relative paths of the files below `root`, without directories of tools and caches."""
    seen = 0
    for directory, names, files in os.walk(root):
        names[:] = sorted(name for name in names if name not in SKIPPED_DIRECTORIES)
        for name in sorted(files):
            seen += 1
            if seen > MAX_FILES:
                return
            yield os.path.relpath(os.path.join(directory, name), root)
