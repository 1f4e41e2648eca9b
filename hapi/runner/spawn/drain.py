"""Draining: no more sessions are started until `resume`. Saved, so that it outlives restarts
and hand-offs."""

from __future__ import annotations

from collections.abc import Callable

import msgspec
from attrs import define
from msgspec import Struct
from twisted.logger import Logger

from hapi.home import Home, read_capped, write_atomically
from hapi.protocol.attempt import Seconds
from hapi.runner.spawn.admission import Admission

DRAINED = "This runner is being drained and starts no sessions (`hapi runner resume` ends that)"


class DrainOrder(Struct, frozen=True):
    """`runner.drained.json`: who drained the runner, and when (epoch seconds)."""

    actor: str
    at: Seconds


@define(eq=False, repr=False)
class Drain:
    """Closes and opens admission, and keeps the order to drain on the disk."""

    _home: Home
    _admission: Admission
    _now: Callable[[], float]
    _on_write_error: Callable[[], object] = lambda: None
    _order: DrainOrder | None = None  # holds for the next runner as well
    write_error: str | None = None  # why the file does not say what `_order` does
    log = Logger()

    @property
    def reason_to_stay(self) -> str | None:
        """Why this runner should not be replaced now: the next one would not be drained."""
        if self._admission.draining is None:
            return None
        if self._order is None:
            return "this runner is drained for a restart (`hapi runner resume` ends it)"
        return self.write_error

    @property
    def is_temporary(self) -> bool:
        """Whether draining ends with this runner, because there is no order for the next one."""
        return self._admission.draining is not None and self._order is None

    def restore(self) -> None:
        """Go on draining if the runner before this one was drained."""
        self._order = self._read()
        if self._order is not None:
            self.log.info(
                "This runner is drained, by {actor} (`hapi runner resume` ends that)",
                actor=self._order.actor,
            )
            self._admission.drain(DRAINED)

    def _read(self) -> DrainOrder | None:
        path = self._home.runner_drained
        try:
            content = read_capped(path)
            return None if content is None else msgspec.json.decode(content, type=DrainOrder)
        except (OSError, ValueError, RecursionError) as error:
            # A drained runner is the safer mistake.
            self.log.warn("{path} cannot be read: {reason}", path=str(path), reason=str(error))
            return DrainOrder("an unknown caller", self._now())

    def begin(self, actor: str, keep: bool) -> bool:
        """Start no more sessions; with `keep` until `resume`, else at most until this runner
        ends. Whether the runner was not drained before.

        `write_error` says afterwards whether the order is kept for the next runner.
        """
        is_new = self._admission.draining is None
        if keep and (self._order is None or self.write_error is not None):
            self._order = self._order or DrainOrder(actor, self._now())
            self._save()
        if is_new:
            self._admission.drain(DRAINED)
        return is_new

    def resume(self) -> bool:
        """Start sessions again. Whether the runner was drained before.

        `write_error` says afterwards whether the next runner will be drained all the same.
        """
        self._order = None
        self._save()
        was_draining = self._admission.draining is not None
        self._admission.resume()
        return was_draining

    async def retry_writes(self) -> None:
        """Write or remove the file once more."""
        self._save()

    def _save(self) -> None:
        path, order = self._home.runner_drained, self._order
        try:
            if order is None:
                path.unlink(missing_ok=True)
            else:
                write_atomically(path, msgspec.json.encode(order))
        except OSError as error:
            reason = error.strerror or str(error)
            write_error = (
                f"{path} could not be removed: {reason}. The next runner will be drained again"
                if order is None
                else f"{path} could not be written: {reason}. The next runner will not be drained"
            )
            if write_error != self.write_error:
                self.log.error("{write_error}", write_error=write_error)
            self.write_error = write_error
            self._on_write_error()
        else:
            self.write_error = None
