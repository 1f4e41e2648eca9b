"""The hub's recent refusals to register this machine, kept on disk (faults.md V08).

A runner that is restarted again and again does not overload the hub with them.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable

from attrs import define

from hapi.home import Home, read_capped, write_atomically
from hapi.settings import HubAccess

EXPIRY = 600.0  # seconds without a further refusal
# A user who has mended the cause at the hub does not wait for minutes after a restart.
MAX_FIRST_DELAY = 15.0  # seconds


@define
class RegistrationRefusals:
    """Refusals of one hub and token: with another hub or token there are none."""

    _home: Home
    _access: HubAccess
    _now: Callable[[], float]  # epoch seconds

    def load(self) -> tuple[int, float]:
        """The number of refusals in a row, and the age of the last one in seconds; or (0, 0.0)."""
        try:
            found = json.loads(read_capped(self._home.refusals, 4096) or b"{}")
            ago = self._now() - float(found["at"])
            count = found["count"] if found["access"] == self._fingerprint() else 0
        except (OSError, ValueError, KeyError, TypeError, RecursionError, OverflowError):
            return 0, 0.0
        if type(count) is not int or count < 1 or not -EXPIRY < ago < EXPIRY:
            return 0, 0.0
        return count, max(ago, 0.0)

    def save(self, count: int) -> None:
        """Save that `count` refusals came in a row. If the disk refuses it, they are forgotten."""
        content = json.dumps(
            {"access": self._fingerprint(), "count": count, "at": self._now()}
        ).encode()
        try:
            write_atomically(self._home.refusals, content, durable=False)
        except OSError:
            pass

    def clear(self) -> None:
        try:
            self._home.refusals.unlink(missing_ok=True)
        except OSError:
            pass

    def _fingerprint(self) -> str:
        """A hash that differs between hubs and tokens and reveals neither."""
        words = json.dumps(
            [self._access.url, self._access.token, sorted(self._access.headers.items())]
        )
        return hashlib.sha256(words.encode()).hexdigest()[:16]


def first_delay(delay: float, ago: float) -> float:
    """Seconds until the first try after a start.

    The last refusal was `ago` seconds ago and called for a pause of `delay` seconds.
    """
    return min(max(delay - ago, 0.0), MAX_FIRST_DELAY)
