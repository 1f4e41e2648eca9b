"""How often the hub refused us lately, kept on disk: a runner that is started again and again does not pester it (V08)."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable

from attrs import define

from hapi.home import Home, read_capped, write_atomically
from hapi.settings import HubAccess

FORGOTTEN_AFTER = 600.0  # seconds without a further refusal
LONGEST_FIRST_WAIT = 15.0  # seconds before the first try of a start: whoever mended it at the hub does not wait for minutes


@define
class RegistrationRefusals:
    """Of one way of access: with another hub or token nothing is known, and nobody waits."""

    _home: Home
    _access: HubAccess
    _now: Callable[[], float]  # epoch seconds

    def earlier(self) -> tuple[int, float]:
        """How many refusals came in a row, and how many seconds ago the last one was; (0, 0.0) when there were none."""
        try:
            found = json.loads(read_capped(self._home.refusals, 4096) or b"{}")
            ago = self._now() - float(found["at"])
            count = found["count"] if found["access"] == self._fingerprint() else 0
        except (OSError, ValueError, KeyError, TypeError, RecursionError, OverflowError):
            return 0, 0.0
        if type(count) is not int or count < 1 or not -FORGOTTEN_AFTER < ago < FORGOTTEN_AFTER:
            return 0, 0.0
        return count, max(ago, 0.0)

    def note(self, count: int) -> None:
        """Remember the refusal number `count`. A disk that takes nothing costs the memory, no more."""
        content = json.dumps(
            {"access": self._fingerprint(), "count": count, "at": self._now()}
        ).encode()
        try:
            write_atomically(self._home.refusals, content, durable=False)
        except OSError:
            pass

    def forget(self) -> None:
        try:
            self._home.refusals.unlink(missing_ok=True)
        except OSError:
            pass

    def _fingerprint(self) -> str:
        """Tells one way of access from another and nothing else."""
        words = json.dumps(
            [self._access.url, self._access.token, sorted(self._access.headers.items())]
        )
        return hashlib.sha256(words.encode()).hexdigest()[:16]


def first_delay(delay: float, ago: float) -> float:
    """Seconds until the first try of this start, when the last refusal was `ago` and called for a pause of `delay` seconds."""
    return min(max(delay - ago, 0.0), LONGEST_FIRST_WAIT)
