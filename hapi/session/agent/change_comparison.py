"""Comparing large changes of files in a thread, before the message that has them is handled."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.threads import deferToThread

from hapi.protocol.acp.diffs import diff_of
from hapi.protocol.acp.tool_content import FileChange, read_changes
from hapi.protocol.acp.values import mapping

MAX_INLINE_SIZE = 50_000  # characters that are compared without a thread, in a few milliseconds


def compare_changes(params: Mapping[str, Any]) -> Deferred[Any] | None:
    """Compare the changes in the parameters of `session/update` or `session/request_permission`.

    None if they are so small that they can be compared when they are needed. Otherwise the Deferred
    fires when `diff_of` knows them all.
    """
    changes = (
        read_changes(mapping(params.get("update")))
        or read_changes(mapping(params.get("toolCall")))
        or ()
    )
    if sum(len(change.new) + len(change.old or "") for change in changes) <= MAX_INLINE_SIZE:
        return None
    return deferToThread(_compare, changes)


def _compare(changes: tuple[FileChange, ...]) -> None:
    for change in changes:
        diff_of(change)
