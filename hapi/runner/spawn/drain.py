"""Draining: no more sessions are started until `resume`. Saved, so that it outlives restarts
and hand-offs."""

from __future__ import annotations

from collections.abc import Callable

import msgspec
from attrs import define
from msgspec import Struct
from twisted.logger import Logger

from hapi.home import Home, read_capped, write_atomically
from hapi.runner.spawn.admission import Admission

DRAINED = "This runner is being drained and starts no sessions (`hapi runner resume` ends that)"


class DrainOrder(Struct, frozen=True):
    """`runner.drained.json`: who drained the runner, and when (epoch seconds)."""

    actor: str
    at: float


@define(eq=False)
class Drain:
    """Closes and opens admission, and keeps the order to drain on the disk."""

    _home: Home
    _admission: Admission
    _now: Callable[[], float]
    _saved: DrainOrder | None = None
    log = Logger()

    @property
    def is_temporary(self) -> bool:
        """Whether draining ends with this runner, because no order is saved for the next one."""
        return self._admission.draining is not None and self._saved is None

    def restore(self) -> None:
        """Go on draining if the runner before this one was drained."""
        self._saved = self._read()
        if self._saved is not None:
            self.log.info(
                "This runner is drained, by {actor} (`hapi runner resume` ends that)",
                actor=self._saved.actor,
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
        ends. Whether the runner was not drained before."""
        is_new = self._admission.draining is None
        if keep and self._saved is None:
            self._saved = DrainOrder(actor, self._now())
            try:
                write_atomically(self._home.runner_drained, msgspec.json.encode(self._saved))
            except OSError as error:
                self.log.error(
                    "The order to drain this runner was not saved: {reason}", reason=str(error)
                )
        if is_new:
            self._admission.drain(DRAINED)
        return is_new

    def resume(self) -> bool:
        """Start sessions again. Whether the runner was drained before."""
        self._saved = None
        try:
            self._home.runner_drained.unlink(missing_ok=True)
        except OSError as error:
            self.log.error("The next runner will be drained again: {reason}", reason=str(error))
        was_draining = self._admission.draining is not None
        self._admission.resume()
        return was_draining
