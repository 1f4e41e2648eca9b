"""What a person may do to a session's repository from the page: stage, discard, commit, push.

Only where the machine's settings allow it (`--git-actions`), and only with files below the
session's directory. As when changes are read, git gets a git directory of its own
(`hapi.session.rpc.git_directory`), so that no program runs that the repository names: no hook, no
filter, no helper. What would need one is refused. The index that git leaves there takes the place
of the repository's own, which is locked meanwhile as git itself does it: the new one is written to
`index.lock` and then renamed. Pushing reads the user's own configuration as well, for credentials.

Actions on the index take turns. A push leaves the index alone and sends the branch as it is when it
begins, so that files are staged and committed meanwhile, as git allows it.
"""

from __future__ import annotations

import os
import re
import shutil
import stat
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from typing import Any, TypeVar

import msgspec
from attrs import define, field
from twisted.internet.defer import DeferredLock
from twisted.internet.threads import deferToThread

from hapi.confined_directory import ConfinedDirectory, PathNotAllowed
from hapi.process.command import CommandResult
from hapi.process.git import Git
from hapi.protocol.work.git import (
    CommitChanges,
    Committed,
    DiscardChanges,
    GitActionsInfo,
    Nothing,
    Pushed,
    StageChanges,
)
from hapi.session.rpc.git import OPTIONS, GitMethods, git_error
from hapi.session.rpc.git_directory import Repository, Setting, StandIn, stand_in

PUSH_TIMEOUT = 90.0  # seconds; a hub waits 120 for the answer
PROTOCOLS = "https:http:ssh:git"  # a local path would run the hooks of another repository
# Nothing that git does by itself afterwards may happen in the stand-in.
PLAIN = ("core.splitIndex=false", "gc.auto=0", "maintenance.auto=false", "user.useConfigOnly=true")
UNFINISHED = ("MERGE_HEAD", "CHERRY_PICK_HEAD", "REVERT_HEAD", "rebase-merge", "rebase-apply")
OFF = (
    "Git actions are turned off on this machine. Start its runner with --git-actions yes to allow "
    "them."
)
_PASSWORD = re.compile(r"(?<=://)[^/@]*@")

PUSHING = f"A push is under way already. It ends within {PUSH_TIMEOUT:g} seconds."

T = TypeVar("T")


class Refused(Exception):
    """An action that is not carried out. The text is for people."""


@define
class GitActions:
    """The RPC methods that change a repository; all refuse unless `allowed`."""

    _reactor: Any
    _directory: ConfinedDirectory
    _environ: Mapping[str, str]
    _methods: GitMethods
    _allowed: bool
    _lock: DeferredLock = field(factory=DeferredLock)  # of the index
    _is_pushing: bool = False

    async def info(self, params: Any) -> Any:
        """Whether actions are possible, and where a push would go."""
        if not self._allowed:
            return GitActionsInfo(False, OFF)
        return await self._answered(params, Nothing, self._info)

    async def stage(self, params: Any) -> Any:
        return await self._act(params, StageChanges, self._stage)

    async def discard(self, params: Any) -> Any:
        return await self._act(params, DiscardChanges, self._discard)

    async def commit(self, params: Any) -> Any:
        return await self._act(params, CommitChanges, self._commit)

    async def push(self, params: Any) -> Any:
        """Refused at once while another push runs; the network may take its time."""
        if not self._allowed:
            return {"success": False, "error": OFF}
        if self._is_pushing:
            return {"success": False, "error": PUSHING}
        self._is_pushing = True
        try:
            return await self._answered(params, Nothing, self._push)
        finally:
            self._is_pushing = False

    async def _act(self, params: Any, kind: type[T], act: Callable[[T], Awaitable[Any]]) -> Any:
        if not self._allowed:
            return {"success": False, "error": OFF}
        async with self._lock:
            return await self._answered(params, kind, act)

    async def _answered(
        self, params: Any, kind: type[T], act: Callable[[T], Awaitable[Any]]
    ) -> Any:
        try:
            return await act(msgspec.convert({} if params is None else params, kind))
        except (msgspec.ValidationError, PathNotAllowed, Refused) as error:
            return {"success": False, "error": str(error)}
        except OSError as error:
            return {"success": False, "error": error.strerror or str(error)}

    async def _info(self, _: Nothing) -> GitActionsInfo:
        repository, settings = await self._repository()
        branch = await deferToThread(_branch, repository)
        if branch is None:
            return GitActionsInfo(True)
        try:
            remote, url, _target = _push_target(settings, branch)
        except Refused:
            return GitActionsInfo(True, branch=branch)
        return GitActionsInfo(True, None, branch, remote, _PASSWORD.sub("", url))

    async def _repository(self) -> tuple[Repository, list[Setting]]:
        with self._directory.pinned("") as directory:
            found = await self._methods.find(directory)
        if isinstance(found, CommandResult):
            raise Refused(found.error or git_error(found.stderr, found.exit_code))
        return found

    def _names(self, repository: Repository, paths: Iterable[str]) -> dict[str, str]:
        """By its name in the repository, each path below the session's directory. Raises Refused
        and PathNotAllowed."""
        found = {}
        for path in paths:
            plain = os.path.normpath(path)
            if os.path.isabs(plain) or plain.split(os.sep)[0] == ".." or "\0" in plain:
                raise PathNotAllowed(path)
            if plain == "." or path.endswith("/"):
                raise Refused(f"{path} is not a file")
            if ".git" in plain.casefold().split(os.sep):
                raise Refused(f"{path} is a part of git itself")
            place = os.path.join(self._directory.root, plain)
            found[os.path.relpath(place, repository.worktree)] = plain
        return found

    @contextmanager
    def _index(self, repository: Repository, settings: list[Setting]) -> Iterator[StandIn]:
        """A stand-in whose index becomes the repository's own at the end of the `with` block,
        unless that is left by an exception."""
        lock = os.path.join(repository.own, "index.lock")
        try:
            descriptor = os.open(lock, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
        except FileExistsError:
            raise Refused(
                "Another git command is working on this repository (index.lock exists). "
                "Try again in a moment."
            ) from None
        try:
            with (
                os.fdopen(descriptor, "wb") as target,
                stand_in(repository, settings, self._environ) as made,
            ):
                logs = os.path.join(repository.common, "logs")
                if repository.own == repository.common and os.path.isdir(logs):
                    (made.directory / "logs").symlink_to(logs)
                yield made
                # There is none if nothing was ever added.
                with suppress(FileNotFoundError), open(made.directory / "index", "rb") as source:
                    shutil.copyfileobj(source, target)
                is_written = target.tell() > 0
            if is_written:
                os.rename(lock, os.path.join(repository.own, "index"))
        finally:
            with suppress(FileNotFoundError):
                os.unlink(lock)

    async def _run(
        self,
        repository: Repository,
        made: StandIn,
        *words: str,
        names: Sequence[str] = (),
        settings: Sequence[str] = (),
    ) -> str:
        """The output of a git command about `names`. Raises Refused."""
        stdin = b""
        if names:
            words += ("--pathspec-from-file=-", "--pathspec-file-nul")
            stdin = "".join(f"{name}\0" for name in names).encode(errors="surrogateescape")
        return await self._git(repository, made, *words, stdin=stdin, settings=settings)

    async def _git(
        self,
        repository: Repository,
        made: StandIn,
        *words: str,
        stdin: bytes = b"",
        settings: Sequence[str] = (),
    ) -> str:
        given = [part for setting in (*PLAIN, *settings) for part in ("-c", setting)]
        environ = made.environment(repository.worktree)
        git = Git(self._reactor, self._environ)
        result = await git.run(
            repository.worktree, *OPTIONS, *given, *words, environ=environ, stdin=stdin
        )
        if result.exit_code != 0:
            raise Refused(result.reason()[:2000] or git_error("", result.exit_code))
        return result.stdout

    async def _refuse_filters(
        self, repository: Repository, made: StandIn, names: Iterable[str]
    ) -> None:
        """Refuse files whose content a program converts, such as those of Git LFS."""
        listed = "".join(f"{name}\0" for name in names).encode(errors="surrogateescape")
        words = ("check-attr", "-z", "--stdin", "filter")
        fields = (await self._git(repository, made, *words, stdin=listed)).split("\0")
        for name, value in zip(fields[::3], fields[2::3], strict=False):
            if value not in ("unspecified", "unset"):
                raise Refused(
                    f"{name} is converted by the program of the filter {value}, which is not run "
                    "here. Use a terminal for it."
                )

    async def _stage(self, asked: StageChanges) -> dict[str, Any]:
        repository, settings = await self._repository()
        names = list(self._names(repository, asked.paths))
        with ExitStack() as stack:
            made = stack.enter_context(self._index(repository, settings))
            if asked.staged:
                await self._refuse_filters(repository, made, names)
                await self._run(repository, made, "add", "--all", names=names)
            else:
                await self._run(repository, made, "reset", "--quiet", names=names)
        return {"success": True}

    async def _discard(self, asked: DiscardChanges) -> dict[str, Any]:
        """Files that git knows get the content of the index; untracked ones are deleted.

        Files that are in no list of changes, such as ignored ones, are refused before anything is
        done.
        """
        repository, settings = await self._repository()
        names = self._names(repository, asked.paths)
        with ExitStack() as stack:
            made = stack.enter_context(self._index(repository, settings))
            listed = await self._git(repository, made, "ls-files", "-z", "--", *names)
            known = [name for name in dict.fromkeys(listed.split("\0")) if name in names]
            others = await self._git(
                repository, made, "ls-files", "-z", "--others", "--exclude-standard", "--", *names
            )
            changes = {*known, *others.split("\0")}
            for name, path in names.items():
                if name not in changes and os.path.lexists(os.path.join(repository.worktree, name)):
                    raise Refused(f"{path} is not among the changes, so it is not deleted")
            if known:
                await self._refuse_filters(repository, made, known)
                await self._run(repository, made, "checkout", "--quiet", names=known)
        for name, path in names.items():
            if name not in known:
                await deferToThread(self._directory.act, path, _delete)
        return {"success": True}

    async def _commit(self, asked: CommitChanges) -> Committed:
        repository, settings = await self._repository()
        values = dict(settings)  # the last one of a key holds
        for name in UNFINISHED:
            if os.path.lexists(os.path.join(repository.own, name)):
                raise Refused(
                    "A merge, rebase or the like is under way in this repository. Finish it in a "
                    "terminal."
                )
        if await deferToThread(_branch, repository) is None:
            raise Refused("No branch is checked out, so there is nothing to commit to.")
        if values.get("commit.gpgsign", "false") not in ("false", "no", "off", "0"):
            raise Refused("Commits of this repository are signed, which is not done here.")
        author = [values.get("user.name"), values.get("user.email")]
        if not all(author):
            raise Refused("Git does not know your name and address here (user.name, user.email).")
        identity = (f"user.name={author[0]}", f"user.email={author[1]}")
        with ExitStack() as stack:
            made = stack.enter_context(self._index(repository, settings))
            words = ("commit", "--quiet", "--no-verify", "--file=-", "--cleanup=whitespace")
            message = asked.message.encode(errors="replace")
            await self._git(repository, made, *words, stdin=message, settings=identity)
            commit = await self._git(repository, made, "rev-parse", "HEAD")
        return Committed(commit.strip())

    async def _push(self, _: Nothing) -> Pushed:
        repository, settings = await self._repository()
        branch = await deferToThread(_branch, repository)
        if branch is None:
            raise Refused("No branch is checked out, so there is nothing to push.")
        remote, url, target = _push_target(settings, branch)
        with ExitStack() as stack:
            made = stack.enter_context(stand_in(repository, settings, self._environ))
            environ = {
                **made.environment(made.tree),
                "HOME": self._environ.get("HOME") or os.path.expanduser("~"),
                "GIT_ALLOW_PROTOCOL": PROTOCOLS,
                "SSH_ASKPASS_REQUIRE": "never",
            }
            for name in ("GIT_CONFIG_NOSYSTEM", "GIT_CONFIG_GLOBAL", "XDG_CONFIG_HOME"):
                environ.pop(name)
            git = Git(self._reactor, self._environ, PUSH_TIMEOUT)
            own = await git.run(str(made.tree), "config", "core.sshCommand", environ=environ)
            if not own.stdout.strip():
                environ["GIT_SSH_COMMAND"] = "ssh -oBatchMode=yes"
            given = [part for setting in PLAIN for part in ("-c", setting)]
            given += ["-c", f"remote.{remote}.url={url}"]
            words = [*OPTIONS, *given, "push", "--porcelain", "--no-verify", "--no-signed"]
            words += ["--recurse-submodules=no", "--", remote, f"refs/heads/{branch}:{target}"]
            result = await git.run(str(made.tree), *words, environ=environ)
        if result.exit_code != 0:
            said = result.error or result.stderr or result.stdout
            raise Refused(_PASSWORD.sub("", said.strip())[:2000] or "git push failed")
        return Pushed(remote, target.removeprefix("refs/heads/"))


def _branch(repository: Repository) -> str | None:
    """The branch that is checked out; None if it is a commit."""
    with suppress(OSError), open(os.path.join(repository.own, "HEAD"), "rb") as file:
        found = re.fullmatch(rb"ref: refs/heads/(.+)\n?", file.read(4096))
        return None if found is None else os.fsdecode(found[1])
    return None


def _push_target(settings: Iterable[Setting], branch: str) -> tuple[str, str, str]:
    """The remote of a branch, its URL and the reference there. Raises Refused."""
    values = {key: value for key, value in settings if value is not None}
    remotes = [key[7:-4] for key in values if key.startswith("remote.") and key.endswith(".url")]
    remote = values.get(f"branch.{branch}.remote") or (
        "origin" if "origin" in remotes or len(remotes) != 1 else remotes[0]
    )
    url = values.get(f"remote.{remote}.pushurl") or values.get(f"remote.{remote}.url")
    if url is None or remote == ".":
        raise Refused("This branch has no remote repository to push to.")
    if url.startswith("-") or re.fullmatch(r"[\w.-]+", remote) is None:
        raise Refused(f"The remote {remote} has a name or an address that is not used here.")
    scheme = url.partition("://")[0] if "://" in url else ("ssh" if _is_scp(url) else "file")
    if scheme not in PROTOCOLS.split(":"):
        raise Refused(f"Only remotes by {PROTOCOLS.replace(':', ', ')} are pushed to from here.")
    return remote, url, values.get(f"branch.{branch}.merge") or f"refs/heads/{branch}"


def _is_scp(url: str) -> bool:
    """Whether it has the form `user@host:path`, as git-fetch(1), "GIT URLS", describes it."""
    head, colon, _ = url.partition(":")
    return bool(colon) and "/" not in head and "::" not in url


def _delete(name: str, parent: int) -> None:
    facts = os.stat(name, dir_fd=parent, follow_symlinks=False)
    if stat.S_ISDIR(facts.st_mode):
        raise Refused(f"{name} is a directory")
    os.unlink(name, dir_fd=parent)
