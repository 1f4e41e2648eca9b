"""The limits of the runner's own process."""

from __future__ import annotations

import resource

MOST_DESCRIPTORS = (
    1 << 20
)  # beyond it some programs that inherit the limit take minutes to close "all" descriptors


def raise_descriptor_limit() -> tuple[int, int]:
    """Let this process, and the sessions it starts, open as many files as the system allows; the limits before and after.

    A runner holds two descriptors for each session, besides some twenty of its own.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = MOST_DESCRIPTORS if hard == resource.RLIM_INFINITY else min(hard, MOST_DESCRIPTORS)
    if soft == resource.RLIM_INFINITY or soft >= wanted:
        return soft, soft
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    except (OSError, ValueError):  # macOS: kern.maxfilesperproc is below what the hard limit says
        return soft, soft
    return soft, wanted
