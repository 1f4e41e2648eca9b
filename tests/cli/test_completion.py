"""What Tab offers after `hapi`, also in real shells."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import click
import pytest
from click.shell_completion import ShellComplete

from hapi.attempts import AttemptFolder
from hapi.cli.app import hapi as root
from hapi.cli.base import completion
from hapi.cli.base.completion import complete_hub_session, complete_machine, complete_token
from hapi.protocol.attempt import AttemptEnd, AttemptRequest, AttemptSession
from tests.support.completion_shell import TerminalShell, fish_completions
from tests.support.programs import Stage, free_port

LIVE, ENDED = "3c1d9f00-0000-4000-8000-000000000001", "7e2d9f00-0000-4000-8000-000000000002"


@pytest.fixture
def home(home, monkeypatch):
    """A home with a live session and one that crashed."""
    for name, session_id in (("20261126-1", LIVE), ("20261126-2", ENDED)):
        folder = home.directory("sessions") / name
        folder.mkdir()
        attempt = AttemptFolder(folder)
        attempt.request = AttemptRequest(("hapi", "demo"), "/work/site", 0.0, agent="demo")
        attempt.session = AttemptSession(session_id)
    attempt.end = AttemptEnd(1, None, 0.0)
    monkeypatch.setenv("HAPI_HOME", str(home.path))
    return home


def offered(*words: str) -> list[tuple[str, str]]:
    """Type and value of what is offered for the last of `words`."""
    found = ShellComplete(root, {}, "hapi", "_HAPI_COMPLETE").get_completions(
        list(words[:-1]), words[-1]
    )
    return [(item.type, item.value) for item in found]


def values(*words: str) -> list[str]:
    return [value for _, value in offered(*words)]


def test_each_command_offers_the_sessions_that_it_can_take(home):
    assert values("runner", "stop-session", "") == [LIVE]
    assert values("runner", "logs", "") == [ENDED, LIVE]
    assert values("runner", "revive", "") == [ENDED]
    assert values("runner", "logs", "7e") == [ENDED]
    assert values("demo", "--existing-session-id", "3") == [LIVE]


def test_scopes_are_offered_behind_those_that_are_typed_already(home):
    create = ["auth", "token", "create", "--can"]
    assert values(*create, "a") == ["approve", "admin"]
    assert values(*create, "read,a") == ["read,approve", "read,admin"]
    assert "chat,chat" not in values(*create, "chat,")


def test_the_home_that_was_typed_is_the_one_that_is_looked_into(home, tmp_path):
    assert values("runner", "--home", str(tmp_path / "other"), "stop-session", "") == []


def test_agents_and_their_options_are_offered(home):
    assert "demo" in values("d")
    assert {"--permission-mode", "--model", "--yolo"} <= set(values("demo", "--"))
    assert "yolo" in values("codex", "--permission-mode", "")
    assert values("runner", "--revive", "") == ["auto", "offer"]
    assert values("help", "runner", "sta") == ["start", "status", "start-sync"]


def every_option():
    def below(words, command):
        for param in command.params:
            yield " ".join((*words, param.opts[-1])), param
        if isinstance(command, click.Group):
            context = click.Context(command)
            for name in command.list_commands(context):
                yield from below((*words, name), command.get_command(context, name))

    return dict(below(("hapi",), root))


KINDS = {"DIR": "dir", "FILE": "file"}


@pytest.mark.parametrize(
    ("name", "kind"),
    [(name, KINDS[each.metavar]) for name, each in every_option().items() if each.metavar in KINDS],
)
def test_every_directory_and_file_is_completed_by_the_shell(name, kind):
    option = every_option()[name]
    found = option.shell_complete(click.Context(root), "/tm")
    assert [(item.type, item.value) for item in found] == [(kind, "/tm")]


def test_nothing_is_offered_and_nothing_shown_while_the_hub_is_away(home, capfd):
    home.settings.write_text(
        json.dumps({"apiUrl": f"http://127.0.0.1:{free_port()}", "cliApiToken": "x" * 20})
    )
    context = click.Context(root)
    assert complete_machine(context, None, "") == complete_hub_session(context, None, "") == []
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("verb", ["approve", "deny", "stop", "archive", "send"])
def test_what_needs_a_running_session_is_offered_no_other(verb, monkeypatch):
    sessions = [{"id": LIVE, "active": True}, {"id": ENDED, "active": False}]
    monkeypatch.setattr(completion, "_ask", lambda path: {"sessions": sessions})
    assert offered("sessions", verb, "") == [("plain", LIVE)]
    assert offered("sessions", "show", "") == [("plain", LIVE), ("plain", ENDED)]


def environment(home) -> dict[str, str]:
    kept = {name: os.environ[name] for name in ("LANG", "LC_ALL") if name in os.environ}
    return {**kept, "HAPI_HOME": str(home.path)}


@pytest.mark.program
@pytest.mark.peer("zsh")
@pytest.mark.parametrize("kind", ["bash", "zsh"])
def test_tab_completes_in_a_real_shell(kind, home, tmp_path):
    (tmp_path / "a-long-directory").mkdir()
    (tmp_path / "a-long-file").touch()
    shell = TerminalShell(kind, tmp_path, environment(home))
    try:
        root_option = ["runner", "--workspace-root", "a-long-directory"]
        assert shell.arguments_after_tab("hapi runner --workspace-root a-l") == root_option
        assert shell.arguments_after_tab("hapi up --web-root a-l")[-1] == "a-long-directory"
        assert shell.arguments_after_tab("hapi runner stop-session 3")[-1] == LIVE
        assert shell.arguments_after_tab("hapi runner logs 7")[-1] == ENDED
        assert shell.arguments_after_tab("hapi dem") == ["demo"]
    finally:
        shell.end()


@pytest.mark.program
@pytest.mark.peer("fish")
def test_tab_completes_in_fish(home, tmp_path):
    (tmp_path / "a-long-directory").mkdir()
    (tmp_path / "a-long-file").touch()

    def offers(line: str) -> list[str]:
        return fish_completions(line, tmp_path, environment(home))

    assert offers("hapi runner --workspace-root a-l") == ["a-long-directory/"]
    assert offers("hapi runner stop-session 3") == [LIVE]
    assert offers("hapi dem") == ["demo"]


@pytest.mark.program
def test_machines_and_sessions_of_the_hub_are_offered(tmp_path, monkeypatch):
    stage = Stage(tmp_path)
    try:
        stage.base["HAPI_HOME"] = str(tmp_path / "up")
        words = [sys.executable, "-m", "hapi", "up", "--no-qr", "--port", str(port := free_port())]
        program = stage.start("up", words, output=".printed")
        program.ready(lambda: "registered" in program.output)
        monkeypatch.setenv("HAPI_HOME", str(tmp_path / "up"))
        monkeypatch.setenv("HAPI_API_URL", f"http://127.0.0.1:{port}")
        settings = json.loads((tmp_path / "up/settings.json").read_text())
        found = complete_machine(click.Context(root), None, "")
        assert [item.value for item in found] == [settings["machineId"]]
        create = ["auth", "token", "create", "--name", "phone", "--can=chat"]
        subprocess.run([sys.executable, "-m", "hapi", *create], check=True, timeout=60)
        (token,) = complete_token(click.Context(root), None, "ph")
        assert (token.value, token.help) == ("phone", "chat")
    finally:
        stage.end()
