"""The command line by which npm's programs know a runner."""

from __future__ import annotations

import os


def set_title() -> None:
    """npm's programs look for the words `runner` and `start-sync` in our command line, and delete our files without them."""
    try:
        with open("/proc/self/cmdline", "rb") as file:
            words = file.read().replace(b"\0", b" ").split()
    except OSError:
        words = []
    if not {b"runner", b"start-sync"} <= set(words):
        os.environ["SPT_NOENV"] = (
            "1"  # the title goes over the arguments alone: our environment stays readable in /proc
        )
        from setproctitle import setproctitle

        setproctitle("hapi runner start-sync")
        del os.environ["SPT_NOENV"]
