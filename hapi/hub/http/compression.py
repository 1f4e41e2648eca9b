"""Compression of replies: small ones at once, large ones in threads of their own, so that the
reactor serves others meanwhile.
"""

from __future__ import annotations

import gzip
import os
import zlib
from threading import Event
from typing import Any

from attrs import define, field
from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IReactorFromThreads
from twisted.internet.threads import deferToThreadPool
from twisted.python.threadpool import ThreadPool

MIN_THREAD_SIZE = 128 * 1024  # bytes: less takes no longer than the way to a thread and back
PIECE_SIZE = 256 * 1024  # bytes that are compressed before a thread looks whether it may go on
# A page of 12 MB takes 0.29 s of processor time at level 4 and 0.17 s at level 1, which is 2 %
# larger.
LEVEL, LARGE_LEVEL = 4, 1
MAX_THREADS = max(1, min(4, (os.cpu_count() or 2) - 1))
GZIP = 16 + zlib.MAX_WBITS  # zlib's number for the gzip format


class Cancelled(Exception):
    """Nobody waits for the compressed reply any more."""


def compress_in_pieces(body: bytes, cancelled: Event) -> bytes:
    """`body` compressed. zlib releases the interpreter lock for each piece. Raises Cancelled."""
    compressor = zlib.compressobj(LARGE_LEVEL, zlib.DEFLATED, GZIP)
    parts, view = [], memoryview(body)
    for start in range(0, len(body), PIECE_SIZE):
        if cancelled.is_set():
            raise Cancelled("the client is gone")
        parts.append(compressor.compress(view[start : start + PIECE_SIZE]))
    parts.append(compressor.flush())
    return b"".join(parts)


@define(eq=False, repr=False)
class Compressor:
    """`_reactor` without threads, as a Clock: everything is compressed at once."""

    _reactor: Any
    _pool: ThreadPool | None = None
    _running: set[Event] = field(factory=set)
    _stopped: bool = False

    def compress(self, body: bytes) -> Deferred[bytes]:
        """`body` compressed with gzip. Cancelling the result stops the work."""
        if (
            len(body) < MIN_THREAD_SIZE
            or self._stopped
            or not IReactorFromThreads.providedBy(self._reactor)
        ):
            return succeed(gzip.compress(body, LEVEL))
        cancelled = Event()
        self._running.add(cancelled)
        result: Deferred[bytes] = Deferred(lambda _: cancelled.set())
        work = deferToThreadPool(
            self._reactor, self._threads(), compress_in_pieces, body, cancelled
        )
        work.addBoth(self._finished, cancelled, result)
        return result

    def stop(self) -> None:
        """End what is running, and the threads."""
        self._stopped = True
        for cancelled in self._running:
            cancelled.set()
        if self._pool is not None:
            pool, self._pool = self._pool, None
            pool.stop()

    def _finished(self, outcome: Any, cancelled: Event, result: Deferred[bytes]) -> None:
        self._running.discard(cancelled)
        if not result.called:
            result.callback(outcome)  # a Failure becomes an error

    def _threads(self) -> ThreadPool:
        if self._pool is None:
            self._pool = ThreadPool(0, MAX_THREADS, "hub-compression")
            self._pool.start()
        return self._pool
