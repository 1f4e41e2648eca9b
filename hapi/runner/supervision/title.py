"""The command line by which npm's programs know a runner."""

from __future__ import annotations

import os


def set_title() -> None:
    """Put `runner` and `start-sync` into the command line of this process if they are missing.

    npm's programs search for both words, and remove the runner's files when they are not there.
    """
    try:
        with open("/proc/self/cmdline", "rb") as file:
            words = file.read().replace(b"\0", b" ").split()
    except OSError:
        words = []
    if not {b"runner", b"start-sync"} <= set(words):
        # The title replaces the arguments alone: the environment stays readable in /proc.
        os.environ["SPT_NOENV"] = "1"
        from setproctitle import setproctitle

        setproctitle("hapi runner start-sync")
        del os.environ["SPT_NOENV"]
