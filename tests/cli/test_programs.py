"""The commands on real processes: a person's terminal, seen from outside."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import psutil
import pytest

from tests.support.peers import User
from tests.support.programs import Stage, free_port, until

pytestmark = pytest.mark.program
HAPI = [sys.executable, "-m", "hapi"]


@pytest.fixture
def stage(tmp_path):
    made = Stage(tmp_path)
    made.base["HAPI_HOME"] = str(tmp_path / "home")
    yield made
    made.end()


class Ran:
    """One command that has ended."""

    def __init__(self, stage: Stage, *words: str, stdin: str = "", **environ: str) -> None:
        done = subprocess.run(
            [*HAPI, *words],
            env={**stage.base, **environ},
            cwd=stage.path,
            input=stdin,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        self.code, self.out, self.err = done.returncode, done.stdout, done.stderr
        assert "Traceback" not in self.err, self.err

    def refusal(self) -> tuple[int, str]:
        """The code and the one sentence of a command that failed."""
        assert self.err.startswith("hapi: "), (self.code, self.out, self.err)
        assert self.err.count("\n") == 1, self.err
        return self.code, self.err.removeprefix("hapi: ").rstrip("\n")


@pytest.fixture
def up(stage):
    """`hapi up` with everything started; what it printed is in `.printed`."""
    port = free_port()
    program = stage.start("up", [*HAPI, "up", "--port", str(port)], output=".printed")
    program.ready(lambda: "Ctrl+C" in program.output and "registered" in program.output)
    return program, port


@pytest.fixture
def hub(stage, canary):
    """A hub alone; the stage's commands know it."""
    port = free_port()
    stage.base.update(HAPI_API_URL=f"http://127.0.0.1:{port}", CLI_API_TOKEN=canary)
    program = stage.start(
        "hub",
        [*HAPI, "hub", "--port", str(port)],
        {"HAPI_HOME": str(stage.path / "hubhome")},
        output=".printed",
    )
    program.ready(lambda: "Page:" in program.output)
    return User(f"http://127.0.0.1:{port}", canary).login()


def test_up_prints_an_address_that_logs_in_and_shows_this_machine(up, stage):
    program, port = up
    token = re.search(rf"http://127\.0\.0\.1:{port}/#token=(\S+)", program.output)
    assert token is not None
    assert "`demo`" in program.output
    user = User(f"http://127.0.0.1:{port}", token[1]).login()
    assert "<html" in user.get("/").lower()
    assert len(until(user.machines)) == 1
    assert program.end(signal.SIGINT) == 0


def test_up_spawns_the_demo_agent_in_a_new_directory(up, stage):
    _, port = up
    token = json.loads((stage.path / "home/settings.json").read_text())["cliApiToken"]
    user = User(f"http://127.0.0.1:{port}", token).login()
    spawned = user.spawn(until(user.machines)[0]["id"], stage.path / "new/project", agent="demo")
    assert spawned["type"] == "success", spawned
    assert (stage.path / "new/project").is_dir()
    listed = json.loads(Ran(stage, "runner", "list", "--json").out)
    assert [child["happySessionId"] for child in listed] == [spawned["sessionId"]]
    assert Ran(stage, "runner", "stop-session", spawned["sessionId"]).out == "Session stopped\n"
    assert (
        Ran(stage, "runner", "stop-session", spawned["sessionId"]).out
        == "Session was already stopped\n"
    )


def test_a_project_cannot_slip_its_own_modules_into_a_session(up, stage):
    _, port = up
    project = stage.directory("hostile")
    for name in ("json.py", "hapi.py", "attrs.py", "twisted.py"):
        (project / name).write_text("import sys; sys.exit('taken over')\n")
    token = json.loads((stage.path / "home/settings.json").read_text())["cliApiToken"]
    user = User(f"http://127.0.0.1:{port}", token).login()
    assert user.spawn(until(user.machines)[0]["id"], project, agent="demo")["type"] == "success"


def test_a_runner_start_beside_up_is_already_there_and_never_replaces_it(up, stage):
    program, _ = up
    same = Ran(stage, "runner", "start")
    assert (
        same.out
        == f"The runner is already running with this version and these flags (pid {program.pid})\n"
    )
    code, sentence = Ran(stage, "runner", "start", "--workspace-root", str(stage.path)).refusal()
    part_of_up = f"the runner (pid {program.pid}) is part of `hapi up`; "
    assert (code, sentence) == (
        3,
        part_of_up + "stop it before you start a runner with other flags",
    )
    code, sentence = Ran(stage, "runner", "restart").refusal()
    assert (code, sentence) == (3, part_of_up + "restart `hapi up` instead")
    assert (
        json.loads(Ran(stage, "runner", "status", "--json").out)["admission"]["accepting"] is True
    )
    assert program.running


def test_runner_stop_ends_up_as_a_whole_and_says_so(up, stage):
    program, _ = up
    assert Ran(stage, "runner", "stop").out == (
        f"Runner stopped (pid {program.pid})\n"
        "It was part of `hapi up`: the hub and its page are stopped as well\n"
    )
    assert program.exit_code() == 0


def test_a_second_up_says_where_the_first_one_is(up, stage):
    program, port = up
    second = Ran(stage, "up", "--port", str(port))
    assert second.code == 0
    first, page, *_ = second.out.splitlines()
    assert first == f"Already running in {stage.path}/home (pid {program.pid})."
    assert page.startswith(f"Page: http://127.0.0.1:{port}/#token=")
    for words, difference in (
        (("--port", "24999"), f"on port {port}, not 24999"),
        (("--workspace-root", "/"), "without workspace roots"),
    ):
        code, sentence = Ran(stage, "up", *words).refusal()
        assert code == 3
        assert sentence == (
            f"`hapi up` is already running in {stage.path}/home (pid {program.pid}) {difference}; "
            "stop it with `hapi runner stop`"
        )
    assert program.end() == 0


def test_up_leaves_the_token_out_of_its_logs__K02(up, stage):
    program, _ = up
    assert program.end() == 0
    token = json.loads((stage.path / "home/settings.json").read_text())["cliApiToken"]
    logs = list((stage.path / "home/logs").iterdir())
    assert logs
    assert not [path for path in logs if token in path.read_text()]


def test_a_port_in_use_is_one_sentence(stage):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        for verb in ("up", "hub"):
            code, sentence = Ran(stage, verb, "--port", str(port)).refusal()
            assert code == 1
            assert (
                sentence == f"cannot listen on 127.0.0.1:{port}: Address already in use "
                "(use --port to choose another port)"
            )


@pytest.mark.parametrize("verb", ["up", "hub"])
def test_an_address_that_is_no_trusted_proxy_is_one_sentence(stage, verb):
    code, sentence = Ran(stage, verb, "--port", "0", "--trusted-proxy", "10.0.0.300").refusal()
    assert code == 2
    assert (
        sentence == "--trusted-proxy: '10.0.0.300' must be an IP address or a network such as "
        "10.0.0.0/8 or fd00::/8"
    )


def test_a_hub_raises_its_limit_of_open_files(stage, canary):
    program = stage.start(
        "hub",
        ["sh", "-c", 'ulimit -S -n 256; exec "$@"', "sh", *HAPI, "hub", "--port", "0"],
        {"CLI_API_TOKEN": canary},
        output=".printed",
    )
    program.ready(lambda: "Page:" in program.output)
    soft, hard = psutil.Process(program.pid).rlimit(psutil.RLIMIT_NOFILE)
    assert soft == min(hard, 1 << 20) > 256


def test_a_hub_ends_in_order_on_a_signal(stage, canary):
    program = stage.start(
        "hub", [*HAPI, "hub", "--port", "0", "--json"], {"CLI_API_TOKEN": canary}, output=".printed"
    )
    told = program.ready(
        lambda: json.loads(program.output) if program.output.rstrip().endswith("}") else None
    )
    assert User(told["url"], canary).get("/health")["status"] == "ok"
    assert program.end(signal.SIGTERM) == 0


def test_a_runner_starts_answers_and_stops(hub, stage):
    roots = stage.directory("work")
    started = Ran(stage, "runner", "--workspace-root", str(roots), "start")
    assert started.code == 0, started.err
    pid = int(re.search(r"pid (\d+), registered", started.out)[1])
    assert os.getsid(pid) == pid
    assert len(until(hub.machines)) == 1

    status = json.loads(Ran(stage, "runner", "status", "--json").out)
    assert (status["running"], status["pid"], status["registered"], status["workspaceRoots"]) == (
        True,
        pid,
        True,
        [str(roots)],
    )
    assert f"pid {pid}" in Ran(stage, "runner", "status").out
    assert Ran(stage, "runner", "list").out == "No active sessions this runner is aware of.\n"
    log = Path(Ran(stage, "runner", "logs").out.strip())
    assert log.parent == stage.path / "home/logs"
    assert log.exists()

    again = Ran(stage, "runner", "start", "--workspace-root", str(roots))
    assert (
        again.out
        == f"The runner is already running with this version and these flags (pid {pid})\n"
    )
    other = Ran(stage, "runner", "start")
    assert other.out.startswith(f"Replacing the running runner (pid {pid}, ")
    assert other.code == 0, other.err
    newer = json.loads(Ran(stage, "runner", "status", "--json").out)["pid"]
    assert newer != pid

    assert Ran(stage, "runner", "stop").out == f"Runner stopped (pid {newer})\n"
    assert Ran(stage, "runner", "stop").out == "The runner was not running\n"


def test_without_a_runner_the_commands_say_so(stage):
    for verb in ("status", "list", "stop-session x", "drain", "resume", "restart", "revive"):
        code, sentence = Ran(stage, "runner", *verb.split()).refusal()
        assert (code, sentence) == (
            5,
            f"no runner is running in {stage.path}/home; start one with `hapi runner start`",
        )
    assert json.loads(Ran(stage, "runner", "list", "--json").out) == []


def test_a_runner_in_the_foreground_ends_in_order_on_a_signal(hub, stage):
    program = stage.start("runner", [*HAPI, "runner", "start-sync"])
    program.ready(lambda: any(machine["active"] for machine in hub.machines()))
    assert program.end(signal.SIGINT) == 0
    assert not (stage.path / "home/runner.state.json").exists()


def test_a_second_runner_in_one_home_ends_with_status_3_and_names_the_first(hub, stage):
    first = stage.start("runner", [*HAPI, "runner", "start-sync"])
    first.ready(lambda: any(machine["active"] for machine in hub.machines()))
    code, sentence = Ran(stage, "runner", "start-sync").refusal()
    assert code == 3
    assert str(first.pid) in sentence
    assert first.end() == 0


def test_a_hub_that_is_away_is_told_and_the_runner_goes_on_trying__N01(stage, canary):
    stage.base.update(HAPI_API_URL=f"http://127.0.0.1:{free_port()}", CLI_API_TOKEN=canary)
    code, sentence = Ran(stage, "runner", "start", "--timeout", "5").refusal()
    assert code == 6
    assert "is running but not registered at http://127.0.0.1" in sentence
    assert "the runner keeps retrying" in sentence
    code, sentence = Ran(stage, "runner", "start", "--timeout", "0.3").refusal()
    assert code == 6
    assert "connection refused" in sentence
    assert Ran(stage, "runner", "start", "--wait", "api-only").code == 0
    assert Ran(stage, "runner", "stop").code == 0


def test_a_refused_token_ends_the_start_at_once_with_its_own_status(hub, stage):
    begun = time.monotonic()
    code, sentence = Ran(
        stage, "runner", "start", "--timeout", "300", CLI_API_TOKEN="another-token-123"
    ).refusal()
    assert code == 7
    assert "refuses the access token of this runner" in sentence
    assert "hapi auth login" in sentence
    assert time.monotonic() - begun < 150  # it did not wait for its time-out
    assert Ran(stage, "runner", "start").out.startswith("Replacing the running runner")
    assert Ran(stage, "runner", "stop").code == 0


def test_a_runner_finds_the_hub_of_its_home_on_whatever_port(stage):
    port = free_port()
    program = stage.start("hub", [*HAPI, "hub", "--port", str(port)], output=".printed")
    program.ready(lambda: "Page:" in program.output)
    assert Ran(stage, "runner", "start").code == 0
    assert (
        json.loads(Ran(stage, "runner", "status", "--json").out)["hub"]["url"]
        == f"http://127.0.0.1:{port}"
    )
    assert Ran(stage, "runner", "stop").code == 0


def test_a_hub_in_a_home_that_asks_another_one_says_how_a_runner_gets_to_it(stage):
    home, port = stage.directory("home"), free_port()
    home.chmod(0o700)
    (home / "settings.json").write_text(json.dumps({"apiUrl": "https://hub.example.com"}))
    program = stage.start("hub", [*HAPI, "hub", "--port", str(port)], output=".printed")
    program.ready(lambda: "Page:" in program.output)
    assert f"HAPI_API_URL=http://127.0.0.1:{port} hapi runner start" in program.output
    assert json.loads((home / "settings.json").read_text())["apiUrl"] == "https://hub.example.com"


@pytest.mark.parametrize("killed", [False, True])
def test_a_start_says_which_flags_of_the_runner_before_are_gone(hub, stage, killed):
    root = str(stage.path)
    first = json.loads(
        Ran(stage, "runner", "start", "--workspace-root", root, "--max-sessions", "2", "--json").out
    )
    if killed:
        os.kill(first["pid"], signal.SIGKILL)
    second = Ran(stage, "runner", "start")
    assert second.code == 0
    assert f"had --workspace-root {root} --max-sessions 2, this one does not" in second.err
    assert Ran(stage, "runner", "start").err == ""
    assert Ran(stage, "runner", "stop").code == 0


@pytest.mark.parametrize(
    "verb",
    [
        "runner status",
        "runner stop",
        "runner list",
        "runner logs",
        "runner events",
        "runner drain",
        "auth logout",
    ],
)
def test_a_home_that_is_none_is_told_by_those_who_only_look(stage, verb):
    (stage.path / "home").write_text("in the way")
    code, sentence = Ran(stage, *verb.split()).refusal()
    assert (code, sentence) == (
        1,
        f"HAPI home '{stage.path}/home' cannot be used: it is not a directory",
    )


def test_a_session_command_that_is_no_text_is_refused_in_words__M05(stage):
    program = os.fsencode(stage.path) + b"/caf\xe9"
    Path(os.fsdecode(program)).symlink_to("/bin/true")
    words = ["runner", "start", "--session-command", os.fsdecode(program)]
    code, sentence = Ran(stage, *words, CLI_API_TOKEN="x" * 12).refusal()
    assert code == 1
    assert "is not valid UTF-8" in sentence


def test_up_does_not_push_a_lone_runner_aside(hub, stage):
    assert Ran(stage, "runner", "start").code == 0
    pid = json.loads(Ran(stage, "runner", "status", "--json").out)["pid"]
    code, sentence = Ran(stage, "up", "--port", "0").refusal()
    assert code == 3
    assert sentence.startswith(
        f"a runner (pid {pid}, hub {hub.url}) is already running in {stage.path}/home"
    )
    assert Ran(stage, "runner", "stop").out == f"Runner stopped (pid {pid})\n"


@pytest.mark.peer("hapi")
def test_an_npm_runner_is_told_and_replaced(hub, stage):
    peers = Path(os.environ["HAPI_PEERS"])
    npm = stage.start("npm-runner", [str(peers / ".bin/hapi"), "runner", "start-sync"])
    npm.ready(lambda: any(machine["active"] for machine in hub.machines()), 40.0)
    status = json.loads(Ran(stage, "runner", "status", "--json").out)
    assert (status["running"], status["version"]) == (True, "npm 0.30.7")
    assert f"pid {status['pid']}" in Ran(stage, "runner", "status").out
    assert Ran(stage, "runner", "list").out == "No active sessions this runner is aware of.\n"
    started = Ran(stage, "runner", "start")
    assert started.out.startswith(
        f"Replacing the running runner (pid {status['pid']}, version npm 0.30.7)\n"
    )
    assert started.code == 0, started.err
    assert npm.exit_code() == 0
    assert Ran(stage, "runner", "stop").code == 0


def test_twistd_serves_the_same_runner_and_its_log_hides_the_token__K02(hub, stage, canary):
    twistd = "from twisted.scripts.twistd import run; run()"
    words = ["-n", "--pidfile=", "--logger=hapi.log.json_logger", "hapi-runner"]
    program = stage.start("twistd", [sys.executable, "-c", twistd, *words])
    program.ready(lambda: any(machine["active"] for machine in hub.machines()))
    assert json.loads(Ran(stage, "runner", "status", "--json").out)["pid"] == program.pid
    program.end()
    assert [json.loads(line)["message"] for line in program.output.splitlines()]
    assert canary not in program.output


def test_login_asks_the_hub_and_status_tells(hub, stage, canary):
    del stage.base["CLI_API_TOKEN"]
    assert Ran(stage, "auth", "login", stdin="wrong-token-123\n").refusal()[0] == 7
    assert Ran(stage, "auth", "login", stdin=f"{canary}\n").code == 0
    status = Ran(stage, "auth", "status")
    assert status.code == 0
    assert status.out.endswith("The hub accepts the token.\n")
    assert Ran(stage, "auth", "status", CLI_API_TOKEN="wrong-token-123").code == 7
    assert Ran(stage, "auth", "status", HAPI_API_URL=f"http://127.0.0.1:{free_port()}").code == 6


def test_doctor_finds_what_is_broken(hub, stage):
    sound = Ran(stage, "doctor")
    assert sound.code == 0, sound.out + sound.err
    found = {
        check["name"]: check["finding"]
        for check in json.loads(Ran(stage, "doctor", "--json").out)["checks"]
    }
    assert (found["hub"], found["runner"], found["disk"]) == ("good", "note", "good")
    assert Ran(stage, "doctor", CLI_API_TOKEN="wrong-token-123").code == 1
    (stage.path / "home").mkdir(exist_ok=True)
    (stage.path / "home/runner.state.json").write_text("torn {")
    (stage.path / "home/settings.json").write_text("torn {")
    broken = json.loads(Ran(stage, "doctor", "--json").out)
    assert not broken["ok"]
    findings = {check["name"]: check["finding"] for check in broken["checks"]}
    assert (findings["settings"], findings["state"], findings["hub"]) == ("broken", "note", "note")


@pytest.mark.parametrize("verb", ["up", "runner start", "runner start-sync", "hub", "demo"])
def test_corrupt_settings_are_one_sentence_everywhere(stage, verb):
    (stage.directory("home") / "settings.json").write_text('{"cliApiToken": "x",\n  oops}')
    code, sentence = Ran(stage, *verb.split(), CLI_API_TOKEN="x" * 12).refusal()
    assert code == 1
    assert "settings.json" in sentence
    assert "line 2, column 3" in sentence


@pytest.mark.parametrize("verb", ["runner start", "runner start-sync", "demo"])
def test_a_hub_url_with_a_path_is_one_sentence_everywhere(stage, verb):
    code, sentence = Ran(
        stage, *verb.split(), HAPI_API_URL="http://hub/path", CLI_API_TOKEN="x" * 12
    ).refusal()
    assert code == 1
    assert "must be an origin alone" in sentence


@pytest.mark.parametrize("verb", ["up", "runner start", "runner start-sync", "hub", "demo"])
def test_a_home_that_is_a_file_is_one_sentence_everywhere(stage, verb):
    (stage.path / "home").write_text("in the way")
    code, sentence = Ran(stage, *verb.split(), CLI_API_TOKEN="x" * 12).refusal()
    assert (code, sentence) == (
        1,
        f"HAPI home '{stage.path}/home' cannot be used: it is not a directory",
    )


@pytest.mark.parametrize("verb", ["runner start", "runner start-sync"])
def test_a_missing_workspace_root_is_one_sentence(stage, verb):
    words = verb.split()
    code, sentence = Ran(
        stage, *words, "--workspace-root", "/no/such/place", CLI_API_TOKEN="x" * 12
    ).refusal()
    assert code == 1
    assert "'/no/such/place' is not an existing directory" in sentence


@pytest.mark.parametrize("verb", ["up", "hub"])
def test_a_port_that_is_none_is_wrong_usage_wherever_it_stands(stage, verb):
    assert Ran(stage, verb, HAPI_LISTEN_PORT="abc").refusal()[0] == 2
    (stage.directory("home") / "settings.json").write_text('{"listenPort": true}')
    code, sentence = Ran(stage, verb).refusal()
    assert (code, sentence[:10]) == (2, "port True ")


def test_a_hub_takes_all_its_settings_as_flags(stage):
    page = stage.directory("page")
    (page / "index.html").write_text("<html>another page</html>")
    flags = [
        "--port",
        "0",
        "--web-root",
        str(page),
        "--cors-origin",
        "https://a.example",
        "--database",
        str(stage.path / "x.db"),
    ]
    program = stage.start(
        "hub", [*HAPI, "hub", *flags, "--allowed-host", "a.example", "--json"], output=".printed"
    )
    told = program.ready(
        lambda: json.loads(program.output) if program.output.rstrip().endswith("}") else None
    )
    request = urllib.request.Request(
        told["url"] + "/", headers={"Host": "a.example", "Origin": "https://a.example"}
    )
    with urllib.request.urlopen(request, timeout=10) as answer:
        assert b"another page" in answer.read()
    assert (stage.path / "x.db").exists()
    assert program.end() == 0
    code, sentence = Ran(stage, "hub", "--web-root", str(stage.path / "none")).refusal()
    assert code == 2
    assert "does not exist" in sentence


def test_an_unknown_word_is_one_sentence(stage):
    code, sentence = Ran(stage, "no-such-agent", CLI_API_TOKEN="x" * 12).refusal()
    assert code in (1, 2)
    assert "no-such-agent" in sentence


def test_the_embedding_example_of_the_documentation_serves(stage, pytestconfig):
    example = pytestconfig.rootpath / "docs/examples/embed.py"
    program = stage.start("embed", [sys.executable, str(example)], output=".printed")
    found = program.ready(lambda: re.search(r"(http://\S+)/#token=(\S+)", program.output))
    user = User(found[1], found[2]).login()
    until(
        lambda: [machine for machine in user.machines() if machine["active"]],
        what="the runner inside",
    )
    stopped = Ran(stage, "runner", "stop")
    assert (stopped.code, stopped.out.startswith("Runner stopped")) == (0, True), (
        "the runner left, its host goes on"
    )
    assert program.running
    program.end()


@pytest.mark.skipif(shutil.which("curl") is None, reason="the walk uses curl")
def test_the_rest_walk_of_the_documentation_leads_from_the_login_to_an_archived_session(
    up, stage, pytestconfig
):
    _, port = up
    url, token = (
        f"http://127.0.0.1:{port}",
        json.loads((stage.path / "home/settings.json").read_text())["cliApiToken"],
    )
    walk = subprocess.run(
        [
            "sh",
            str(pytestconfig.rootpath / "docs/examples/rest.sh"),
            url,
            str(stage.directory("project")),
        ],
        env={**stage.base, "CLI_API_TOKEN": token},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert "`echo done` ended with 0" in walk.stdout
    user = User(url, token).login()
    (session,) = user.sessions()
    assert user.archived(session["id"])["path"] == str(stage.path / "project")


def test_the_client_of_the_documentation_walks_the_same_way(up, stage, pytestconfig):
    _, port = up
    url, token = (
        f"http://127.0.0.1:{port}",
        json.loads((stage.path / "home/settings.json").read_text())["cliApiToken"],
    )
    example = str(pytestconfig.rootpath / "docs/examples/client.py")
    walk = subprocess.run(
        [sys.executable, example, url, str(stage.directory("project"))],
        env={**stage.base, "CLI_API_TOKEN": token},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert "`echo done` ended with 0" in walk.stdout
    user = User(url, token).login()
    (session,) = user.sessions()
    assert user.archived(session["id"])["path"] == str(stage.path / "project")


def test_the_two_runners_of_the_documentation_live_and_leave_each_by_itself(stage, pytestconfig):
    program = stage.start(
        "two",
        [sys.executable, str(pytestconfig.rootpath / "docs/examples/two_runners.py")],
        output=".printed",
    )
    program.ready(lambda: "both run" in program.output)
    assert Ran(stage, "runner", "stop", HAPI_HOME=str(stage.path / "home/one")).code == 0
    program.ready(lambda: "one has left (0)" in program.output)
    other = json.loads(
        Ran(stage, "runner", "status", "--json", HAPI_HOME=str(stage.path / "home/two")).out
    )
    assert (other["pid"], other["registered"]) == (program.pid, True)
    program.end(seconds=30)


def test_the_process_table_of_the_documentation_stands_in_for_real_ones(stage, pytestconfig):
    example = pytestconfig.rootpath / "docs/examples/fake_processes.py"
    done = subprocess.run(
        [sys.executable, example],
        env=stage.base,
        cwd=stage.path,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (
        done.stdout
        == "1 started: Session process exited before webhook for PID 1001 (exit code 5)\n"
    ), done.stderr


def test_a_reader_that_goes_away_ends_nothing_with_a_traceback(stage):
    shell = f"{sys.executable} -m hapi completion bash | head -1"
    done = subprocess.run(
        ["sh", "-c", shell],
        env=stage.base,
        cwd=stage.path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert "Traceback" not in done.stderr
    assert "BrokenPipe" not in done.stderr
