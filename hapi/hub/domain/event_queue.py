"""What session processes send, in order, until it is stored.

A process has no answer to a single event; it asks with `ping`, whose answer says that everything
before it is stored. So an event that could not be stored is kept with all later ones of its session
and tried again, and no `ping` is answered meanwhile: to the process it is not confirmed.
"""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Any, Protocol

from attrs import define, field
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from hapi.hub.store.interface import StoreAway, StoreBusy, StoreFailed, StoreFull
from hapi.hub.store.shared import Moved

RETRY_INTERVAL = 1.0  # seconds between two tries while the store fails
MAX_EVENTS = 10_000  # of one session
MAX_SIZE = 16 << 20  # characters of the JSON of all events of one session
UNMEASURED = 200  # events of a session whose size is not looked at

# The codes of the `error` event and of the answers about documents, and what they say to people.
STORE_ERRORS: dict[str, type[Exception]] = {
    "store-full": StoreFull,
    "store-busy": StoreBusy,
    "store-away": StoreAway,  # a StoreFailed as well
    "store-failed": StoreFailed,
}
STORE_PROBLEMS = {
    "store-full": "the hub has no space left to store events; it keeps them and tries again",
    "store-busy": "the hub's database is locked by another program; the hub tries again",
    "store-away": "the hub cannot reach its database; it keeps the events and tries again",
    "store-failed": "the hub cannot store events; it keeps them and tries again",
}


def store_code(error: BaseException | None) -> str | None:
    """The code of an error of the store, None for any other error."""
    return next((code for code, kind in STORE_ERRORS.items() if isinstance(error, kind)), None)


class Sender(Protocol):
    """The socket that an event came from."""

    def emit(self, event: str, *args: Any) -> None: ...
    def hang_up(self, reason: str) -> None: ...


@define(eq=False, repr=False)
class _Event:
    attempt: Callable[[], Awaitable[object]]
    sender: Sender
    # Runs when all before it are stored, and alone. So does an event that failed: its handler may
    # have to ask first what became of the last attempt, and later events must not overtake it.
    is_exclusive: bool
    number: int
    size: int = 0
    arrived_at: float = 0.0  # clock seconds


@define(eq=False, repr=False)
class _Waiter:
    number: int
    done: Deferred[None]
    accepts_hold: bool


@define(eq=False, repr=False)
class EventQueue:
    """The events of one session. `on_hold` is called for each sender once while the store fails."""

    session_id: str
    _clock: IReactorTime
    _on_hold: Callable[[Sender, str], object]
    _running: dict[int, _Event] = field(factory=dict)  # by number: their attempts have begun
    _failed: dict[int, _Event] = field(factory=dict)
    _waiting: deque[_Event] = field(factory=deque)
    _waiters: deque[_Waiter] = field(factory=deque)
    _told: set[Sender] = field(factory=set)
    _number: int = 0
    _size: int = 0
    _retry: IDelayedCall | None = None
    _is_starting: bool = False
    code: str | None = None  # of what the store failed with; None while it works

    log = Logger()

    def __len__(self) -> int:
        return len(self._running) + len(self._failed) + len(self._waiting)

    @property
    def oldest(self) -> float | None:
        """When the oldest of the events arrived, in clock seconds; None without events."""
        events = (*self._running.values(), *self._failed.values(), *list(self._waiting)[:1])
        return min((event.arrived_at for event in events), default=None)

    @property
    def is_crowded(self) -> bool:
        """Whether a process that comes back now would soon find no room for its events."""
        return self.code is not None and (len(self) > MAX_EVENTS // 2 or self._size > MAX_SIZE // 2)

    def put(
        self,
        attempt: Callable[[], Awaitable[object]],
        sender: Sender,
        payload: Any,
        is_exclusive: bool = False,
    ) -> None:
        """Run `attempt` in its turn, again and again while it fails with an error of the store.

        `is_exclusive`: after all events before it are stored, and before any later one. If there is
        no room, the sender's socket is closed: it has its events still, and sends them again.
        """
        count = len(self)
        size = _size_of(payload) if count >= UNMEASURED else 0
        if not is_exclusive and (count >= MAX_EVENTS or self._size + size > MAX_SIZE):
            sender.hang_up("the hub has no room for more events that it cannot store")
            return
        self._number += 1
        self._size += size
        now = self._clock.seconds()
        event = _Event(attempt, sender, is_exclusive, self._number, size, now)
        if self.code is not None:
            self._tell(sender)
        self._waiting.append(event)
        if self.code is None:
            self._start()

    def settled(self, accepts_hold: bool = False) -> Deferred[None]:
        """Fires when all events so far are stored; with `accepts_hold` also when they are held
        because the store fails.
        """
        done: Deferred[None] = Deferred()
        if not len(self) or (accepts_hold and self.code is not None):
            done.callback(None)
        else:
            self._waiters.append(_Waiter(self._number, done, accepts_hold))
        return done

    def clear(self) -> None:
        """Forget the events."""
        self._waiting.clear()
        self._running.clear()
        self._failed.clear()
        self._size = 0
        if self._retry is not None:
            self._retry.cancel()
            self._retry = None
        self._fire_waiters()

    def stop(self) -> None:
        """Forget the events, and confirm nothing."""
        self._waiters.clear()
        self.clear()

    # --- running ----------------------------------------------------------------------------------

    def _start(self) -> None:
        """Begin what may begin; the next event does not wait for the one before to be stored."""
        if self._is_starting:  # an attempt that ended at once
            return
        self._is_starting = True
        while self._waiting and self.code is None:
            if self._running and (
                self._waiting[0].is_exclusive or next(iter(self._running.values())).is_exclusive
            ):
                break
            self._begin(self._waiting.popleft())
        self._is_starting = False

    def _begin(self, event: _Event) -> None:
        self._running[event.number] = event
        attempt = Deferred.fromCoroutine(_run(event.attempt))
        attempt.addCallbacks(
            lambda _: self._stored(event), lambda failure: self._not_stored(failure, event)
        )

    def _stored(self, event: _Event) -> None:
        if self._running.pop(event.number, None) is None:  # stopped meanwhile
            return
        self._size -= event.size
        if self.code is not None and not self._failed:
            self.log.info(
                "Events of session {session_id} can be stored again", session_id=self.session_id
            )
            self.code = None
            self._told.clear()
        self._fire_waiters()
        if not self._failed and self.code is None:
            self._start()
        elif not self._running:
            self._hold()

    def _moved(self, event: _Event) -> None:
        """Another hub serves the session: its sockets have to go there, with what is not stored."""
        events = (event, *self._running.values(), *self._failed.values(), *self._waiting)
        senders = {id(each.sender): each.sender for each in events}
        self.stop()
        for sender in senders.values():
            sender.hang_up("the session is served by another hub")

    def _not_stored(self, failure: Failure, event: _Event) -> None:
        if isinstance(failure.value, Moved):
            self._moved(event)
            return
        code = store_code(failure.value)
        if code is None:
            self.log.failure(
                "An event of session {session_id} failed", failure, session_id=self.session_id
            )
            self._stored(event)
            return
        if self._running.pop(event.number, None) is None:  # stopped meanwhile
            return
        self._failed[event.number] = event
        event.is_exclusive = True
        if self.code is None:
            self.log.error(
                "Events of session {session_id} cannot be stored and are kept: {reason}",
                session_id=self.session_id,
                reason=failure.getErrorMessage(),
            )
        self.code = code
        self._tell(event.sender)
        self._release_patient()
        if not self._running:
            self._hold()

    def _hold(self) -> None:
        """Put what failed back in order, and try the first of it again later."""
        self._waiting.extendleft(event for _, event in sorted(self._failed.items(), reverse=True))
        self._failed.clear()
        if self._retry is None:
            self._retry = self._clock.callLater(RETRY_INTERVAL, self._try_again)

    def _try_again(self) -> None:
        self._retry = None
        if self._waiting:
            self._begin(self._waiting.popleft())

    # --- telling ----------------------------------------------------------------------------------

    def _tell(self, sender: Sender) -> None:
        if sender not in self._told and self.code is not None:
            self._told.add(sender)
            self._on_hold(sender, self.code)

    def _fire_waiters(self) -> None:
        if not self._waiters:
            return
        oldest = min(
            (
                *(next(iter(events)) for events in (self._running, self._failed) if events),
                *(event.number for event in list(self._waiting)[:1]),
            ),
            default=self._number + 1,
        )
        while self._waiters and self._waiters[0].number < oldest:
            self._waiters.popleft().done.callback(None)

    def _release_patient(self) -> None:
        """Let those go on who do not insist on what is held."""
        released = [waiter for waiter in self._waiters if waiter.accepts_hold]
        self._waiters = deque(waiter for waiter in self._waiters if not waiter.accepts_hold)
        for waiter in released:
            waiter.done.callback(None)


async def _run(attempt: Callable[[], Awaitable[object]]) -> None:
    await attempt()


def _size_of(payload: Any) -> int:
    try:
        return len(json.dumps(payload, ensure_ascii=False))
    except (TypeError, ValueError, RecursionError):
        return 0


@define(eq=False, repr=False)
class EventQueues:
    """The queues of all sessions that have events waiting."""

    _clock: IReactorTime
    _on_hold: Callable[[str, Sender, str], object]
    _queues: dict[str, EventQueue] = field(factory=dict)

    def of(self, session_id: str) -> EventQueue:
        """The queue of a session, which may be new."""
        queue = self._queues.get(session_id)
        if queue is None:
            queue = self._queues[session_id] = EventQueue(
                session_id,
                self._clock,
                lambda sender, code: self._on_hold(session_id, sender, code),
            )
        return queue

    @property
    def waiting(self) -> list[EventQueue]:
        """The queues that have events."""
        return [queue for queue in self._queues.values() if len(queue)]

    def find(self, session_id: object) -> EventQueue | None:
        """The queue of a session, if it has one."""
        return self._queues.get(session_id) if isinstance(session_id, str) else None

    def forget(self, session_id: str) -> None:
        """The session was removed: nobody waits for its events any more."""
        queue = self._queues.pop(session_id, None)
        if queue is not None:
            queue.clear()

    def abandon(self, session_id: str) -> None:
        """Another hub serves the session: nothing more is tried or confirmed here."""
        queue = self._queues.pop(session_id, None)
        if queue is not None:
            queue.stop()

    def stop(self) -> None:
        """The hub stops: nothing more is tried or confirmed."""
        for queue in self._queues.values():
            queue.stop()
        self._queues.clear()
