"""Git for the page: status and differences of the session's directory."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from attrs import define, field

from hapi.process.git import Git
from hapi.session.rpc.paths import AllowedPaths, PathNotAllowed

# No helper that the repository's configuration names runs, and paths are written as they are.
SAFE_CONFIG = ("-c", "core.fsmonitor=false", "-c", "core.quotePath=false")


@define
class GitMethods:
    """The `git-…` RPC methods. They change nothing: no lock is taken, and no hook and no helper
    of the repository runs."""

    _reactor: Any
    _paths: AllowedPaths
    _environ: Mapping[str, str]
    _git: Git = field(init=False)

    def __attrs_post_init__(self) -> None:
        self._git = Git(self._reactor, self._environ)

    async def status(self, params: Any) -> dict[str, Any]:
        """The state of the working tree, as `git status --porcelain=v2` writes it."""
        return await self._run(
            params, "status", "--porcelain=v2", "--branch", "--untracked-files=all"
        )

    async def numstat(self, params: Any) -> dict[str, Any]:
        """The number of changed lines of each file."""
        return await self._run(params, "diff", *_safe_diff(params), "--numstat")

    async def diff_file(self, params: Any) -> dict[str, Any]:
        """The differences of one file."""
        path = params.get("filePath") if isinstance(params, Mapping) else None
        if not isinstance(path, str) or not path:
            return {"success": False, "error": "filePath is required"}
        try:
            self._paths.resolve(path)
        except PathNotAllowed as problem:
            return {"success": False, "error": str(problem)}
        return await self._run(params, "diff", *_safe_diff(params), "--", path)

    async def _run(self, params: Any, *arguments: str) -> dict[str, Any]:
        cwd = params.get("cwd") if isinstance(params, Mapping) else None
        try:
            place = self._paths.resolve(cwd if isinstance(cwd, str) else "")
        except PathNotAllowed as problem:
            return {"success": False, "error": str(problem)}
        if not Path(place).is_dir():
            return {"success": False, "error": f"{place} is not a directory"}
        result = await self._git.run(str(place), *SAFE_CONFIG, *arguments)
        answer: dict[str, Any] = {
            "success": result.exit_code == 0,
            "stdout": result.stdout,
            "stderr": result.stderr,
            "exitCode": -1 if result.exit_code is None else result.exit_code,
        }
        if result.exit_code != 0:
            answer["error"] = result.error or _git_error(result.stderr, result.exit_code)
        return answer


def _git_error(stderr: str, exit_code: int | None) -> str:
    if message := stderr.strip()[:2000]:
        return message
    return "git was killed" if exit_code is None else f"git exited with code {exit_code}"


def _safe_diff(params: Any) -> list[str]:
    staged = isinstance(params, Mapping) and params.get("staged") is True
    return ["--no-ext-diff", "--no-textconv", *(["--cached"] if staged else [])]
