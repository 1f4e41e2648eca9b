"""The program that starts a hand-off's replacement, or a trial start, apart from the runner.

Run as `python -I -S -E detached_exec.py [--with-parent] DIRECTORY PROGRAM ARGUMENT…`. It becomes
the leader of a new session, resets signals, changes to DIRECTORY and becomes PROGRAM, with the same
pid, environment and descriptors. Twisted itself can do this only after a fork of the runner, which
its spawning without `path` and `uid` avoids.

With `--with-parent` the kernel kills PROGRAM when the process that started it ends (prctl(2),
PR_SET_PDEATHSIG; on Linux only).
"""

import os
import signal
import sys

WITH_PARENT = "--with-parent"
PR_SET_PDEATHSIG = 1  # <linux/prctl.h>


def main(directory: str, argv: list[str]) -> None:
    os.setsid()
    for number in signal.valid_signals():
        if signal.getsignal(number) == signal.SIG_IGN:  # Python itself ignores SIGPIPE and SIGXFSZ
            signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    try:
        os.chdir(directory)
        os.execv(argv[0], argv)
    except OSError as error:
        sys.exit(f"hapi: {argv[0]} could not be started: {error}")


def end_with_parent() -> None:
    """Have the kernel kill this process, and the program that it becomes, with its parent."""
    if not sys.platform.startswith("linux"):
        return
    import ctypes

    parent = os.getppid()
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if parent == 1 or os.getppid() != parent:  # it has ended meanwhile
        sys.exit(1)


if __name__ == "__main__":
    words = sys.argv[1:]
    if words[0] == WITH_PARENT:
        end_with_parent()
        del words[0]
    main(words[0], words[1:])
