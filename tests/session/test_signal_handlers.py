"""The handlers of a session's signals: Twisted asks for them at each start of a process."""

from __future__ import annotations

import signal

import pytest
from attrs import define, field
from twisted.internet.testing import MemoryReactorClock

from hapi.session.process import SessionProcess

NUMBERS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


@define
class First:
    """The registration, whose `repr` stands for that of a large session."""

    texts: list[int] = field(factory=list)

    def when_done(self, act: object) -> None:
        pass

    def __repr__(self) -> str:
        self.texts.append(1)
        return "large"


@pytest.fixture
def handlers():
    before = {number: signal.getsignal(number) for number in NUMBERS}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


def test_asking_for_a_handler_writes_no_text_of_the_whole_session(handlers, monkeypatch):
    session = SessionProcess.__new__(SessionProcess)
    session.first, session.early_signals = First(), []
    session.starting_mode = "remote"
    session._reactor = MemoryReactorClock()
    monkeypatch.setattr(SessionProcess, "_live", lambda self, said: _nothing())
    session._terminal = type("Terminal", (), {"read": lambda self: None})()
    session._begin()
    for number in NUMBERS:
        signal.getsignal(number)
    assert session.first.texts == []


async def _nothing() -> None:
    pass
