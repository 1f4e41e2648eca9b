"""Whether a request was carried out, or why it was refused."""

from __future__ import annotations

from typing import NotRequired, TypedDict


class Issues(TypedDict):
    """What is wrong with a body or a query: as a whole, and by field."""

    formErrors: list[str]
    fieldErrors: dict[str, list[str]]


class EntryIssue(TypedDict):
    """What is wrong with one field, in the form of the routes for scratchlists."""

    code: str
    path: list[str]
    message: str


class ErrorReply(TypedDict):
    """Why a request was refused or failed: a sentence for people, a word for programs, and the id
    under which the hub's log has the request.
    """

    error: str
    code: NotRequired[str]
    issues: NotRequired[Issues | list[EntryIssue]]
    requestId: NotRequired[str]


class Done(TypedDict):
    """The request was carried out."""

    ok: bool
