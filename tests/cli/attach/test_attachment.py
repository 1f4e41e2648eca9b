"""A shell in a terminal, with a hub that says what the test says."""

from __future__ import annotations

from typing import Any

import pytest
from attrs import define, field
from twisted.internet.defer import Deferred, succeed
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from hapi.cli.attach.attachment import RETRY_INTERVAL, RETURN_TIMEOUT, UNAVAILABLE, Attachment
from hapi.cli.attach.detach_key import DetachKey
from hapi.cli.attach.replay import CLEAR
from hapi.cli.base.errors import REFUSED, UNREACHABLE, CommandError
from hapi.protocol.work.terminals import CLOSED_UNEXPECTEDLY

case = SynchronousTestCase()


@define(eq=False)
class Terminal:
    written: str = ""
    is_raw: bool = False
    closed_with: str | None = None
    shape: tuple[int, int] = (100, 30)
    on_data: Any = None
    on_resize: Any = None

    def make_raw(self) -> None:
        self.is_raw = True

    def size(self) -> tuple[int, int]:
        return self.shape

    def write(self, text: str) -> None:
        self.written += text

    def pace(self, producer: Any) -> None: ...

    async def close(self, last: str) -> None:
        self.closed_with = last


@define(eq=False)
class Link:
    listed: Any = field(factory=list)
    is_joined: bool = False
    is_stopped: bool = False
    sent: list[tuple[str, Any]] = field(factory=list)

    def start(self) -> None: ...

    def stop(self) -> None:
        self.is_stopped = True

    def emit(self, event: str, payload: Any) -> None:
        self.sent.append((event.removeprefix("terminal:"), payload))

    def ask(self, event: str, payload: Any, timeout: float) -> Any:
        return succeed([{"terminals": self.listed}])


@define(eq=False)
class Scene:
    clock: Clock = field(factory=Clock)
    terminal: Terminal = field(factory=Terminal)
    link: Link = field(factory=Link)
    offered: list[Any] = field(factory=list)
    chosen: str | None = "t"
    outcome: Any = None
    attachment: Any = None

    def begin(self) -> Scene:
        async def choose(listed: list[Any]) -> str | None:
            self.offered += listed
            return self.chosen

        key = DetachKey(29)
        self.attachment = Attachment(self.clock, "session-1", self.terminal, key, choose)
        self.attachment.link = self.link
        self.outcome = Deferred.fromCoroutine(self.attachment.run())
        return self

    def join(self) -> None:
        self.link.is_joined = True
        self.attachment.link_joined()

    def hear(self, name: str, **payload: Any) -> None:
        given = {"sessionId": "session-1", "terminalId": "t"} | payload
        self.attachment.link_event(f"terminal:{name}", given)

    def open(self) -> Scene:
        self.begin().join()
        self.hear("ready")
        return self

    @property
    def ended(self) -> tuple[int, str]:
        found = case.successResultOf(self.outcome)
        return found.exit_code, found.sentence

    @property
    def error(self) -> Any:
        return case.failureResultOf(self.outcome).value


@pytest.fixture
def scene() -> Scene:
    return Scene()


def test_a_shell_is_opened_with_the_size_of_the_terminal(scene):
    scene.link.listed = [{"terminalId": "t", "attached": True}, {"odd": 1}, "odd"]
    scene.begin().join()
    assert [(each.id, each.is_shown) for each in scene.offered] == [("t", True)]
    created = {"sessionId": "session-1", "terminalId": "t", "cols": 100, "rows": 30}
    assert scene.link.sent == [("create", created)]
    assert scene.terminal.is_raw
    assert scene.terminal.on_resize


def test_what_is_typed_while_the_shell_opens_is_not_lost(scene):
    scene.begin().join()
    scene.terminal.on_data(b"l")
    scene.terminal.on_data(b"s\r")
    assert len(scene.link.sent) == 1
    scene.hear("ready")
    scene.hear("ready")
    assert scene.link.sent[1:] == [("write", {"terminalId": "t", "data": "ls\r"})]


def test_a_shell_that_does_not_open_can_be_left(scene):
    scene.begin().join()
    scene.terminal.on_data(b"\x1d")
    assert scene.ended[0] == 0


def test_a_new_shell_has_an_id_of_its_own(scene):
    scene.chosen = None
    scene.begin().join()
    assert scene.link.sent[0][1]["terminalId"].startswith("term-session-1-")


def test_keys_go_to_the_shell_and_what_it_says_comes_as_it_is(scene):
    scene.open()
    for data in (b"l\xc3", b"\xa9s\r", b"\x1b[A", b"\x03"):
        scene.terminal.on_data(data)
    assert [given["data"] for name, given in scene.link.sent[1:]] == ["l", "és\r", "\x1b[A", "\x03"]
    scene.hear("output", data="\x1b]0;title\x07\x1b[31mé")
    scene.hear("output", data="of another", terminalId="u")
    assert scene.terminal.written == "\x1b]0;title\x07\x1b[31mé"


def test_a_changed_size_is_told(scene):
    scene.open()
    scene.terminal.shape = (80, 24)
    scene.terminal.on_resize()
    assert scene.link.sent[-1] == ("resize", {"terminalId": "t", "cols": 80, "rows": 24})


def test_the_key_leaves_the_shell_and_what_was_typed_before_it_arrives(scene):
    scene.open()
    scene.hear("output", data="\x1b[?1049h\x1b[?25l")
    scene.terminal.on_data(b"ab\x1dc")
    assert scene.link.sent[-1][1]["data"] == "ab"
    assert scene.ended == (
        0,
        "Left the shell, which goes on; `hapi attach session-` shows it again.",
    )
    assert scene.terminal.closed_with.startswith("\x1b[?1049l\x1b[?25h")
    assert scene.link.is_stopped


@pytest.mark.parametrize(
    ("how", "code"),
    [
        ({"code": 0, "signal": None}, 0),
        ({"code": 3, "signal": None}, 3),
        ({"code": None, "signal": "SIGKILL"}, 137),
        ({"code": None, "signal": None}, 1),
        *(({"code": code, "signal": None}, 1) for code in (2**70, 256, -1, True, False, "0", 0.0)),
        ({"code": None, "signal": "\x1b[2J"}, 1),
    ],
)
def test_the_exit_code_is_that_of_the_shell(scene, how, code):
    scene.open()
    scene.hear("exit", **how)
    found, sentence = scene.ended
    assert found == code
    assert "\x1b" not in sentence


def test_npms_hub_tells_that_the_shell_has_ended_and_no_code(scene):
    scene.open()
    scene.hear("error", message=CLOSED_UNEXPECTEDLY)
    assert scene.ended == (1, "The shell has ended; the hub does not tell with which code.")


def test_a_shell_that_another_page_shows_is_left(scene):
    scene.open()
    scene.hear("detached")
    assert scene.ended == (0, "Another page or terminal shows the shell now.")


def test_a_shell_that_cannot_be_opened_is_an_error_with_the_hubs_words(scene):
    scene.begin().join()
    scene.hear("error", message=UNAVAILABLE)
    assert str(scene.error) == "Session is inactive or unavailable"
    assert scene.terminal.closed_with == ""


def test_a_hub_that_refuses_is_an_error(scene):
    scene.begin()
    scene.attachment.link_refused("This access token may not open terminals (scope terminal)")
    error = scene.error
    assert (type(error), error.exit_code) == (CommandError, REFUSED)


def test_a_hub_that_is_away_at_first_is_an_error(scene):
    scene.begin()
    scene.attachment.link_lost("nobody is there")
    assert scene.error.exit_code == UNREACHABLE


def test_after_a_lost_link_the_screen_begins_anew_with_the_replay(scene):
    scene.open()
    scene.hear("output", data="\x1b[?1049hold")
    scene.link.is_joined = False
    scene.attachment.link_lost("gone")
    scene.attachment.link_lost("still gone")
    assert scene.terminal.written.count("trying again") == 1
    scene.terminal.on_data(b"x")
    assert scene.terminal.written.endswith("\a")  # nobody gets it
    assert len(scene.link.sent) == 1
    scene.join()
    assert scene.link.sent[-1][0] == "create"
    scene.hear("output", data="\x1b[?1049hnew\x1b[c", replay=True)
    scene.hear("ready")
    assert scene.terminal.written.endswith(CLEAR + "\x1b[?1049hnew")
    assert "\x1b[?1049l" in scene.terminal.written
    assert "new one" not in scene.terminal.written
    scene.terminal.on_data(b"x")
    assert scene.link.sent[-1] == ("write", {"terminalId": "t", "data": "x"})


def test_a_shell_that_has_ended_while_the_hub_was_away_is_told(scene):
    scene.open()
    assert "new one" not in scene.terminal.written
    scene.attachment.link_lost("gone")
    scene.join()
    scene.hear("ready")  # and nothing of what was there before
    assert "The shell has ended meanwhile; this is a new one." in scene.terminal.written


def test_npms_replay_is_one_too(scene):
    scene.open()
    given = {"terminalId": "t", "data": "again"}
    scene.attachment.link_event("terminal:output", given)
    assert scene.terminal.written.endswith(CLEAR + "again")


def test_a_session_that_comes_back_after_its_hub_is_waited_for(scene):
    scene.open()
    scene.attachment.link_lost("gone")
    scene.join()
    scene.hear("error", message=UNAVAILABLE)
    assert [name for name, _ in scene.link.sent] == ["create", "create"]
    scene.clock.advance(RETRY_INTERVAL)
    assert [name for name, _ in scene.link.sent] == ["create", "create", "create"]
    scene.hear("ready")
    scene.terminal.on_data(b"\x1d")
    assert scene.ended[0] == 0


def test_a_session_that_does_not_come_back_is_given_up(scene):
    scene.open()
    scene.attachment.link_lost("gone")
    scene.join()
    scene.clock.advance(RETURN_TIMEOUT)
    scene.hear("error", message=UNAVAILABLE)
    assert scene.ended == (1, UNAVAILABLE)
    assert not scene.clock.getDelayedCalls()


@pytest.mark.parametrize("payload", [None, 1, [], {}, {"terminalId": "t"}, {"terminalId": 3}])
@pytest.mark.parametrize("name", ["output", "exit", "error", "ready", "detached", "unknown"])
def test_odd_events_break_nothing(scene, name, payload):
    scene.begin().join()
    scene.attachment.link_event(f"terminal:{name}", payload)
    scene.outcome.addErrback(lambda _: None)
