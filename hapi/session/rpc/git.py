"""Git for the page: status and differences of the session's directory."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from typing import Any

from attrs import define, field
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.threads import deferToThread

from hapi.confined_directory import ConfinedDirectory, PathNotAllowed
from hapi.process.command import CommandResult
from hapi.process.git import Git
from hapi.session.rpc.git_directory import Repository, read_settings, stand_in

# A directory with the files of a bare repository is none: whoever wrote the files wrote it.
DISCOVERY = ("-c", "safe.bareRepository=explicit")
# Submodules are compared by their commits: git would run another git in each of them, with the
# configuration of the submodule.
SUBMODULES = ("--ignore-submodules=dirty",)
DIFF = ("diff", "--no-ext-diff", "--no-textconv", "--submodule=short", *SUBMODULES)
STATUS = ("status", "--porcelain=v2", "--branch", "--untracked-files=all", *SUBMODULES)


@define
class GitMethods:
    """The `git-…` RPC methods. They change nothing: no lock is taken, and no program that the
    repository names is run (`hapi.session.rpc.git_directory`)."""

    _reactor: Any
    _directory: ConfinedDirectory
    _environ: Mapping[str, str]
    _git: Git = field(init=False)

    def __attrs_post_init__(self) -> None:
        self._git = Git(self._reactor, self._environ)

    async def status(self, params: Any) -> dict[str, Any]:
        """The state of the working tree, as `git status --porcelain=v2` writes it."""
        return await self._answer(params, *STATUS)

    async def numstat(self, params: Any) -> dict[str, Any]:
        """The number of changed lines of each file."""
        return await self._answer(params, *DIFF, *_staged(params), "--numstat")

    async def diff_file(self, params: Any) -> dict[str, Any]:
        """The differences of one file."""
        path = params.get("filePath") if isinstance(params, Mapping) else None
        if not isinstance(path, str) or not path:
            return {"success": False, "error": "filePath is required"}
        path = os.path.normpath(path)  # as git reads it, which follows no links
        try:
            self._directory.stat(path)
        except PathNotAllowed as problem:
            return {"success": False, "error": str(problem)}
        except OSError:  # the file may have been deleted
            pass
        return await self._answer(params, *DIFF, *_staged(params), "--", path)

    async def _answer(self, params: Any, *command: str) -> dict[str, Any]:
        cwd = params.get("cwd") if isinstance(params, Mapping) else None
        try:
            with self._directory.pinned(cwd if isinstance(cwd, str) else "") as directory:
                result = await self._run(directory, command)
        except PathNotAllowed as problem:
            return {"success": False, "error": str(problem)}
        except OSError as error:
            return {"success": False, "error": error.strerror or str(error)}
        answer: dict[str, Any] = {
            "success": result.exit_code == 0,
            "stdout": result.stdout,
            "stderr": result.stderr,
            "exitCode": -1 if result.exit_code is None else result.exit_code,
        }
        if result.exit_code != 0:
            answer["error"] = result.error or _git_error(result.stderr, result.exit_code)
        return answer

    async def _run(self, directory: str, command: Sequence[str]) -> CommandResult:
        """Run `command` with a stand-in for the git directory. Raises PathNotAllowed and OSError"""
        asked = (
            ("rev-parse", "--show-toplevel", "--absolute-git-dir", "--git-common-dir"),
            ("config", "--list", "-z"),
        )
        found, listed = await gatherResults(
            [
                Deferred.fromCoroutine(self._git.run(directory, *DISCOVERY, *words))
                for words in asked
            ]
        )
        if found.exit_code != 0:
            return found
        if listed.exit_code != 0:
            return listed
        real = os.path.realpath(directory)
        repository = _repository(found.stdout, real)
        if repository is None:
            raise PathNotAllowed(found.stdout.splitlines()[0])
        with ExitStack() as stack:
            environ = await deferToThread(
                stack.enter_context,
                stand_in(repository, read_settings(listed.stdout), self._environ),
            )
            return await self._git.run(
                directory, "--no-pager", "--literal-pathspecs", *command, environ=environ
            )


def _repository(found: str, directory: str) -> Repository | None:
    """The repository that `git rev-parse` found for `directory`; None when its working tree is
    elsewhere (`core.worktree`)."""
    worktree, own, common = found.splitlines()[:3]
    if os.path.commonpath([worktree, directory]) != worktree:
        return None
    return Repository(worktree, own, os.path.join(directory, common))


def _git_error(stderr: str, exit_code: int | None) -> str:
    if message := stderr.strip()[:2000]:
        return message
    return "git was killed" if exit_code is None else f"git exited with code {exit_code}"


def _staged(params: Any) -> list[str]:
    return ["--cached"] if isinstance(params, Mapping) and params.get("staged") is True else []
