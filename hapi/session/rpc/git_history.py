"""The history of the branch that a session's directory is on: commits, and what each has changed.

As for the changes of the working tree, no program that the repository names is run.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from typing import Any, TypeVar

import msgspec
from attrs import define

from hapi.confined_directory import PathNotAllowed
from hapi.process.command import CommandResult
from hapi.protocol.work.git import (
    Commit,
    CommitFiles,
    CommitLog,
    CommitRequest,
    CommittedFile,
    LogRequest,
)
from hapi.session.rpc.git import GitMethods, git_error

UNIT = "\x1f"  # between the fields of a commit
FORMAT = UNIT.join(("%H", "%P", "%an", "%aI", "%D", "%s"))
SHOW = ("show", "-m", "--first-parent", "--no-ext-diff", "--no-textconv", "--submodule=short")
NO_COMMIT = "does not have any commits yet"

T = TypeVar("T")


class _GitFailed(Exception):
    """The text is what git said."""


@define
class GitHistory:
    """The `git-log`, `git-commit-files` and `git-commit-diff` RPCs."""

    _methods: GitMethods

    async def log(self, params: Any) -> Any:
        return await _answered(params, LogRequest, self._log)

    async def files(self, params: Any) -> Any:
        return await _answered(params, CommitRequest, self._files)

    async def diff(self, params: Any) -> Any:
        return await _answered(params, CommitRequest, self._diff)

    async def _log(self, asked: LogRequest) -> CommitLog:
        words = ["log", "-z", "--no-mailmap", f"--format={FORMAT}"]
        words += [f"--max-count={asked.limit + 1}", f"--skip={asked.skip}"]
        paths = [asked.path] if asked.path else []
        result = await self._methods.look(*words, paths=paths)
        if result.exit_code != 0 and NO_COMMIT in result.stderr:
            return CommitLog([], False)
        commits = list(read_log(_output(result)))
        return CommitLog(commits[: asked.limit], len(commits) > asked.limit)

    async def _files(self, asked: CommitRequest) -> CommitFiles:
        fields = f"--format=%an{UNIT}%aI{UNIT}%B%x00"
        words = (fields, "--no-mailmap", "--raw", "--numstat", "-z", "-M", asked.commit, "--")
        head, _, changes = _output(await self._methods.look(*SHOW, *words)).partition("\0")
        author, date, message = head.split(UNIT, 2)
        return CommitFiles(message.strip(), read_changes(changes), author, date)

    async def _diff(self, asked: CommitRequest) -> dict[str, Any]:
        if not asked.path:
            raise _GitFailed("path is required")
        names = [name for name in (asked.origin, asked.path) if name]
        words = (*SHOW, "--format=", "--patch", "-M", asked.commit)
        result = await self._methods.look(*words, paths=names)
        return {"success": True, "stdout": _output(result)}


async def _answered(params: Any, kind: type[T], act: Callable[[T], Awaitable[Any]]) -> Any:
    try:
        return await act(msgspec.convert(params, kind))
    except (msgspec.ValidationError, PathNotAllowed, _GitFailed) as error:
        return {"success": False, "error": str(error)}
    except OSError as error:
        return {"success": False, "error": error.strerror or str(error)}


def _output(result: CommandResult) -> str:
    if result.exit_code != 0:
        raise _GitFailed(result.error or git_error(result.stderr, result.exit_code))
    return result.stdout


def read_log(output: str) -> Iterator[Commit]:
    """The commits in the output of `git log -z` with FORMAT."""
    for record in output.split("\0"):
        fields = record.split(UNIT, 5)
        if len(fields) == 6:
            commit, parents, author, date, refs, subject = fields
            names = [name for name in refs.split(", ") if name]
            yield Commit(commit, parents.split(), author, date, subject, names)


def read_changes(output: str) -> list[CommittedFile]:
    """The files in the output of `git show --raw --numstat -z`, which has both lists in one."""
    tokens = iter(output.split("\0"))
    statuses: dict[str, str] = {}
    files: list[CommittedFile] = []
    for token in tokens:
        head = token.lstrip("\n")
        if head.startswith(":"):
            status = head.rsplit(" ", 1)[-1][:1]
            path = next(tokens, "")
            if status in ("R", "C"):
                path = next(tokens, "")
            statuses[path] = status
        elif head.count("\t") >= 2:
            added, removed, path = head.split("\t", 2)
            origin = None
            if not path:
                origin, path = next(tokens, ""), next(tokens, "")
            status = statuses.get(path, "M")
            files.append(CommittedFile(path, status, _count(added), _count(removed), origin))
    return files


def _count(text: str) -> int | None:
    return int(text) if text.isdigit() else None
