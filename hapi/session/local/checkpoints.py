"""How far the conversation in a terminal has come to the hub, kept for the case of a kill.

`HAPI_HOME/local/SESSION.json` exists while the agent's own program has the terminal of that
session: `place` is the program's own (see `Mirror.checkpoint`), `after` the sequence number of a
row at the hub above which the rows are of what follows.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from attrs import define
from twisted.logger import Logger

from hapi.home import Home, read_capped, write_atomically
from hapi.net.client.reconciliation import read_rows
from hapi.session.hub.uplink import RECONCILIATION_MARGIN, SessionUplink

DIRECTORY = "local"
MAX_SIZE = 1 << 20  # bytes


@define(eq=False, repr=False)
class Checkpoints:
    """Those of one session. A place is stored once the hub has confirmed what came before it."""

    _home: Home
    _hub: SessionUplink
    _when_confirmed: Callable[[], Any]  # fires when the hub has confirmed all that was sent
    _rows_after: Callable[[int], Awaitable[list[Any]]]
    _is_waiting: bool = False
    _latest: Any = None
    _is_removed: bool = False
    log = Logger()

    @property
    def path(self) -> Path:
        return self._home.path / DIRECTORY / f"{self._hub.session_id}.json"

    def read(self) -> Mapping[str, Any] | None:
        """What a killed process has left; None if none was killed in local mode."""
        try:
            found = json.loads(read_capped(self.path, MAX_SIZE) or b"null")
        except (OSError, ValueError):
            return None
        return found if isinstance(found, Mapping) else None

    async def known_keys(self, left: Mapping[str, Any]) -> frozenset[str]:
        """The keys of the records that the hub has of what follows the checkpoint."""
        after = left.get("after")
        rows = await read_rows(self._rows_after, after if isinstance(after, int) else 0)
        found = set()
        for row in rows:
            content = row.get("content") if isinstance(row, Mapping) else None
            meta = content.get("meta") if isinstance(content, Mapping) else None
            key = meta.get("key") if isinstance(meta, Mapping) else None
            if isinstance(key, str):
                found.add(key)
        return frozenset(found)

    def begin(self, place: Any = None) -> None:
        """Local mode begins; `place` if it is known already."""
        self._is_removed = False
        if place is not None:
            self._write(place)

    def reached(self, place: Any) -> None:
        self._latest = place
        if not self._is_waiting:
            self._is_waiting = True
            self._when_confirmed().addCallbacks(
                lambda _, at=place: self._confirmed(at), lambda failure: None
            )

    def _confirmed(self, place: Any) -> None:
        self._is_waiting = False
        self._write(place)
        if self._latest is not place and not self._is_removed:
            self.reached(self._latest)

    def _write(self, place: Any) -> None:
        if self._is_removed:
            return
        after = max(0, self._hub.inbox.highest - RECONCILIATION_MARGIN)
        content = json.dumps({"place": place, "after": after}).encode()
        try:
            self._home.directory(DIRECTORY)
            write_atomically(self.path, content, durable=False)
        except OSError as error:
            self.log.warn("{path} cannot be written: {reason}", path=self.path, reason=str(error))

    def remove(self) -> None:
        """All was reported: the own program no longer has the session."""
        self._is_removed = True
        with suppress(OSError):
            self.path.unlink()
