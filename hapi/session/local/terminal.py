"""A program on a pseudo-terminal of its own, shown on the terminal of a person.

What both say is copied. So what the program has switched on can be undone, what was typed and not
sent is known, and the program ends when this process does.
"""

from __future__ import annotations

import fcntl
import os
import re
import select
import signal
import struct
import termios
import time
import tty
from collections.abc import Callable
from contextlib import suppress
from typing import Any, cast

from attrs import define, field
from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import IReadWriteDescriptor
from twisted.internet.protocol import ProcessProtocol
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from hapi.one_shot import OneShotObserver
from hapi.process.kernel import kernel
from hapi.session.local.interface import Launch
from hapi.session.local.screen_modes import ScreenModes
from hapi.session.local.typed_text import TypedText

READ_SIZE = 65536  # bytes
MAX_UNWRITTEN = 256 * 1024  # bytes of output that a slow terminal has not taken
LAST_WRITE_TIMEOUT = 1.0  # seconds for what is left when the terminal is given back
DRAIN_TIMEOUT = 0.5  # seconds for what an ended program has left to be read
LEAVE_TIMEOUT = 3.0  # seconds that a program has to leave in an orderly way
END_TIMEOUT = 1.0  # seconds that its processes have to end after SIGTERM
# What the person's terminal still answers to the program would be typed into whatever reads next.
# A terminal answers in order, so that nothing is left once it has answered this (ECMA-48, DSR).
LAST_QUESTION, LAST_ANSWER = b"\x1b[5n", b"\x1b[0n"
ANSWER_TIMEOUT = 0.5  # seconds
# Answers of terminals: attributes, positions, modes, keyboards (CSI), names, colours (DCS, OSC).
_ANSWERS = re.compile(
    rb"\x1b\[[?>=]?[0-9;]{0,64}\$?[cnRuy]|\x1b[P\]][^\x07\x1b]{0,512}(?:\x07|\x1b\\)"
)
# Ctrl+Z: the program is the leader of its session, so nobody could continue it.
SUSPEND_KEYS = (b"\x1a", b"\x1b[122;5u")


@implementer(IReadWriteDescriptor)
@define(eq=False, repr=False)
class PersonTerminal:
    """The terminal of a person in raw mode, from `begin` to `end`.

    It is opened once more, so that no reads and writes of this process block, while the shell's do
    as before.
    """

    _reactor: Any
    _given: int  # its descriptor in this process
    _program: OwnTerminal
    _descriptor: int = -1
    is_gone: bool = False
    _attributes: Any = None
    _unwritten: bytearray = field(factory=bytearray)

    def begin(self) -> None:
        """Raises OSError or termios.error."""
        self._attributes = termios.tcgetattr(self._given)
        flags = os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK | os.O_CLOEXEC
        self._descriptor = os.open(os.ttyname(self._given), flags)
        tty.setraw(self._descriptor, termios.TCSADRAIN)
        self._reactor.addReader(self)

    def end(self, last: bytes) -> None:
        """Write what is left and `last`, and give the terminal back as it was."""
        if self._descriptor < 0:
            return
        self._reactor.removeReader(self)
        self._reactor.removeWriter(self)
        descriptor, self._descriptor = self._descriptor, -1
        self._unwritten += last
        until = time.monotonic() + LAST_WRITE_TIMEOUT
        with suppress(OSError):
            while self._unwritten and (left := until - time.monotonic()) > 0:
                if select.select([], [descriptor], [], left)[1]:
                    del self._unwritten[: os.write(descriptor, self._unwritten)]
        with suppress(OSError, termios.error):
            termios.tcsetattr(self._given, termios.TCSADRAIN, self._attributes)
        os.close(descriptor)

    def size(self) -> bytes:
        """The size as `TIOCSWINSZ` takes it."""
        try:
            return fcntl.ioctl(self._given, termios.TIOCGWINSZ, bytes(8))
        except OSError:
            return struct.pack("HHHH", 24, 80, 0, 0)

    def write(self, data: bytes) -> None:
        if self._descriptor >= 0:
            self._unwritten += data
            self.doWrite()
            if len(self._unwritten) > MAX_UNWRITTEN:
                self._program.pause()

    # --- IReadWriteDescriptor
    def fileno(self) -> int:
        return self._descriptor

    def logPrefix(self) -> str:
        return "terminal"

    def doRead(self) -> None:
        try:
            data = os.read(self._descriptor, READ_SIZE)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if data:
            self._program.typed_bytes(data)
        else:
            self.connectionLost(None)

    def doWrite(self) -> None:
        try:
            del self._unwritten[: os.write(self._descriptor, self._unwritten[:READ_SIZE])]
        except BlockingIOError:
            pass
        except OSError:
            self.connectionLost(None)
            return
        if self._unwritten:
            self._reactor.addWriter(self)
        else:
            self._reactor.removeWriter(self)
            self._program.go_on()

    def connectionLost(self, reason: Failure | None) -> None:
        """The terminal is closed."""
        self.is_gone = True
        if self._descriptor >= 0:
            self._reactor.removeReader(self)
            self._reactor.removeWriter(self)
            self._unwritten.clear()
            self._program.on_hangup()


@define(eq=False, repr=False)
class OwnTerminal(ProcessProtocol):
    """One start of a program. `exited` fires with its exit code, None if a signal ended it.

    `on_typed` is called after each key; `on_titled` with each new title of the terminal;
    `on_hangup` when the person's terminal is closed.
    """

    _reactor: Any
    _descriptor: int = 0  # of the person's terminal
    exited: OneShotObserver[int | None] = field(factory=OneShotObserver)
    on_typed: Callable[[], object] = field(default=lambda: None)
    on_titled: Callable[[str], object] = field(default=lambda title: None)
    on_hangup: Callable[[], object] = field(default=lambda: None)
    typed: TypedText = field(factory=TypedText)
    _modes: ScreenModes = field(factory=ScreenModes)
    _person: PersonTerminal = field(init=False)
    _identity: Any = None
    _old_handler: Any = None
    _is_over: bool = False
    _answers: OneShotObserver[None] | None = None  # fires when the terminal has answered everything
    _answered: bytes = b""  # the end of what it has sent since the last question
    _is_paused: bool = False
    log = Logger()

    def __attrs_post_init__(self) -> None:
        self._person = PersonTerminal(self._reactor, self._descriptor, self)

    @property
    def pid(self) -> int:
        return int(self._identity.pid)

    def start(self, launch: Launch, directory: str) -> None:
        """Take the person's terminal and start the program. Raises OSError or termios.error."""
        self._person.begin()
        try:
            self._reactor.spawnProcess(
                self,
                launch.argv[0],
                launch.argv,
                dict(launch.environ),
                directory,
                usePTY=True,
            )
        except BaseException:
            self.release()
            raise
        self._resize()

        def resized(number: int, frame: object) -> None:
            self._reactor.callFromThread(self._resize)

        self._old_handler = signal.signal(signal.SIGWINCH, resized)

    def type(self, keys: bytes) -> None:
        """Type keys for the person."""
        if not self._is_over and keys:
            cast(Any, self.transport).write(keys)

    def release(self) -> None:
        """Give the person's terminal back. Harmless if it was given back already."""
        if self._old_handler is not None:
            signal.signal(signal.SIGWINCH, self._old_handler)
            self._old_handler = None
        self._person.end(self._modes.undo() + b"\r\n")

    async def leave(self, keys: bytes) -> None:
        """Have the program leave: by `keys`, else by SIGTERM; end it if it does not."""
        if self._is_over:
            return
        if keys:
            self.type(keys)
        else:
            self._signal(signal.SIGTERM)
        await self.exited.when_fired().addTimeout(
            LEAVE_TIMEOUT, self._reactor, lambda _, seconds: None
        )
        await self.end()

    async def end(self) -> None:
        """End the program and all that it has started."""
        from hapi.session.agent.tree import end_agent

        if not self._is_over:
            self._signal(signal.SIGHUP)
            await end_agent(self._reactor, self._identity, END_TIMEOUT)
            self._hang_up()
            await self.exited.when_fired()
        if self._answers is None and not self._person.is_gone:
            self._answers = OneShotObserver()
            self._person.write(LAST_QUESTION)
            await self._answers.when_fired().addTimeout(
                ANSWER_TIMEOUT, self._reactor, lambda _, seconds: None
            )

    # --- from the person
    def typed_bytes(self, data: bytes) -> None:
        for keys in SUSPEND_KEYS:
            data = data.replace(keys, b"")
        if not data:
            return
        self._look_for_answer(data)
        self.typed.feed(data)
        # A program that ends has set its terminal to echo again: answers would be drawn there.
        self.type(_ANSWERS.sub(b"", data) if self._is_echoing() else data)
        self.on_typed()

    def _is_echoing(self) -> bool:
        try:
            attributes = termios.tcgetattr(cast(Any, self.transport).fileno())
        except (OSError, ValueError, termios.error):
            return False
        return bool(attributes[3] & termios.ECHO)

    def _look_for_answer(self, data: bytes) -> None:
        if self._answers is not None and not self._answers.has_fired:
            self._answered = self._answered[-len(LAST_ANSWER) :] + data
            if LAST_ANSWER in self._answered:
                self._answers.fire(None)

    # --- ProcessProtocol
    def connectionMade(self) -> None:
        transport = cast(Any, self.transport)
        self._identity = kernel().identify(transport.pid)

    def childDataReceived(self, childFD: int, data: bytes) -> None:
        self._person.write(data)
        try:
            self._watch(data)
        except Exception:  # else Twisted would close the program's terminal
            self.log.failure("What the program wrote was not understood")

    def processExited(self, reason: Failure) -> None:
        """What it has started may keep its terminal open: that is over too."""
        self._reactor.callLater(DRAIN_TIMEOUT, self._hang_up)

    def processEnded(self, reason: Failure) -> None:
        if not self._is_over:
            self._is_over = True
            self.exited.fire(getattr(reason.value, "exitCode", None))

    # --- the person's terminal is slow
    def pause(self) -> None:
        if not self._is_paused and cast(Any, self.transport).connected:
            self._is_paused = True
            cast(Any, self.transport).stopReading()

    def go_on(self) -> None:
        if self._is_paused and cast(Any, self.transport).connected:
            self._is_paused = False
            cast(Any, self.transport).startReading()

    # --- inside
    def _watch(self, data: bytes) -> None:
        before = self._modes.title
        self._modes.feed(data)
        if self._modes.title is not None and self._modes.title != before:
            self.on_titled(self._modes.title)

    def _resize(self) -> None:
        if not self._is_over:
            with suppress(OSError):
                fcntl.ioctl(
                    cast(Any, self.transport).fileno(), termios.TIOCSWINSZ, self._person.size()
                )

    def _signal(self, number: signal.Signals) -> None:
        kernel().send(self._identity, number)

    def _hang_up(self) -> None:
        transport = cast(Any, self.transport)
        if transport.connected:
            transport.connectionLost(Failure(ConnectionDone()))
