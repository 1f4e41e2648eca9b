"""A result that is set once and awaited by any number of callers."""

from __future__ import annotations

from typing import Generic, TypeVar

from attrs import define, field
from twisted.internet.defer import Deferred, fail, succeed
from twisted.python.failure import Failure

T = TypeVar("T")


@define(eq=False, repr=False)
class OneShotObserver(Generic[T]):
    """Each caller of `when_fired` gets a Deferred of its own: one that gives up cancels nothing for
    the others.
    """

    _waiting: list[Deferred[T]] = field(factory=list)
    _fired: bool = False
    _result: T | Failure | None = None

    @property
    def has_fired(self) -> bool:
        return self._fired

    def when_fired(self) -> Deferred[T]:
        if self._fired:
            if isinstance(self._result, Failure):
                return fail(self._result)
            return succeed(self._result)  # type: ignore[arg-type]
        waiter: Deferred[T] = Deferred(self._forget)
        self._waiting.append(waiter)
        return waiter

    def fire(self, result: T | Failure) -> None:
        """Give the result to every waiter, now and later.

        A second call changes nothing: the first result stands.
        """
        if self._fired:
            return
        self._fired, self._result = True, result
        waiting, self._waiting = self._waiting, []
        for waiter in waiting:
            if isinstance(result, Failure):
                waiter.errback(result)
            else:
                waiter.callback(result)

    def _forget(self, waiter: Deferred[T]) -> None:
        if waiter in self._waiting:
            self._waiting.remove(waiter)
