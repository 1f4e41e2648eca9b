"""Real agents below our hub, runner and session: each does what a person expects of it.

The tests of one agent share its session and run in the order of this file.
"""

from __future__ import annotations

import base64
import signal

import psutil
import pytest

from tests.support.peers import Refused
from tests.support.pictures import noisy_png, png
from tests.support.programs import marked, until

PICTURE = base64.b64encode(png(10, 10, b"\xff\0\0")).decode()


@pytest.fixture
def session(life):
    if not life.session_id:
        life.start()
    return life


def test_it_starts_and_answers(session, results):
    session.say("hello")
    session.wait_for_text("You said: hello")
    session.finish_turn()
    results.note(session.agent.name, "answer", "yes")


def test_a_command_is_run_when_it_is_allowed(session, results):
    session.say("Please run: touch allowed && printf so- && printf allowed")
    if session.agent.asks:
        request_id, request = session.wait_for_request()
        assert "touch allowed" in str(request["arguments"])
        session.decide(request_id, "approve", decision="approved")
    session.wait_for_text("so-allowed")
    session.finish_turn()
    assert (session.directory / "allowed").exists()
    cards = [r for r in session.user.records(session.session_id) if r["type"] == "tool-call"]
    ends = [r for r in session.user.records(session.session_id) if r["type"] == "tool-call-result"]
    assert {card["callId"] for card in cards} == {end["callId"] for end in ends}
    assert ("so-allowed" in str(ends[-1]["output"])) == session.agent.tells_output
    seen = "yes" if session.agent.asks else "never asks"
    told = "" if session.agent.tells_output else ", its output is not told"
    results.note(session.agent.name, "allow", f"{seen}{told}")


def test_a_command_is_not_run_when_it_is_denied(session, results):
    if not session.agent.asks:
        results.note(session.agent.name, "deny", "never asks")
        pytest.skip("this agent never asks")
    session.say("Please run: touch denied && echo so")
    request_id, _ = session.wait_for_request()
    session.decide(request_id, "deny", decision="denied")
    session.finish_turn()
    assert not (session.directory / "denied").exists()
    results.note(session.agent.name, "deny", "yes")


def test_what_is_allowed_for_the_session_is_not_asked_again(session, results):
    if not session.agent.asks:
        results.note(session.agent.name, "always", "never asks")
        pytest.skip("this agent never asks")
    command = "Please run: touch always"
    made = session.directory / "always"
    session.say(command)
    request_id, _ = session.wait_for_request()
    session.decide(request_id, "approve", decision="approved_for_session")
    until(made.exists, what="the command that was allowed")
    session.finish_turn()
    made.unlink()
    asked_before = set(session.session["agentState"]["completedRequests"])
    session.say(command)
    until(made.exists, what="the command, without a question")
    session.finish_turn()
    completed = session.session["agentState"]["completedRequests"]
    new = [completed[name] for name in set(completed) - asked_before]
    assert all(request["completedAt"] - request["createdAt"] < 1000 for request in new), new
    if session.agent.always_allows_all:  # another command is not asked about either
        other = session.directory / "other"
        session.say("Please run: mkdir other")
        until(other.exists, what="the other command, without a question")
        session.finish_turn()
        session.user.post(f"/api/sessions/{session.session_id}/archive")
        session.start()
        results.note(session.agent.name, "always", "yes, and all other commands")
        return
    results.note(session.agent.name, "always", "yes")


def test_a_turn_is_stopped_while_it_asks(session, results):
    if not session.agent.asks:
        results.note(session.agent.name, "abort", "never asks")
        pytest.skip("this agent never asks")
    session.say("Please run: mkdir stopped && echo so")
    session.wait_for_request()
    session.user.post(f"/api/sessions/{session.session_id}/abort")
    session.finish_turn()
    assert not (session.directory / "stopped").exists()
    assert session.user.requests(session.session_id) == {}
    session.say("after the stop")
    session.wait_for_text("You said: after the stop")
    session.finish_turn()
    results.note(session.agent.name, "abort", "yes")


def test_an_edit_is_shown_with_its_lines(session, results):
    path = session.directory / "a.txt"
    session.say(f"Please read: {path}")
    session.finish_turn()
    count = len(session.user.records(session.session_id))
    session.say(f"Please edit: {path} two=>2nd")
    until(
        lambda: (
            session.user.requests(session.session_id) or path.read_text() != "one\ntwo\nthree\n"
        ),
        what="the edit or a question about it",
    )
    shown = [str(each) for each in session.user.requests(session.session_id).values()]
    for asked in shown:
        assert "two" in asked
        assert "2nd" in asked
    session.finish_turn()
    assert path.read_text() == "one\n2nd\nthree\n"
    records = str(session.user.records(session.session_id)[count:])
    assert "two" in records
    assert "2nd" in records
    results.note(session.agent.name, "edit", "asked with its lines" if shown else "not asked")


def test_the_modes_that_the_session_tells_can_be_set(session, results):
    offer = session.session["metadata"].get("offer") or {}
    modes = [mode["id"] for mode in offer.get("modes") or []]
    before = session.session["permissionMode"]
    for mode in modes:
        session.user.post(f"/api/sessions/{session.session_id}/permission-mode", {"mode": mode})
        until(lambda mode=mode: session.session["permissionMode"] == mode, 30, f"mode {mode}")
    if modes:
        session.user.post(f"/api/sessions/{session.session_id}/permission-mode", {"mode": before})
    results.note(session.agent.name, "modes", ", ".join(modes) or "none")


def send_picture(session, text, content):
    """Attach a picture to a prompt; whether the model was given it."""
    uploaded = session.user.post(
        f"/api/sessions/{session.session_id}/upload",
        {"filename": "shot.png", "content": content, "mimeType": "image/png"},
    )
    size = len(base64.b64decode(content))
    attachment = {"id": text, "filename": "shot.png", "mimeType": "image/png", "size": size}
    session.say(text, [attachment | {"path": uploaded["path"]}])
    session.finish_turn()
    asked = [each for each in session.model.asked if text in each]
    return any(each.pictures or "image/png" in each for each in asked)


def test_a_picture_reaches_the_model(session, results):
    seen = send_picture(session, "look at this", PICTURE)
    assert seen == session.agent.picture
    results.note(session.agent.name, "picture", "yes" if seen else "not given to the model")


def test_a_picture_of_the_size_of_a_photo_reaches_the_model_too(session):
    photo = base64.b64encode(noisy_png(600, 500)).decode()
    assert send_picture(session, "look at the photo", photo) == session.agent.picture


def test_a_question_is_answered_with_the_pick_of_the_person(session, results):
    session.say("Please ask: Which colour?")
    if session.agent.question != "answered":
        session.finish_turn()
        results.note(session.agent.name, "question", session.agent.question)
        return
    request_id, request = session.wait_for_request()
    (question,) = request["arguments"]["questions"]
    assert [option["label"] for option in question["options"]][:2] == ["Red", "Blue"]
    session.decide(request_id, "approve", answers={question["question"]: ["Blue"]})
    said = session.wait_for_text("Blue")
    assert "Output:" in said
    session.finish_turn()
    results.note(session.agent.name, "question", "yes")


def test_a_killed_agent_leaves_nothing_behind_and_comes_back(session, results):
    session.model.hold_again()
    session.say("please hold")
    assert session.model.holding.wait(120)
    agent = agent_process(session)
    below = [agent, *agent.children(recursive=True)]
    agent.send_signal(signal.SIGKILL)
    session.finish_turn()
    session.model.release()
    session.say("after the kill")
    session.wait_for_text("You said: after the kill")
    session.finish_turn()
    left = [process for process in below if process.is_running()]
    assert [process for process in left if process.status() != psutil.STATUS_ZOMBIE] == []
    results.note(session.agent.name, "kill", "comes back, no process is left")


def agent_process(session) -> psutil.Process:
    """The agent's process: the child of the session's process with the agent's program.

    It is not found by its environment, since some agents (Kimi) write their title over it.
    """
    name = session.agent.program
    ours = [each for each in marked(session.cast.mark) if "-m hapi" in command_line(each)]
    for process in (child for each in ours for child in each.children()):
        line = command_line(process)
        if name in line.lower() and "-m hapi" not in line:
            return process
    raise AssertionError(f"no process of {name} among {session.cast.command_lines()}")


def command_line(process: psutil.Process) -> str:
    try:
        return " ".join(process.cmdline())
    except psutil.Error:
        return ""


def test_a_reopened_session_remembers(session, results):
    session.say("The word is rhubarb")
    session.wait_for_text("You said: The word is rhubarb")
    session.finish_turn()
    session.user.post(f"/api/sessions/{session.session_id}/archive")
    session.user.archived(session.session_id)
    answer = session.user.post(f"/api/sessions/{session.session_id}/reopen")
    session.session_id = answer["sessionId"]
    until(lambda: session.session["active"], what="the reopened session")
    session.say("What was it")
    session.wait_for_text("You said: What was it")
    session.finish_turn()
    asked = [each for each in session.model.asked if "What was it" in each and each.tools]
    remembers = any("The word is rhubarb" in each for each in asked)
    assert session.agent.resumes in (None, remembers)
    told = "kept" if remembers else "new"
    until(lambda: session.session["metadata"]["agentMemory"]["state"] == told, 30, told)
    assert answer["memory"] in (told, "unknown")  # unknown: the agent was not ready yet
    seen = "yes" if remembers else "begins anew, and says so"
    if session.agent.resumes is None:
        seen = "not always, and says so"
    results.note(session.agent.name, "resume", seen)


def test_a_fork_remembers_and_both_go_on(session, results):
    """After the session was reopened, so that the agent copies what it has loaded."""
    session.say("The tree is rowan")
    session.wait_for_text("You said: The tree is rowan")
    session.finish_turn()
    path = f"/api/sessions/{session.session_id}/fork"
    if not session.agent.forks:
        with pytest.raises(Refused, match="Fork") as refusal:
            session.user.call("POST", path, {}, seconds=240.0)
        is_offered = "not supported" not in str(refusal.value)
        seen = "offers it, and did not do it" if is_offered else "does not offer it"
        results.note(session.agent.name, "fork", seen)
        return
    parent = session.session_id
    session.session_id = session.user.call("POST", path, {}, seconds=240.0)["sessionId"]
    assert "You said: The tree is rowan" in session.user.texts(session.session_id)
    session.say("Which tree was it")
    session.wait_for_text("You said: Which tree was it")
    session.finish_turn()
    session.user.post(f"/api/sessions/{session.session_id}/archive")
    session.session_id = parent
    session.say("The original goes on")
    session.wait_for_text("You said: The original goes on")
    session.finish_turn()
    asked = [each for each in session.model.asked if each.tools]
    of_child = [each for each in asked if "Which tree was it" in each]
    of_parent = [each for each in asked if "The original goes on" in each]
    assert any("The tree is rowan" in each for each in of_child)
    assert any("The tree is rowan" in each for each in of_parent)
    assert not any("Which tree was it" in each for each in of_parent)
    results.note(session.agent.name, "fork", "remembers")


def test_an_idle_agent_rests_and_wakes_with_its_memory(session, results):
    """In a session of its own, whose agent alone has an idle time."""
    if not session.agent.resumes:
        pytest.skip("this agent does not load its sessions, or not always")
    session.user.post(f"/api/sessions/{session.session_id}/archive")
    session.start(idleAgent="3s")
    session.say("The fruit is quince")
    session.wait_for_text("You said: The fruit is quince")
    session.finish_turn()
    agent = agent_process(session)
    below = [agent, *agent.children(recursive=True)]
    until(lambda: "agentRest" in session.session["metadata"], what="the rest of the agent")
    until(lambda: not any(alive(process) for process in below), what="the end of its processes")
    assert session.session["active"]
    session.say("What fruit was it")
    session.wait_for_text("You said: What fruit was it")
    session.finish_turn()
    asked = [each for each in session.model.asked if "What fruit was it" in each and each.tools]
    assert any("The fruit is quince" in each for each in asked)
    results.note(session.agent.name, "rest", "wakes with its memory")


def alive(process: psutil.Process) -> bool:
    return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
