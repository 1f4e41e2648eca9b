"""Web terminals at the hub: who may open them, their limits, and what happens to one that nobody
looks at."""

from __future__ import annotations

import json

import pytest

from hapi.hub.terminals.namespace import ABSENCE_LIMIT, PAGES
from hapi.hub.terminals.terminals import CREATE_BURST, IDLE_TIMEOUT
from hapi.net.server.socket_server import SocketServer
from hapi.protocol.work.terminals import CLOSED_UNEXPECTEDLY, SCROLLBACK
from tests.support.access_tokens import create_token, web_token
from tests.support.hub_stage import TOKEN, Stage
from tests.support.memory_client import MemoryClient
from tests.support.polling_client import PollingClient, polling_site
from tests.support.terminal_stage import ATTACHES, MemoryPage, asked, page, refusal, says


@pytest.fixture
def stage(tmp_path):
    return Stage(audit_directory=tmp_path)


@pytest.fixture(params=["npm", "ours"])
def live(request, stage):
    """An active session, and its process: npm's, and one that remembers output itself."""
    more = ATTACHES if request.param == "ours" else {"capabilities": {"terminal": True}}
    return stage.live(**more)


def opened(stage, live, terminal="t1"):
    """A page with an open terminal."""
    session, process = live
    made = page(stage)
    made.create(session, terminal)
    says(process, "ready", session, terminal)
    return made


def audit(tmp_path):
    return [json.loads(line) for line in (tmp_path / "audit.jsonl").read_text().splitlines()]


# --- who may


@pytest.mark.parametrize(
    ("auth", "message"),
    [
        (None, "Missing token"),
        ({}, "Missing token"),
        ({"token": "wrong"}, "Invalid token"),
        ({"token": TOKEN}, "Invalid token"),
    ],
)
def test_a_page_without_a_web_token_is_refused_as_at_npms_hub(stage, auth, message):
    assert refusal(stage, auth) == message


def test_a_token_without_the_scope_opens_no_terminal(stage):
    weak = create_token(stage, "read", "chat", "approve", "spawn", "admin")
    strong = create_token(stage, "terminal", name="strong")
    jwt = web_token(stage, weak["token"])
    assert "scope terminal" in refusal(stage, {"token": jwt})
    made = MemoryPage(stage)
    stage.hub.terminals.connect(made, {"token": web_token(stage, strong["token"])})
    stage.rest("DELETE", f"/api/tokens/{strong['id']}")
    assert made.hung_up == "the token was revoked or has expired"


def test_the_connection_ends_with_its_token(stage):
    made = page(stage)
    stage.clock.advance(4 * 3600 + 1)
    assert made.hung_up == "the token has expired"


@pytest.mark.parametrize("namespace", ["alice", "bob"])
def test_sessions_of_other_namespaces_and_unknown_ones_are_unavailable(stage, namespace):
    session, process = stage.live("carol")
    made = page(stage, namespace)
    made.create(session)
    made.create("no-such-session", "t2")
    assert made.errors == ["Session is inactive or unavailable."] * 2
    assert asked(process, "open") == []


def test_a_session_without_a_process_is_unavailable(stage, live):
    session, process = live
    process.drop()
    made = page(stage)
    made.create(session)
    assert made.errors == ["Session is inactive or unavailable."]


def test_a_process_speaks_for_its_own_session_only(stage, live):
    session, _ = live
    made = opened(stage, live)
    _, other = stage.live(tag="other")
    says(other, "output", session, data="forged")
    stage.connect().send(
        "terminal:exit", {"sessionId": session, "terminalId": "t1", "code": 0, "signal": None}
    )
    assert made.of("output") == made.of("exit") == []


# --- the wire


def test_what_is_typed_goes_to_the_session_and_what_it_says_to_the_page(stage, live):
    session, process = live
    made = opened(stage, live)
    made.send("write", {"terminalId": "t1", "data": "ls\r"})
    made.send("resize", {"terminalId": "t1", "cols": 100, "rows": 30})
    says(process, "output", session, data="file\r\n")
    ids = {"sessionId": session, "terminalId": "t1"}
    assert asked(process, "open") == [{**ids, "cols": 80, "rows": 24}]
    assert asked(process, "write") == [{**ids, "data": "ls\r"}]
    assert asked(process, "resize") == [{**ids, "cols": 100, "rows": 30}]
    assert made.heard == [("terminal:ready", ids), ("terminal:output", {**ids, "data": "file\r\n"})]


def test_the_same_page_that_creates_again_gets_ready_and_no_replay(stage, live):
    session, process = live
    made = opened(stage, live)
    made.create(session, cols=100)
    says(process, "ready", session)
    assert [event["cols"] for event in asked(process, "open")] == [80, 100]
    assert len(made.of("ready")) == 2
    assert made.of("output") == []


@pytest.mark.parametrize(
    "payload",
    [
        None,
        {},
        {"terminalId": "", "cols": 80, "rows": 24},
        {"terminalId": 5, "cols": 80, "rows": 24},
        {"cols": 80, "rows": 24},
    ],
)
def test_an_event_that_names_no_terminal_is_ignored(stage, live, payload):
    session, process = live
    made = page(stage)
    made.send("create", payload if payload is None else {"sessionId": session, **payload})
    assert made.heard == []
    assert asked(process, "open") == []


@pytest.mark.parametrize("size", [0, -1, -(10**30), 80.5, 80.0, 1e9, 1e30, "80", None, True, [80]])
def test_a_size_that_is_none_is_refused_in_words_and_changes_no_open_terminal(stage, size):
    session, process = live = stage.live()
    made = opened(stage, live)
    for cols, rows in ((size, 24), (80, size)):
        made.create(session, "t2", cols, rows)
        made.send("resize", {"terminalId": "t1", "cols": cols, "rows": rows})
    assert (
        made.of("error")
        == [
            {
                "sessionId": session,
                "terminalId": "t2",
                "message": "The size of a terminal is given as whole numbers of columns and rows "
                "above 0.",
            }
        ]
        * 2
    )
    assert len(asked(process, "open")) == 1
    assert asked(process, "resize") == []


@pytest.mark.parametrize(
    "terminal", ["t" * 201, "t" * 2**20, "t\0", "\n", "t t", "t\x1b[2J", "ü", "\ud800", "t\n"]
)
def test_an_odd_id_is_refused_in_words_and_not_repeated(stage, terminal):
    """It would get into the environment of the shell."""
    session, process = stage.live()
    made = page(stage)
    made.create(session, terminal)
    for name in ("write", "resize", "close"):
        made.send(name, {"terminalId": terminal, "data": "x", "cols": 1, "rows": 1})
    message = "A terminal's ID has 1 to 200 visible ASCII characters."
    assert made.heard == [("terminal:error", {"sessionId": session, "message": message})]
    assert asked(process, "open") == []
    process.send("terminal:running", {"sessionId": session, "terminalIds": [terminal]})
    assert made.listed(session) == []


def test_a_terminal_of_no_session_is_refused_in_words(stage, live):
    made = page(stage)
    made.create("s" * 201)
    message = "No session is named in which the terminal is to be opened."
    assert made.heard == [("terminal:error", {"terminalId": "t1", "message": message})]


@pytest.mark.parametrize("size", [1001, 100_000, 10**9, 2**64, 10**30])
def test_a_terminal_has_at_most_a_thousand_columns_and_rows(stage, size):
    session, process = stage.live()
    made = page(stage)
    made.create(session, cols=size, rows=size)
    made.send("resize", {"terminalId": "t1", "cols": size, "rows": size})
    for (event,) in (asked(process, "open"), asked(process, "resize")):
        assert event["cols"] == event["rows"] == 1000


@pytest.mark.parametrize("size", ["1e9", "-1", "-0", "80.0", "[]"])
def test_no_odd_number_in_a_frame_opens_a_terminal_or_ends_the_connection(stage, size):
    session, process = stage.live()
    server = SocketServer(stage.clock, {"/terminal": stage.hub.terminals})
    client = MemoryClient.of(server)
    client.say(f'40/terminal,{{"token":"{stage.jwt()}"}}')
    ids = f'"sessionId":"{session}","terminalId":"t1"'
    heard = client.say(f'42/terminal,["terminal:create",{{{ids},"cols":{size},"rows":24}}]')
    assert asked(process, "open") == []
    assert [text for text in heard if "whole numbers" in text] == heard
    client.say(f'42/terminal,["terminal:create",{{{ids},"cols":80,"rows":24}}]')
    assert client.ended is None
    assert len(asked(process, "open")) == 1
    client.drop()


def test_the_exit_reaches_the_page_with_its_code(stage, live):
    session, process = live
    made = opened(stage, live)
    says(process, "error", session, message=CLOSED_UNEXPECTEDLY)  # npm's session, at every end
    says(process, "exit", session, code=3, signal=None)
    stage.clock.advance(1)
    ids = {"sessionId": session, "terminalId": "t1"}
    assert made.of("exit") == [{**ids, "code": 3, "signal": None}]
    assert made.errors == []


def test_npms_error_reaches_the_page_if_no_exit_follows(stage, live):
    session, process = live
    made = opened(stage, live)
    says(process, "error", session, message=CLOSED_UNEXPECTEDLY)
    stage.clock.advance(1)
    assert made.errors == [CLOSED_UNEXPECTEDLY]


# --- other pages, and none


def test_terminals_of_others_cannot_be_written_to_resized_or_closed(stage, live):
    _, process = live
    opened(stage, live)
    for other in (page(stage), page(stage, "alice")):
        other.send("write", {"terminalId": "t1", "data": "rm -r ~\r"})
        other.send("resize", {"terminalId": "t1", "cols": 1, "rows": 1})
        other.send("close", {"terminalId": "t1"})
    assert asked(process, "write") == asked(process, "resize") == asked(process, "close") == []


@pytest.mark.parametrize("namespace", ["default", "alice"])
def test_every_session_has_ids_of_its_own(stage, live, namespace):
    """Whoever uses an id first, page or process, does not keep others from it."""
    session, process = live
    first = opened(stage, live)
    other, other_process = stage.live(namespace, tag="other", **ATTACHES)
    other_process.send("terminal:running", {"sessionId": other, "terminalIds": ["t1", "t2"]})
    second = page(stage, namespace)
    second.create(other)
    second.send("write", {"terminalId": "t1", "data": "second"})
    first.send("write", {"terminalId": "t1", "data": "first"})
    assert [event["data"] for event in asked(process, "write")] == ["first"]
    assert [event["data"] for event in asked(other_process, "write")] == ["second"]
    page(stage).create(session, "t2")
    assert first.errors == second.errors == []
    says(process, "exit", session, code=0, signal=None)
    assert len(first.of("exit")) == 1
    assert second.of("exit") == []


def test_one_page_cannot_have_the_same_id_in_two_sessions(stage, live):
    """It names terminals by their ids alone."""
    made = opened(stage, live)
    other, process = stage.live(tag="other")
    made.create(other)
    assert made.errors == ["Terminal ID is already in use."]
    assert asked(process, "open") == []
    made.send("close", {"terminalId": "t1"})
    made.create(other)
    assert len(asked(process, "open")) == 1


def test_a_terminal_without_a_page_is_closed_only_if_it_is_certain_which(stage, live):
    session, process = live
    opened(stage, live).leave()
    other, other_process = stage.live(tag="other", **ATTACHES)
    other_process.send("terminal:running", {"sessionId": other, "terminalIds": ["t1"]})
    made = page(stage)
    made.send("close", {"terminalId": "t1"})
    page(stage, "alice").send("close", {"terminalId": "t1", "sessionId": session})
    assert asked(process, "close") == asked(other_process, "close") == []
    made.send("close", {"terminalId": "t1", "sessionId": other})
    assert (len(asked(process, "close")), len(asked(other_process, "close"))) == (0, 1)
    made.send("close", {"terminalId": "t1"})
    assert len(asked(process, "close")) == 1


def test_another_page_takes_over_with_what_was_shown(stage, live):
    session, process = live
    first = opened(stage, live)
    says(process, "output", session, data="before")
    second = page(stage)
    second.create(session, cols=90)
    if asked(process, "attach"):  # ours replays itself
        says(process, "output", session, data="in between, and in the replay")
        says(process, "output", session, data="before", replay=True)
        assert asked(process, "attach")[0]["cols"] == 90
    says(process, "ready", session)
    says(process, "output", session, data="after")
    assert [given["data"] for given in second.of("output")] == ["before", "after"]
    assert [given["data"] for given in first.of("output")] == ["before"]
    assert len(first.of("detached")) == 1
    first.send("write", {"terminalId": "t1", "data": "x"})
    assert asked(process, "write") == []


def test_what_npms_session_said_is_kept_up_to_a_limit(stage):
    session, process = stage.live(capabilities={"terminal": True})
    opened(stage, (session, process)).leave()
    for number in range(30):
        says(process, "output", session, data=f"{number:02}" * 20_000)
    second = page(stage)
    second.create(session)
    (replay,) = second.of("output")
    assert len(replay["data"]) == SCROLLBACK
    assert replay["data"].endswith("29" * 20_000)
    assert "sessionId" not in replay  # as npm's hub marks it


def test_a_page_that_reads_slowly_gets_a_replay_when_it_has_read(stage, live):
    session, process = live
    made = opened(stage, live)
    made.is_reading = False
    for number in range(1000):
        says(process, "output", session, data=f"{number}\n" * 100)
    assert made.of("output") == []
    made.is_reading = True
    made.on_readable()
    if asked(process, "attach"):
        says(process, "output", session, data="999\n", replay=True)
        says(process, "ready", session)
    (replay,) = made.of("output")
    assert replay["replay"] is True
    assert replay["data"].endswith("999\n")
    says(process, "output", session, data="more")
    assert made.of("output")[-1]["data"] == "more"


# --- limits


def test_a_page_has_four_terminals_in_all_its_sessions(stage, live):
    session, _ = live
    other, process = stage.live(tag="other")
    made = page(stage)
    for number in range(4):
        made.create(session, f"t{number}")
    made.create(other, "t5")
    assert made.errors == ["Too many terminals open (max 4)."]
    assert asked(process, "open") == []


def test_a_session_has_four_terminals_that_pages_look_at(stage, live):
    session, _ = live
    for number in range(4):
        page(stage).create(session, f"t{number}")
    fifth = page(stage)
    fifth.create(session, "t5")
    assert fifth.errors == ["Too many terminals open for this session (max 4)."]


def test_abandoned_terminals_do_not_count_and_the_oldest_of_too_many_is_ended(stage, live):
    session, process = live
    for number in range(8):
        made = page(stage)
        made.create(session, f"t{number}")
        made.leave()
        stage.clock.advance(2)
    last = page(stage)
    last.create(session, "last")
    assert last.errors == []
    assert [event["terminalId"] for event in asked(process, "close")] == ["t0"]
    assert len(stage.hub.terminals.terminals) == 8


def test_terminals_that_are_opened_and_closed_fifty_times_a_second_are_refused(stage, live):
    session, process = live
    made = page(stage)
    for number in range(50):
        made.create(session, f"t{number}")
        made.send("close", {"terminalId": f"t{number}"})
    assert len(asked(process, "open")) == CREATE_BURST
    assert len(made.errors) == 50 - CREATE_BURST
    stage.clock.advance(2)
    made.create(session, "later")
    assert len(asked(process, "open")) == CREATE_BURST + 1


def test_a_terminal_that_no_page_looks_at_ends_after_a_quarter_of_an_hour_without_traffic(
    stage, live
):
    session, process = live
    made = opened(stage, live)
    stage.tick(IDLE_TIMEOUT + 60)
    assert asked(process, "close") == []  # a page looks on
    made.leave()
    stage.alive(process, session)
    stage.clock.advance(IDLE_TIMEOUT - 60)
    says(process, "output", session, data="still building")
    stage.clock.advance(120)
    assert asked(process, "close") == []
    for _ in range(40):
        stage.clock.advance(30)
    assert len(asked(process, "close")) == 1


# --- ends, and what comes back


def test_closing_ends_the_shell_without_an_answer(stage, live):
    session, process = live
    made = opened(stage, live)
    made.send("close", {"terminalId": "t1"})
    says(process, "exit", session, code=None, signal="SIGHUP")
    assert asked(process, "close") == [{"sessionId": session, "terminalId": "t1"}]
    assert made.of("exit") == made.of("error") == []
    assert made.listed(session) == []


def test_pages_are_told_when_the_session_ends(stage, live):
    session, process = live
    made = opened(stage, live)
    process.send("session-end", {"sid": session, "time": stage.now(), "reason": "completed"})
    assert [given["signal"] for given in made.of("exit")] == ["SIGHUP"]


def test_a_page_that_was_reloaded_finds_its_terminals(stage, live):
    session, _ = live
    opened(stage, live).leave()
    again = page(stage)
    assert again.listed(session) == [{"terminalId": "t1", "attached": False, "mine": False}]
    assert page(stage, "alice").listed(session) == []


def test_after_a_restart_of_the_hub_a_running_shell_is_found_again(stage):
    session, process = stage.live(**ATTACHES)
    process.send("terminal:running", {"sessionId": session, "terminalIds": ["t1"]})
    made = page(stage)
    made.create(session)
    assert asked(process, "open") == []
    assert len(asked(process, "attach")) == 1


def test_a_session_that_is_connected_again_replays_to_the_page_that_waits(stage):
    session, process = stage.live(**ATTACHES)
    made = opened(stage, (session, process))
    opened(stage, (session, process), "t2")
    process.drop()
    again = stage.connect(sessionId=session)
    stage.alive(again, session)
    again.send("terminal:running", {"sessionId": session, "terminalIds": ["t1"]})
    assert [event["terminalId"] for event in asked(again, "attach")] == ["t1"]
    assert made.of("exit") == []
    assert len(stage.hub.terminals.terminals) == 1


def test_the_audit_says_who_opened_and_closed_a_terminal(stage, live, tmp_path):
    session, process = live
    opened(stage, live)
    says(process, "exit", session, code=3, signal=None)
    lines = [line for line in audit(tmp_path) if line["action"].startswith("terminal")]
    assert [line["action"] for line in lines] == ["terminal-open", "terminal-close"]
    assert lines[0]["subject"] == {"session": session}
    assert lines[1]["facts"] == {"terminal": "t1", "code": 3}
    assert "ls" not in json.dumps(lines)


def test_no_event_of_a_page_breaks_the_connection(stage, live):
    session, _ = live
    made = MemoryPage(stage)
    stage.hub.terminals.connect(made, {"token": stage.jwt()})
    for name in ("create", "write", "resize", "close", "list", "attach", "nonsense"):
        for payload in (None, [], "x", 5, {"terminalId": None}, {"sessionId": session}, {"a": {}}):
            made.send(name, payload)
    assert made.heard == []


def test_a_polling_page_that_is_gone_gives_its_place_to_the_next_one_of_its_login(stage):
    """Pages that are closed may say nothing, and would keep their places until a ping times out."""
    server = SocketServer(stage.clock, {"/terminal": stage.hub.terminals})
    site, auth = polling_site(server), json.dumps({"token": stage.jwt()})

    def connect() -> str:
        client = PollingClient.of(site)
        client.post(f"40/terminal,{auth}")
        return client.news()[0]

    assert {connect()[:3] for _ in range(PAGES.per_token)} == {"40/"}
    assert "Too many terminal connections of this login" in connect()
    stage.clock.advance(ABSENCE_LIMIT + 0.5)
    for _ in range(PAGES.per_token):
        assert connect().startswith("40/terminal,")
    assert "Too many terminal connections of this login" in connect()


def test_a_polling_page_that_is_there_keeps_its_place(stage):
    server = SocketServer(stage.clock, {"/terminal": stage.hub.terminals})
    site, auth = polling_site(server), json.dumps({"token": stage.jwt()})
    clients = [PollingClient.of(site) for _ in range(PAGES.per_token)]
    for each in clients:
        each.post(f"40/terminal,{auth}")
        each.news()
        each.begin("GET")
    stage.clock.advance(ABSENCE_LIMIT + 0.5)
    late = PollingClient.of(site)
    late.post(f"40/terminal,{auth}")
    assert "Too many terminal connections of this login" in late.news()[0]
