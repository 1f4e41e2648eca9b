"""Calls about a session's git repository that only HAPI's own sessions answer: its history, and
what a person does to it. Every answer has `success`, and `error` where that is false."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta, Struct, field

CommitId = Annotated[str, Meta(pattern="^[0-9a-f]{4,64}$")]
MAX_COMMITS = 200  # in one answer


class LogRequest(Struct, frozen=True, rename="camel"):
    """The parameters of `git-log`: commits of the branch, the latest first, `skip` of them left
    out; of one file if `path` is given."""

    limit: Annotated[int, Meta(ge=1, le=MAX_COMMITS)] = 50
    skip: Annotated[int, Meta(ge=0)] = 0
    path: str | None = None


class Commit(Struct, frozen=True, rename="camel"):
    """`date` is ISO 8601 with the author's time zone; `refs` are names such as `HEAD -> main`."""

    id: str
    parents: list[str]
    author: str
    date: str
    subject: str
    refs: list[str]


class CommitLog(Struct, frozen=True, rename="camel"):
    commits: list[Commit]
    has_more: bool
    success: bool = True


class CommitRequest(Struct, frozen=True, rename="camel"):
    """The parameters of `git-commit-files` and, with `path`, of `git-commit-diff`. `from`: the path
    before a rename."""

    commit: CommitId
    path: str | None = None
    origin: str | None = field(default=None, name="from")


class CommittedFile(Struct, frozen=True, rename="camel"):
    """`status`: the letter of git (A, M, D, R, C, T); counts of lines are None for binary files."""

    path: str
    status: str
    added: int | None
    removed: int | None
    origin: str | None = field(default=None, name="from")


class CommitFiles(Struct, frozen=True, rename="camel"):
    """What a commit changed against its first parent, and its whole message; author and date as in
    Commit."""

    message: str
    files: list[CommittedFile]
    author: str = ""
    date: str = ""
    success: bool = True


MAX_PATHS = 5000  # in one request
MAX_MESSAGE = 20_000  # characters
Paths = Annotated[
    list[Annotated[str, Meta(min_length=1, max_length=4096)]],
    Meta(min_length=1, max_length=MAX_PATHS),
]


class StageChanges(Struct, frozen=True, rename="camel"):
    """The parameters of `git-stage`; `staged` false takes the changes back out of the index. Paths
    begin at the session's directory."""

    paths: Paths
    staged: bool = True


class DiscardChanges(Struct, frozen=True, rename="camel"):
    """The parameters of `git-discard`: files get their content of the index, untracked ones are
    deleted."""

    paths: Paths


class CommitChanges(Struct, frozen=True, rename="camel"):
    """The parameters of `git-commit`: what is staged becomes a commit."""

    message: Annotated[str, Meta(min_length=1, max_length=MAX_MESSAGE, pattern=r"\S")]


class Nothing(Struct, frozen=True):
    """The parameters of `git-push` and `git-actions`, which need none."""


class Committed(Struct, frozen=True, rename="camel"):
    commit: str
    success: bool = True


class Pushed(Struct, frozen=True, rename="camel"):
    remote: str
    branch: str
    success: bool = True


class GitActionsInfo(Struct, frozen=True, rename="camel"):
    """Whether actions are allowed, and where a push would go; None if there is no such place."""

    enabled: bool
    reason: str | None = None
    branch: str | None = None
    remote: str | None = None
    url: str | None = None
    success: bool = True
