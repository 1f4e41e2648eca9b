"""What the tools of the agent do, with a hub in memory."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.task import Clock

from hapi.pictures import MAX_PICTURE_SIZE
from hapi.session.mcp.peers import MAX_PINGS, PING_PERIOD, PeerSessions
from hapi.session.mcp.tools import READ_TIMEOUT, AgentTools
from tests.support.pictures import png
from tests.support.session_stage import SID

RED = png(2, 2, b"\xff\0\0")


class Hub:
    """Routes that the tools use, answered from memory."""

    def __init__(self) -> None:
        self.sessions = [
            {"id": SID, "active": True, "metadata": {"flavor": "claude"}},
            self.peer("aaaa-1", name="Shop"),
            self.peer("aaab-2", active=False, summary={"text": "Old\nwork"}),
        ]
        self.messages: list[Any] = []
        self.sent: list[tuple[str, str, Any]] = []

    def peer(self, peer_id: str, active: bool = True, **metadata: Any) -> dict[str, Any]:
        return {"id": peer_id, "active": active, "metadata": {"flavor": "opencode", **metadata}}

    async def web_request(self, method: str, path: str, body: Any = None) -> dict[str, Any]:
        self.sent.append((method, path, body))
        route = path.partition("?")[0].removeprefix("/api/sessions").split("/")
        if route == [""]:
            return {"sessions": self.sessions}
        session = next(one for one in self.sessions if one["id"] == route[1])
        match route[2:]:
            case []:
                return {"session": session}
            case ["messages"]:
                return {"messages": self.messages}
        return {"ok": True}


class Stage:
    def __init__(self, directory: Any) -> None:
        self.clock, self.hub = Clock(), Hub()
        self.titles: list[str] = []
        self.is_named = False
        self.shown: list[Any] = []
        self.thread: Any = maybeDeferred
        self.tools = AgentTools(
            self.clock,
            directory,
            self,  # type: ignore[arg-type]
            self.change_title,
            self.in_thread,
            PeerSessions(self.clock, SID, lambda: self.hub),
            private=directory.parent / "home",
        )

    def change_title(self, title: str) -> bool:
        self.titles.append(title)
        return not self.is_named

    def in_thread(self, call: Any, *given: Any) -> Any:
        return self.thread(call, *given)

    def publish(self, picture: Any, source: Any) -> None:
        self.shown.append((picture.file_name, picture.media_type, source["toolName"]))

    def call(self, name: str, **arguments: Any) -> tuple[str, bool]:
        """Text of the result, and whether it is an error."""
        return self.finished(self.begin(name, **arguments))

    def begin(self, name: str, **arguments: Any) -> list[Any]:
        answers: list[Any] = []
        Deferred.fromCoroutine(self.tools.call(name, arguments)).addBoth(answers.append)
        return answers

    def finished(self, answers: list[Any]) -> tuple[str, bool]:
        (result,) = answers
        return result["content"][0]["text"], result["isError"]


@pytest.fixture
def stage(tmp_path):
    return Stage(tmp_path)


def test_a_title_is_one_line_of_bounded_length(stage):
    stage.call("change_title", title="  Red\nsquares " + "x" * 500)
    assert stage.titles[0].startswith("Red squares xx")
    assert len(stage.titles[0]) == 200


def test_an_agent_is_told_that_a_persons_name_hides_its_title(stage):
    stage.is_named = True
    text, failed = stage.call("change_title", title="Red squares")
    assert (stage.titles, failed) == (["Red squares"], False)
    assert "the name they gave the session" in text


@pytest.mark.parametrize("title", [None, "", "  \n", 7, ["a"]])
def test_a_title_that_is_none_is_refused(stage, title):
    assert stage.call("change_title", title=title)[1]
    assert stage.titles == []


def test_files_are_shown_by_what_they_are(stage, tmp_path):
    (tmp_path / "a.txt").write_bytes(RED)  # the name does not matter
    (tmp_path / "b.svg").write_text("<svg onload=alert(1)>")
    assert stage.call("display_image", path="a.txt") == (
        f"{tmp_path}/a.txt is shown in the conversation",
        False,
    )
    stage.call("display_media", path=str(tmp_path / "b.svg"))
    assert stage.shown == [
        ("a.txt", "image/png", "display_image"),
        ("b.svg", "application/octet-stream", "display_media"),
    ]
    for tool, path in (("display_image", "b.svg"), ("display_video", "a.txt")):
        text, failed = stage.call(tool, path=path)
        assert failed
        assert "display_media lets the person save any file" in text


def test_only_regular_files_of_bounded_size_are_read(stage, tmp_path):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "link").symlink_to("/dev/zero")
    (tmp_path / "empty").touch()
    with (tmp_path / "large").open("wb") as file:
        file.truncate(MAX_PICTURE_SIZE + 1)
    said = {
        path: stage.call("display_media", path=path)
        for path in ("pipe", "link", "empty", "large", "none", ".", "/proc/kmsg")
    }
    assert all(failed for _, failed in said.values())
    assert "not a regular file" in said["pipe"][0]
    assert "not a regular file" in said["link"][0]
    assert "is empty" in said["empty"][0]
    assert "is larger than 32MB" in said["large"][0]
    assert "No such file" in said["none"][0]
    assert stage.shown == []


def test_a_file_system_that_hangs_holds_nobody_up(stage):
    stage.thread = lambda *_: Deferred()
    answers = stage.begin("display_image", path="a.png")
    stage.clock.advance(READ_TIMEOUT)
    assert stage.finished(answers)[1]


def test_peers_are_listed_without_the_session_itself(stage):
    text, failed = stage.call("list_peers", limit=5)
    assert (text, failed) == (
        """\
aaaa-1  active=true  flavor=opencode  Shop
aaab-2  active=false  flavor=opencode  Old work""",
        False,
    )
    assert stage.hub.sent == [("GET", "/api/sessions?limit=7&order=updatedAt", None)]


@pytest.mark.parametrize("limit", [0, 101, "5", True, -1])
def test_a_limit_out_of_its_range_is_refused(stage, limit):
    assert stage.call("list_peers", limit=limit) == ("limit must be a number from 1 to 100", True)


@pytest.mark.parametrize(
    ("prefix", "sentence"),
    [
        ("zz", "no session matching prefix 'zz'"),
        ("aaa", "2 sessions match the prefix 'aaa'"),
        (SID, "That is this session itself"),
    ],
)
def test_a_prefix_must_name_one_other_session(stage, prefix, sentence):
    for tool in ("inspect_peer", "ping_peer"):
        text, failed = stage.call(tool, sessionIdPrefix=prefix, message="hi")
        assert failed
        assert text.startswith(sentence)
    assert not [one for one in stage.hub.sent if one[0] == "POST"]


def test_the_texts_of_a_peer_are_shown(stage):
    said = {"type": "codex", "data": {"type": "message", "message": "a " * 600}}
    claude = {"message": {"content": [{"type": "text", "text": "hello"}, {"type": "tool_use"}]}}
    stage.hub.messages = [
        {"content": {"role": "user", "content": {"type": "text", "text": "hi\nthere"}}},
        {"content": {"role": "agent", "content": said}},
        {"content": {"role": "agent", "content": {"type": "output", "data": claude}}},
        {"content": {"role": "agent", "content": {"type": "event", "data": {"type": "ready"}}}},
        {"content": 7},
        None,
    ]
    lines = stage.call("inspect_peer", sessionIdPrefix="aaaa", messageLimit=9)[0].splitlines()
    assert lines[0] == "sessionId: aaaa-1"
    assert lines[-4] == "messages (texts of the newest 9): 3"
    assert lines[-3] == "[user] hi there"
    assert len(lines[-2]) == len("[agent] ") + 501
    assert lines[-1] == "[agent] hello"


def test_a_peer_that_has_ended_is_resumed_before_it_gets_the_message(stage):
    answers = stage.begin("ping_peer", sessionIdPrefix="aaab", message="hi")
    assert stage.hub.sent[-2] == ("POST", "/api/sessions/aaab-2/resume", {})
    stage.hub.sessions[2]["active"] = True
    stage.clock.advance(1)
    assert stage.finished(answers) == ("The message was delivered to aaab-2", False)
    assert stage.hub.sent[-1] == ("POST", "/api/sessions/aaab-2/messages", {"text": "hi"})


def test_two_agents_cannot_answer_one_another_without_end(stage):
    def ping() -> bool:
        return not stage.call("ping_peer", sessionIdPrefix="aaaa", message="hi")[1]

    assert [ping() for _ in range(MAX_PINGS + 1)] == [True] * MAX_PINGS + [False]
    stage.clock.advance(PING_PERIOD + 1)
    assert ping()


@pytest.mark.parametrize("through_link", [False, True])
def test_the_settings_of_hapi_and_what_the_system_tells_of_the_process_are_not_shown(
    stage, tmp_path, through_link
):
    home = tmp_path.parent / "home"
    home.mkdir(exist_ok=True)
    (home / "settings.json").write_text('{"cliApiToken": "secret"}')
    for secret in (home / "settings.json", Path("/proc/self/environ")):
        path = secret
        if through_link:
            path = tmp_path / f"{secret.name}.png"
            path.symlink_to(secret)
        text, is_error = stage.call("display_media", path=str(path))
        assert is_error
        assert "is private" in text
    assert stage.shown == []


def test_a_home_of_an_unknown_user_is_an_error_for_the_model(stage):
    text, is_error = stage.call("display_image", path="~nosuchuser/x.png")
    assert is_error
    assert "home" in text
