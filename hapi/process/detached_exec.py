"""The program that starts a hand-off's replacement apart from the runner that it replaces.

Run as `python -I -S -E detached_exec.py DIRECTORY PROGRAM ARGUMENT…`. It becomes the leader of a
new session, resets signals, changes to DIRECTORY and becomes PROGRAM, with the same pid,
environment and descriptors. Twisted itself can do this only after a fork of the runner, which
its spawning without `path` and `uid` avoids.
"""

import os
import signal
import sys


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
        sys.exit(f"hapi: the replacement could not be started: {error}")


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])
