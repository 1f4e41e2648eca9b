"""SIGINT in the programs that tests start."""

from __future__ import annotations

import signal


def accept_interrupts() -> None:
    """Undo that SIGINT is ignored here, so that no program that a test starts inherits that.

    It is ignored in what a shell without job control starts in the background, such as a run of all
    tests; Ctrl+C could then end no program that a test interrupts. To be called in the main thread.
    """
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
