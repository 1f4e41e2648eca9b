"""Leaving out what a process will not use, decided before the reactor is imported. Imports nothing of Twisted."""

from __future__ import annotations

import sys


def without_tls(*urls: str) -> bool:
    """Keep OpenSSL out of this process when all `urls` are plain http: 50 ms and 8 MB (PSS) less.

    For programs that own their process, first thing; True if it was done. Twisted imports OpenSSL with the reactor and runs
    without it where it is not installed; a None in `sys.modules` is Python's way to say that a module is not there. With a
    reactor imported, or with any https URL, nothing is changed.
    """
    loaded = "OpenSSL" in sys.modules or "twisted.internet.reactor" in sys.modules or "twisted.internet.tcp" in sys.modules
    if loaded or not urls or not all(url.startswith("http://") for url in urls):
        return False
    sys.modules["OpenSSL"] = None  # type: ignore[assignment]
    return True
