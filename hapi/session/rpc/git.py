"""Git for the page: status and differences of the session's directory."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

from attrs import define, evolve, field
from twisted.internet.defer import Deferred, DeferredSemaphore, gatherResults
from twisted.internet.threads import deferToThread

from hapi.confined_directory import ConfinedDirectory, PathNotAllowed
from hapi.process.command import CommandResult
from hapi.process.git import Git
from hapi.session.rpc.git_directory import (
    Repository,
    Setting,
    StandIn,
    read_settings,
    stand_in,
)
from hapi.session.rpc.git_lfs import (
    filtered_names,
    modified_blobs,
    pointers,
    unchanged_files,
    without_unchanged,
)

# A directory with the files of a bare repository is none: whoever wrote the files wrote it.
DISCOVERY = ("-c", "safe.bareRepository=explicit")
# Submodules are compared by their commits: git would run another git in each of them, with the
# configuration of the submodule.
SUBMODULES = ("--ignore-submodules=dirty",)
DIFF = ("diff", "--no-ext-diff", "--no-textconv", "--submodule=short", *SUBMODULES)
OPTIONS = ("--no-pager", "--literal-pathspecs")
MAX_LOOKS = 4  # looks at a time; others wait
MAX_FILE_SIZE = 32 << 20  # bytes of a file whose differences are shown
STATUS = ("status", "--porcelain=v2", "--branch", "--untracked-files=all", *SUBMODULES)


@define
class GitMethods:
    """The `git-…` RPC methods. They change nothing: no lock is taken, and no program that the
    repository names is run (`hapi.session.rpc.git_directory`)."""

    _reactor: Any
    _directory: ConfinedDirectory
    _environ: Mapping[str, str]
    _git: Git = field(init=False)
    _slots: DeferredSemaphore = field(init=False)

    def __attrs_post_init__(self) -> None:
        self._git = Git(self._reactor, self._environ)
        self._slots = DeferredSemaphore(MAX_LOOKS)

    async def status(self, params: Any) -> dict[str, Any]:
        """The state of the working tree, as `git status --porcelain=v2` writes it."""
        return await self._answer(params, *STATUS)

    async def numstat(self, params: Any) -> dict[str, Any]:
        """The number of changed lines of each file.

        git names the files from the top of the repository, unlike in the status; `prefix` is the
        way from there to the directory that was asked for, e.g. `src/`, or "".
        """
        return await self._answer(params, *DIFF, *_staged(params), "--numstat")

    async def diff_file(self, params: Any) -> dict[str, Any]:
        """The differences of one file."""
        path = params.get("filePath") if isinstance(params, Mapping) else None
        if not isinstance(path, str) or not path:
            return {"success": False, "error": "filePath is required"}
        path = os.path.normpath(path)  # as git reads it, which follows no links
        return await self._answer(params, *DIFF, *_staged(params), path=path)

    async def _answer(self, params: Any, *command: str, path: str | None = None) -> dict[str, Any]:
        cwd = params.get("cwd") if isinstance(params, Mapping) else None
        cwd = cwd if isinstance(cwd, str) else ""
        try:
            if path is not None:
                with suppress(FileNotFoundError, NotADirectoryError):  # it may have been deleted
                    self._directory.act(os.path.join(cwd, path), _stat)
            async with self._slots:
                with self._directory.pinned(cwd) as directory:
                    result, prefix = await self._run(cwd, directory, command, path)
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
        if "--numstat" in command:
            answer["prefix"] = prefix
        if result.exit_code != 0:
            answer["error"] = result.error or git_error(result.stderr, result.exit_code)
        return answer

    async def _run(
        self, cwd: str, directory: str, command: Sequence[str], path: str | None
    ) -> tuple[CommandResult, str]:
        """Run `command` with a stand-in for the git directory, for one file if `path` is given.

        `directory` is the pinned name of `cwd`. Returns the result and the way from the top of the
        repository to `directory`. Raises PathNotAllowed and OSError.
        """
        found = await self.find(directory)
        if isinstance(found, CommandResult):
            return found, ""
        repository, settings = found
        real = os.path.realpath(directory)
        prefix = os.path.join(os.path.relpath(real, repository.worktree), "")
        with ExitStack() as stack:
            made: StandIn = await deferToThread(
                stack.enter_context, stand_in(repository, settings, self._environ)
            )
            words, worktree = [*OPTIONS, *command], repository.worktree
            if path is not None:
                name = _name_in(repository, real, path)
                words += ["--", name]
                if await deferToThread(self._copy_file, os.path.join(cwd, path), name, made.tree):
                    worktree = str(made.tree)
                directory = worktree
            environ = made.environment(worktree)
            result = await self._git.run(directory, *words, environ=environ)
            uses_lfs = any(key.startswith("filter.lfs.") for key, _ in settings)
            if uses_lfs and _shows_modified(command, result.stdout):
                names = () if path is None else (name,)
                unchanged = await self._unchanged_of_lfs(directory, environ, repository, names)
                result = _without(result, unchanged, names)
            return result, "" if prefix == "./" else prefix

    async def find(self, directory: str) -> CommandResult | tuple[Repository, list[Setting]]:
        """The repository that `directory` is in and all settings of git for it; how git failed if
        there is none. Raises PathNotAllowed."""
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
        repository = _repository(found.stdout, os.path.realpath(directory))
        if repository is None:
            raise PathNotAllowed(found.stdout.splitlines()[0])
        return repository, read_settings(listed.stdout)

    async def look(self, *words: str, paths: Sequence[str] = ()) -> CommandResult:
        """The result of a git command that reads commits of the repository that the session's
        directory is in; of the files at `paths`, which begin at the top of the repository or are
        absolute, if any are given. Raises PathNotAllowed and OSError.
        """
        async with self._slots:
            with self._directory.pinned("") as directory:
                found = await self.find(directory)
                if isinstance(found, CommandResult):
                    return found
                if paths:
                    top = found[0].worktree
                    words = (*words, "--", *(_name_in(found[0], top, path) for path in paths))
                with ExitStack() as stack:
                    made: StandIn = await deferToThread(
                        stack.enter_context, stand_in(*found, self._environ)
                    )
                    environ = made.environment(made.tree)
                    return await self._git.run(str(made.tree), *OPTIONS, *words, environ=environ)

    async def _unchanged_of_lfs(
        self,
        directory: str,
        environ: Mapping[str, str],
        repository: Repository,
        names: Sequence[str],
    ) -> set[str]:
        """The names of the files of Git LFS that seem to be modified and are not, of all or of
        `names`."""

        async def ask(*words: str, about: Iterable[str] = (), end: str = "") -> str:
            text = "".join(f"{line}{end}" for line in about)
            answer = await self._git.run(
                directory, *OPTIONS, *words, environ=environ, stdin=text.encode(errors="replace")
            )
            return answer.stdout if answer.exit_code == 0 else ""

        listing = ("--raw", "-z", "--no-abbrev", "--no-renames", "--", *names)
        blobs = modified_blobs(await ask(*DIFF, *listing))
        if not blobs:
            return set()
        attributes = await ask("check-attr", "-z", "--stdin", "filter", about=blobs, end="\0")
        wanted = {name: blobs[name] for name in filtered_names(attributes) if name in blobs}
        if not wanted:
            return set()
        known = pointers(await ask("cat-file", "--batch", about=wanted.values(), end="\n"))
        files = {name: known[blob] for name, blob in wanted.items() if blob in known}
        return await deferToThread(unchanged_files, self._directory, repository.worktree, files)

    def _copy_file(self, path: str, name: str, tree: Path) -> bool:
        """Copy the file at `path`, a link as a link, to the place `name` in `tree`, with the
        attributes on its way: git opens files by their names, and a link could take the place of
        one. False when it is a directory, which is not copied. Raises PathNotAllowed and OSError.
        """
        try:
            facts = self._directory.act(path, _stat)
        except (FileNotFoundError, NotADirectoryError):
            return True  # the file was deleted
        if stat.S_ISDIR(facts.st_mode):
            return False
        copy = tree / name
        copy.parent.mkdir(parents=True, exist_ok=True)
        if stat.S_ISLNK(facts.st_mode):
            copy.symlink_to(self._directory.act(path, _read_link))
        else:
            self._copy(path, copy)
        for parent in copy.relative_to(tree).parents:
            depth = len(Path(name).parts) - len(parent.parts) - 1
            attributes = os.path.join(os.path.dirname(path), *[".."] * depth, ".gitattributes")
            with suppress(OSError, PathNotAllowed):
                self._copy(attributes, tree / parent / ".gitattributes")
        return True

    def _copy(self, path: str, copy: Path) -> None:
        with open(path, "rb", opener=self._directory.open) as source:
            facts = os.fstat(source.fileno())
            if not stat.S_ISREG(facts.st_mode):
                raise OSError("Not a file")
            if facts.st_size > MAX_FILE_SIZE:
                raise OSError(f"File is too large (the limit is {MAX_FILE_SIZE} bytes)")
            copy.write_bytes(source.read(MAX_FILE_SIZE))
        copy.chmod(0o700 if facts.st_mode & stat.S_IXUSR else 0o600)


def _stat(name: str, parent: int) -> os.stat_result:
    return os.stat(name, dir_fd=parent, follow_symlinks=False)


def _read_link(name: str, parent: int) -> str:
    return os.readlink(name, dir_fd=parent)


def _name_in(repository: Repository, cwd: str, path: str) -> str:
    """The name of `path`, which is relative to `cwd` or absolute, in the repository. Raises
    PathNotAllowed."""
    try:
        is_possible = b"\0" not in os.fsencode(path)
    except UnicodeEncodeError:  # no file can be called so
        is_possible = False
    if not is_possible:
        raise PathNotAllowed(path.replace("\0", "?"))
    place = os.path.join(cwd, path)
    if os.path.isabs(path):  # it may lead through links above the repository
        place = os.path.join(os.path.realpath(os.path.dirname(path)), os.path.basename(path))
    name = os.path.relpath(place, repository.worktree)
    if name.split(os.sep)[0] == "..":
        raise PathNotAllowed(path)
    return name


def _repository(found: str, directory: str) -> Repository | None:
    """The repository that `git rev-parse` found for `directory`; None when its working tree is
    elsewhere (`core.worktree`)."""
    worktree, own, common = found.splitlines()[:3]
    if os.path.commonpath([worktree, directory]) != worktree:
        return None
    return Repository(worktree, own, os.path.join(directory, common))


def _shows_modified(command: Sequence[str], output: str) -> bool:
    """Whether the output of `command` shows a file as modified in the working tree."""
    if command[0] == "status":
        return re.search(r"^1 .M ", output, re.MULTILINE) is not None
    return bool(output) and "--cached" not in command


def _without(result: CommandResult, unchanged: set[str], names: Sequence[str]) -> CommandResult:
    """The result without files that are unchanged; `names`: of which it is the difference."""
    if names:
        return evolve(result, stdout="") if unchanged.issuperset(names) else result
    lines = result.stdout.splitlines(keepends=True)
    return evolve(result, stdout=without_unchanged(lines, unchanged))


def git_error(stderr: str, exit_code: int | None) -> str:
    if message := stderr.strip()[:2000]:
        return message
    return "git was killed" if exit_code is None else f"git exited with code {exit_code}"


def _staged(params: Any) -> list[str]:
    return ["--cached"] if isinstance(params, Mapping) and params.get("staged") is True else []
