"""A terminal that does not read holds up nothing."""

import os

import pytest
from attrs import define, field
from twisted.internet.task import Clock

from hapi.session.terminal.writer import MAX_WAITING, TerminalWriter, open_terminal


@define(eq=False)
class Watched(Clock):
    """A reactor that remembers who wants to write."""

    writers: list = field(factory=list)

    def __attrs_post_init__(self):
        Clock.__init__(self)

    def addWriter(self, writer):
        self.writers.append(writer)

    def removeWriter(self, writer):
        self.writers.remove(writer)


@pytest.fixture
def pipe():
    reading, writing = os.pipe()
    os.set_blocking(reading, False)
    os.set_blocking(writing, False)
    yield reading, writing
    os.close(reading)
    os.close(writing)


def read_all(descriptor):
    found = b""
    try:
        while data := os.read(descriptor, 1 << 20):
            found += data
    except BlockingIOError:
        return found
    return found


def test_what_is_written_in_one_turn_of_the_reactor_is_written_at_once(pipe):
    reactor = Watched()
    writer = TerminalWriter(reactor, pipe[1])
    writer.write("one ")
    writer.write("two €")
    assert read_all(pipe[0]) == b""
    reactor.advance(0)
    assert read_all(pipe[0]).decode() == "one two €"


def test_what_the_encoding_lacks_is_written_as_an_escape(pipe):
    reactor = Watched()
    TerminalWriter(reactor, pipe[1], "ascii").write("€")
    reactor.advance(0)
    assert read_all(pipe[0]) == b"\\u20ac"


def test_a_terminal_that_does_not_read_gets_the_rest_when_it_does(pipe):
    reactor, drained = Watched(), []
    writer = TerminalWriter(reactor, pipe[1], on_drained=drained.append)
    text = "0123456789" * 20_000
    writer.write(text)
    reactor.advance(0)
    assert writer.is_behind
    found = b""
    while reactor.writers:
        found += read_all(pipe[0])
        reactor.writers[0].doWrite()
    assert (found + read_all(pipe[0])).decode() == text
    assert (writer.is_behind, drained) == (False, [False])


def test_more_than_a_terminal_may_leave_is_dropped_and_told(pipe):
    reactor, drained = Watched(), []
    writer = TerminalWriter(reactor, pipe[1], on_drained=drained.append)
    for _ in range(20):
        writer.write("x" * (MAX_WAITING // 4))
        reactor.advance(0)
        assert len(writer._waiting) <= MAX_WAITING
    while reactor.writers:
        read_all(pipe[0])
        reactor.writers[0].doWrite()
    assert drained == [True]


def test_a_terminal_that_is_gone_ends_nothing():
    reactor = Watched()
    reading, writing = os.pipe()
    os.close(reading)
    writer = TerminalWriter(reactor, writing)
    writer.write("hello")
    reactor.advance(0)
    assert writer.is_gone
    os.close(writing)


def test_the_flags_that_are_shared_with_the_shell_stay_as_they_are():
    main, side = os.openpty()
    with os.fdopen(side, "w") as stream:
        opened = open_terminal(stream)
        assert opened is not None
        assert not os.get_blocking(opened)
        assert os.get_blocking(side)
        os.close(opened)
    os.close(main)


def test_what_is_no_terminal_has_none(tmp_path):
    with (tmp_path / "file").open("w") as stream:
        assert open_terminal(stream) is None
