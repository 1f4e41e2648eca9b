"""Leaving out what a process will not use, decided before the reactor is imported. Imports nothing of Twisted."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec

BUILT_IN_HASHES = ("_sha1", "_md5")  # Python's own; some distributions leave them to OpenSSL


def block_tls_imports(*urls: str) -> bool:
    """Keep OpenSSL out of this process when all `urls` are plain http: 50 ms and 8 MB (PSS) less.

    For programs that own their process, first thing; True if it was done. Twisted imports OpenSSL with the reactor and runs
    without it where it is not installed; a None in `sys.modules` is Python's way to say that a module is not there. With a
    reactor imported, or with any https URL, nothing is changed.
    """
    loaded = (
        "OpenSSL" in sys.modules
        or "twisted.internet.reactor" in sys.modules
        or "twisted.internet.tcp" in sys.modules
    )
    if loaded or not urls or not all(url.startswith("http://") for url in urls):
        return False
    sys.modules["OpenSSL"] = None  # type: ignore[assignment]
    return True


def block_unused_imports(*urls: str) -> bool:
    """`block_tls_imports`, and what else a session over plain http loads and never calls: 5 MB more. True if it was done.

    OpenSSL's hashes have a second home in Python itself; asyncio and http.client do without ssl.
    """
    if not block_tls_imports(*urls):
        return False
    unused = ["ssl", "_ssl"]
    if all(find_spec(name) for name in BUILT_IN_HASHES):
        unused.append("_hashlib")
    for name in unused:
        sys.modules.setdefault(name, None)  # type: ignore[arg-type]
    return True


@contextmanager
def hidden_modules(*names: str) -> Iterator[None]:
    """While this lasts, modules that are not loaded cannot be: for a library that takes what it finds."""
    hidden = [name for name in names if name not in sys.modules]
    sys.modules.update(dict.fromkeys(hidden))  # type: ignore[arg-type]
    try:
        yield
    finally:
        for name in hidden:
            del sys.modules[name]
