"""A result that comes once and that many may wait for."""

from __future__ import annotations

from typing import Generic, TypeVar

from attrs import define, field
from twisted.internet.defer import Deferred, fail, succeed
from twisted.python.failure import Failure

T = TypeVar("T")


@define(eq=False)
class Once(Generic[T]):
    """Each caller of `when` gets a Deferred of its own: one that gives up cancels nothing for the others."""

    _waiting: list[Deferred[T]] = field(factory=list)
    _happened: bool = False
    _result: T | Failure | None = None

    @property
    def happened(self) -> bool:
        return self._happened

    def when(self) -> Deferred[T]:
        if self._happened:
            return (
                fail(self._result) if isinstance(self._result, Failure) else succeed(self._result)
            )  # type: ignore[arg-type]
        waiter: Deferred[T] = Deferred(self._forget)
        self._waiting.append(waiter)
        return waiter

    def happen(self, result: T | Failure) -> None:
        """Tell everybody, now and later. A second call changes nothing: the first result stands."""
        if self._happened:
            return
        self._happened, self._result = True, result
        waiting, self._waiting = self._waiting, []
        for waiter in waiting:
            if isinstance(result, Failure):
                waiter.errback(result)
            else:
                waiter.callback(result)

    def _forget(self, waiter: Deferred[T]) -> None:
        if waiter in self._waiting:
            self._waiting.remove(waiter)
