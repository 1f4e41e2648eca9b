"""Waiting that no change of the wall clock shortens or stretches."""

from __future__ import annotations

import time
from typing import Any


def use_monotonic_time(reactor: Any) -> None:
    """Let `reactor` count its delays on the monotonic clock; for programs that own their reactor, at the start.

    Twisted counts them on `time.time`: a clock set back an hour holds every timer up for an hour, one set forward fires
    them all. Calls that are pending move along; a reactor that has another clock already is left alone.
    """
    if reactor.seconds is not time.time:
        return
    shift = time.monotonic() - time.time()
    for call in reactor.getDelayedCalls():
        call.time += shift
        call.seconds = time.monotonic
    reactor.seconds = time.monotonic
