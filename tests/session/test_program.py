"""The program `hapi <agent>`: real processes, a real hub of ours, the demo agent."""

import json
import os
import signal
import subprocess
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from hapi.attempts import AttemptFolder
from hapi.home import Home
from hapi.protocol.attempt import AttemptRequest, StopOrder
from hapi.uploads import remove_unused, unused_uploads
from tests.support.hostile_repository import Traps, change, initialize, set_traps
from tests.support.peers import OUR_HAPI, OURS, Cast
from tests.support.programs import CANARY, free_port, until

pytestmark = pytest.mark.program
BY_RUNNER = ["--hapi-starting-mode", "remote", "--started-by", "runner"]


@pytest.fixture
def cast(on_stage, tmp_path):
    return on_stage(Cast(tmp_path / "stage", token=CANARY))


@pytest.fixture
def hub(cast):
    return cast.hub(OURS)


@pytest.fixture
def session(cast, hub):
    """Starts a session of the demo agent and waits until it is ready."""

    def start(*words, **environment):
        program = begin(*words, **environment)
        row = program.ready(lambda: next((row for row in user.sessions() if row["active"]), None))
        program.ready(lambda: user.session(row["id"])["metadata"].get("demoSessionId"))
        return program, row["id"]

    def begin(*words, **environment):
        home = cast.home(OURS, "session")
        argv = [*OUR_HAPI, "demo", *(words or BY_RUNNER)]
        return cast.start(
            "session",
            argv,
            {**cast.settings(user, home, ""), **environment},
            cast.directory("project"),
        )

    running, user = hub
    start.user, start.hub, start.begin = user, running, begin
    return start


def archive(user, sid):
    found = until(
        lambda: (seen := user.session(sid)["metadata"])["lifecycleState"] == "archived" and seen
    )
    return found["archivedBy"], found["archiveReason"]


@pytest.mark.parametrize(
    ("number", "reason", "environment"),
    [
        (signal.SIGTERM, "Hub restart", {}),
        (signal.SIGINT, "User terminated", {}),
        (signal.SIGTERM, "Hub restart", {"HAPI_STARTUP": "plain"}),
    ],
    ids=["SIGTERM", "SIGINT", "plain start"],
)
def test_a_signal_archives_the_session_with_its_reason__R08(session, number, reason, environment):
    program, sid = session(**environment)
    agents = program_children(program.pid)
    assert program.end(number) == 0
    assert archive(session.user, sid) == ("cli", reason)
    assert not session.user.session(sid)["active"]
    assert not any(runs(pid) for pid in agents)


def program_children(pid):
    return [int(child) for child in open(f"/proc/{pid}/task/{pid}/children").read().split()]


def runs(pid):
    try:
        return open(f"/proc/{pid}/stat").read().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_a_stop_order_names_the_reason__R08(session, cast):
    home = Home(cast.home(OURS, "session"))
    folder = AttemptFolder.create(home, AttemptRequest(argv=("hapi",), cwd="/", at=1.0))
    program, sid = session(HAPI_ATTEMPT=folder.id)
    folder.stop = StopOrder("Stopped by runner", "hub", "stop-session", 2.0)
    assert program.end(signal.SIGTERM) == 0
    assert archive(session.user, sid) == ("cli", "Stopped by runner")


def test_a_session_within_a_session_leaves_the_outer_ones_folder_alone(session, cast):
    home = Home(cast.home(OURS, "session"))
    folder = AttemptFolder.create(home, AttemptRequest(argv=("hapi",), cwd="/", at=1.0))
    program = session.begin(
        "--yolo", HAPI_ATTEMPT=folder.id
    )  # its input is at its end: it completes at once
    assert program.exit_code(20) == 0
    assert folder.stop is None


def test_a_hub_that_is_gone_holds_no_end_up(session):
    program, _ = session()
    session.hub.program.end(signal.SIGKILL)
    assert program.end(signal.SIGTERM, seconds=5.0) == 0


def test_the_row_is_announced_to_the_runner_by_the_process_itself(session, cast):
    heard = []

    class Runner(BaseHTTPRequestHandler):
        def do_POST(self):
            heard.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b'{"status":"ok"}')

        def log_message(self, *args):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Runner)
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    state = {"pid": os.getpid(), "httpPort": server.server_port}
    (cast.home(OURS, "session") / "runner.state.json").write_text(json.dumps(state))
    program, sid = session()
    server.shutdown()
    server.server_close()
    assert [body["sessionId"] for body in heard] == [sid]
    assert heard[0]["metadata"]["hostPid"] == program.pid


def test_an_agent_that_is_killed_comes_back_with_the_next_prompt(session):
    program, sid = session()
    user = session.user
    user.say(sid, "the word is rhubarb; run: pwd")
    request_id, _ = user.asked(sid)
    for agent in program_children(program.pid):
        os.kill(agent, signal.SIGKILL)
    until(lambda: any("ended by signal 9" in str(record) for record in user.records(sid)))
    assert user.session(sid)["agentState"]["completedRequests"][request_id]["status"] == "canceled"
    user.say(sid, "what did I say?")
    until(lambda: any("rhubarb" in text for text in user.texts(sid)))


def test_a_session_is_taken_over_with_what_the_agent_remembers(session):
    program, sid = session()
    user = session.user
    user.say(sid, "plan: remember rhubarb")
    user.idle(sid)
    agent_session = user.session(sid)["metadata"]["demoSessionId"]
    program.end(signal.SIGTERM)
    archive(user, sid)
    _, again = session(*BY_RUNNER, "--existing-session-id", sid, "--resume", agent_session)
    assert again == sid
    until(lambda: user.session(sid)["metadata"]["lifecycleState"] == "running")
    user.say(sid, "what did I say?")
    until(lambda: any("You said" in text and "rhubarb" in text for text in user.texts(sid)))


def test_a_piped_prompt_is_answered_and_the_session_completes(session, cast):
    environ = {**cast.base, **cast.settings(session.user, cast.home(OURS, "session"), "")}
    done = subprocess.run(
        [*OUR_HAPI, "demo", "--yolo"],
        input="run: echo so-$((1))",
        env=environ,
        cwd=cast.directory("project"),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "`echo so-$((1))` ended with 0" in done.stdout
    assert "[in progress] Shell: echo" in done.stderr
    row = session.user.session(session.user.sessions()[0]["id"])
    assert row["metadata"]["startedBy"] == "terminal"
    assert (row["metadata"]["archivedBy"], row["metadata"]["archiveReason"]) == (
        "cli",
        "Session completed",
    )


def test_a_runner_is_started_beside_a_terminal_session_if_the_settings_say_so(session, cast):
    home = Home(cast.home(OURS, "session"))
    home.settings.write_text(json.dumps({"startRunner": True}))
    home.settings.chmod(0o600)
    program, told = pty_session(session, cast)
    state = until(lambda: home.runner_state.exists() and json.loads(home.runner_state.read_text()))
    machine = until(
        lambda: next((one for one in session.user.machines() if one["runnerState"]), None)
    )
    assert machine["runnerState"]["pid"] == state["pid"]
    until(lambda: b"on the page" in told())
    program.send_signal(signal.SIGTERM)
    assert program.wait(20) == 0
    os.kill(state["pid"], signal.SIGTERM)
    os.close(program.terminal)


def pty_session(session, cast, *words):
    """`hapi demo` in a terminal of its own: the process, and a look at what the terminal shows."""
    import pty

    ours, theirs = pty.openpty()
    environ = {**cast.base, **cast.settings(session.user, cast.home(OURS, "session"), "")}
    program = subprocess.Popen(
        [*OUR_HAPI, "demo", *words],
        env=environ,
        cwd=cast.directory("project"),
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        start_new_session=True,
    )
    os.close(theirs)
    os.set_blocking(ours, False)
    shown = []

    def look():
        try:
            shown.append(os.read(ours, 65536))
        except (BlockingIOError, OSError):
            pass
        return b"".join(shown)

    program.terminal = ours
    return program, look


def test_a_person_chats_at_a_terminal_and_on_the_page(session, cast):
    program, shown = pty_session(session, cast)
    until(lambda: b"Type a prompt" in shown())
    user = session.user
    sid = next(row["id"] for row in user.sessions() if row["active"])
    os.write(program.terminal, b"run: pwd\n")
    until(lambda: b"y (yes), a (always), n (no)" in shown())
    until(lambda: user.requests(sid), what="the request on the page")
    os.write(program.terminal, b"y\n")
    until(lambda: b"`pwd` ended with 0" in shown())
    typed = {"type": "user", "message": "run: pwd"}
    until(lambda: typed in user.records(sid), what="the prompt on the page")
    user.idle(sid)
    user.say(sid, "from the page: run: whoami")
    until(lambda: b"[page] from the page" in shown())
    request_id, _ = user.asked(sid)
    user.approve(sid, request_id)
    until(lambda: b"approved: Shell: whoami" in shown())
    user.idle(sid)
    os.write(program.terminal, b"\x04")
    assert program.wait(20) == 0
    assert archive(user, sid) == ("cli", "Session completed")
    os.close(program.terminal)


def test_a_session_leaves_the_runner_of_another_hub_alone_and_says_so(session, cast):
    home = Home(cast.home(OURS, "session"))
    state = {"pid": os.getpid(), "httpPort": 1, "startedWithApiUrl": "http://team.example:3006"}
    home.runner_state.write_text(json.dumps(state))
    program, shown = pty_session(session, cast)
    until(lambda: b"works for another hub, http://team.example:3006" in shown())
    assert json.loads(home.runner_state.read_text()) == state
    program.send_signal(signal.SIGTERM)
    assert program.wait(20) == 0
    os.close(program.terminal)


# --- what cannot start


def attempt(cast, words, **environment):
    environ = {**cast.base, "HAPI_HOME": str(cast.home(OURS, "session")), **environment}
    done = subprocess.run(
        [*OUR_HAPI, *words],
        env=environ,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert "Traceback" not in done.stderr
    return done.returncode, done.stderr.strip()


def test_wrong_words_are_refused_in_a_sentence(cast):
    assert attempt(cast, ["nobody"])[0] == 2
    code, said = attempt(cast, ["demo", "--frobnicate"])
    assert (code, said) == (2, "hapi: unknown option '--frobnicate' (see hapi demo --help)")
    code, said = attempt(cast, ["demo", "--permission-mode", "wild"])
    assert code == 2
    assert "demo has no permission mode 'wild'" in said
    code, said = attempt(cast, ["gemini"], PATH="/usr/bin:/bin")
    assert (code, said) == (1, "hapi: Gemini is not installed: there is no program gemini on PATH")


def test_a_hub_that_is_away_or_refuses_has_its_own_exit_code(cast, hub):
    _, user = hub
    code, said = attempt(
        cast, ["demo"], HAPI_API_URL=f"http://127.0.0.1:{free_port()}", CLI_API_TOKEN=CANARY
    )
    assert code == 6
    assert "connection refused" in said
    code, said = attempt(
        cast, ["demo"], HAPI_API_URL=user.url, CLI_API_TOKEN="wrong-token-of-somebody"
    )
    assert code == 7
    assert "hapi auth login" in said
    assert (
        attempt(
            cast,
            ["demo", *BY_RUNNER],
            HAPI_API_URL=user.url,
            CLI_API_TOKEN="wrong-token-of-somebody",
        )[0]
        == 1
    )
    assert attempt(cast, ["demo"], HAPI_API_URL=user.url)[0] == 1


def test_a_session_that_is_not_there_cannot_be_taken_over(cast, hub):
    _, user = hub
    words = ["demo", *BY_RUNNER, "--existing-session-id", "5b0cf2a6-27e5-4f6e-9a39-58a3d9c1c111"]
    code, said = attempt(cast, words, HAPI_API_URL=user.url, CLI_API_TOKEN=CANARY)
    assert code == 1
    assert "Session not found" in said


def test_help_names_the_agents_and_needs_no_hub(cast):
    environ = {**cast.base, "HAPI_HOME": str(cast.home(OURS, "session"))}
    done = subprocess.run(
        [*OUR_HAPI, "opencode", "--help"],
        env=environ,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0
    assert "opencode" in done.stdout
    assert "default, plan, yolo" in done.stdout


def test_a_killed_session_holds_its_uploads_no_more_and_they_can_be_removed(session, cast):
    home = Home(cast.home(OURS, "session"))
    program, sid = session()
    upload = {"filename": "報告" * 80 + ".txt", "content": "eA==", "mimeType": "text/plain"}
    path = Path(session.user.post(f"/api/sessions/{sid}/upload", upload)["path"])
    assert path.read_text() == "x"
    assert unused_uploads(home) == []
    os.kill(program.pid, signal.SIGKILL)
    until(lambda: unused_uploads(home) == [path.parent])
    assert remove_unused(path.parent)


def test_the_page_sees_changes_and_files_without_a_program_of_the_repository(session, cast):
    project = cast.directory("project")
    traps = Traps(project.parent / "traps")
    change(initialize(project))
    set_traps(project, traps)
    traps.reset()
    _, sid = session()
    for request in ("git-status", "git-diff-numstat", "git-diff-file?path=file.txt"):
        assert "file.txt" in session.user.get(f"/api/sessions/{sid}/{request}")["stdout"]
    (project / "escape").symlink_to(traps.program)
    answer = session.user.get(f"/api/sessions/{sid}/file?path=escape")
    assert "outside the working directory" in answer["error"]
    assert traps.sprung == set()


def test_an_idle_agent_rests_and_the_next_prompt_wakes_it_with_its_memory(session):
    program, sid = session(*BY_RUNNER, "--idle-agent", "1s")
    user = session.user
    user.say(sid, "plan: remember rhubarb")
    user.idle(sid)
    agents = program_children(program.pid)
    assert agents
    until(lambda: "agentRest" in user.session(sid)["metadata"])
    until(lambda: not program_children(program.pid))
    found = user.session(sid)
    assert (found["active"], found["metadata"]["lifecycleState"]) == (True, "running")
    user.say(sid, "what did I say?")
    until(lambda: any("You said" in text and "rhubarb" in text for text in user.texts(sid)))
    user.idle(sid)
    until(lambda: not program_children(program.pid))
    assert program.running


def test_of_two_processes_that_go_on_with_a_session_at_once_one_lives(session):
    """Both would take each prompt otherwise."""
    first, sid = session()
    assert first.end() == 0
    words = [*BY_RUNNER, "--existing-session-id", sid]
    both = [session.begin(*words), session.begin(*words)]
    refused = until(lambda: next((each for each in both if not each.running), None))
    lives = next(each for each in both if each is not refused)
    lives.ready(lambda: session.user.session(sid)["active"])
    assert refused.process.returncode == 1
    assert f"hapi: the process {lives.pid} runs the session {sid} already" in refused.output
    lives.ready(lambda: session.user.session(sid)["metadata"]["hostPid"] == lives.pid)
    assert lives.end() == 0
    third = session.begin(*words)  # whoever comes later has its place
    third.ready(lambda: session.user.session(sid)["active"])
