"""The limit of open files of a runner's or hub's process."""

from __future__ import annotations

import resource

# Beyond it, some programs take minutes to close "all" descriptors.
MAX_DESCRIPTORS = 1 << 20


def raise_descriptor_limit() -> tuple[int, int]:
    """Raise the limit of open files for this process and its children; the limits before and after.

    A runner holds two descriptors for each session, a hub one for each socket and event stream,
    besides some twenty of their own.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = MAX_DESCRIPTORS if hard == resource.RLIM_INFINITY else min(hard, MAX_DESCRIPTORS)
    if soft == resource.RLIM_INFINITY or soft >= wanted:
        return soft, soft
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    except (OSError, ValueError):  # macOS: kern.maxfilesperproc is below the hard limit
        return soft, soft
    return soft, wanted
