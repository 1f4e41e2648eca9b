"""Draining: no more sessions until somebody says `resume`. Kept on the disk, so that it outlives restarts and hand-offs."""

from __future__ import annotations

from collections.abc import Callable

import msgspec
from attrs import define
from msgspec import Struct
from twisted.logger import Logger

from hapi.home import Home, read_capped, write_atomically
from hapi.runner.spawn.admission import Admission

DRAINED = "This runner is being drained and starts no sessions (`hapi runner resume` ends that)"


class Order(Struct, frozen=True):
    """`runner.drained.json`: who wanted it, and when (epoch seconds)."""

    actor: str
    at: float


@define(eq=False)
class Drain:
    _home: Home
    _admission: Admission
    _now: Callable[[], float]
    _order: Order | None = None  # what stands on the disk
    log = Logger()

    @property
    def is_temporary(self) -> bool:
        """Drain for a moment only: nothing on the disk would tell another runner."""
        return self._admission.draining is not None and self._order is None

    def restore(self) -> None:
        """Go on as the runner before us was told to."""
        try:
            content = read_capped(self._home.runner_drained)
            self._order = None if content is None else msgspec.json.decode(content, type=Order)
        except (
            OSError,
            ValueError,
            RecursionError,
        ) as error:  # rather no session than one that nobody wants
            self.log.warn(
                "{path} cannot be read: {reason}",
                path=str(self._home.runner_drained),
                reason=str(error),
            )
            self._order = Order("somebody unknown", self._now())
        if self._order is not None:
            self.log.info(
                "This runner is drained, by {actor} (`hapi runner resume` ends that)",
                actor=self._order.actor,
            )
            self._admission.drain(DRAINED)

    def begin(self, actor: str, keep: bool) -> bool:
        """Start no more sessions; with `keep` until `resume`, else until then or our end. Whether that is new."""
        new = self._admission.draining is None
        if keep and self._order is None:
            self._order = Order(actor, self._now())
            try:
                write_atomically(self._home.runner_drained, msgspec.json.encode(self._order))
            except OSError as error:
                self.log.error(
                    "That this runner is drained is not kept: {reason}", reason=str(error)
                )
        if new:
            self._admission.drain(DRAINED)
        return new

    def resume(self) -> bool:
        """Whether that is new."""
        self._order = None
        try:
            self._home.runner_drained.unlink(missing_ok=True)
        except OSError as error:
            self.log.error("The next runner will be drained again: {reason}", reason=str(error))
        was = self._admission.draining is not None
        self._admission.resume()
        return was
