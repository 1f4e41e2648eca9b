"""Service files: what each supervisor reads back from them, and how they are put in place."""

from __future__ import annotations

import configparser
import plistlib
import shlex
import shutil
import subprocess

import pytest
from attrs import evolve
from click.testing import CliRunner

from hapi.cli.app import hapi
from hapi.cli.base.errors import CommandError
from hapi.cli.base.flags import RunnerFlags
from hapi.cli.base.unit_files import KINDS, Installation, text_of
from hapi.cli.commands.runner.install_service import destination, install, installation
from hapi.protocol.token import AccessToken
from hapi.runner.service import FAILED, HELD, RESTART, STOPPED, SUPERSEDED

ARGV = (
    "/opt/my hapi/bin/hapi",
    "runner",
    "start-sync",
    "--workspace-root",
    '/work/50% "new" $HOME',
)
WHAT = Installation(
    ARGV,
    {"PATH": "/usr/bin:/bin", "HAPI_HOME": "/home/me/.hapi"},
    "me",
    "/home/me/.hapi/logs/launchd.out",
)


def section(text: str, name: str) -> dict[str, str]:
    """The settings of one section, those given twice as their last value."""
    found = configparser.RawConfigParser(
        strict=False, comment_prefixes=("#", ";"), delimiters=("=",)
    )
    found.optionxform = str
    found.read_string(text)
    return dict(found[name])


@pytest.mark.parametrize("kind", ["systemd", "systemd-user"])
def test_a_unit_ends_the_runner_alone_and_knows_its_exit_codes__V01_V02(kind):
    service = section(text_of(kind, WHAT), "Service")
    assert service["KillMode"] == "process"
    assert service["Type"] == "notify"
    assert service["WatchdogSec"] == "60"
    assert service["Restart"] == "on-failure"
    assert service["RestartForceExitStatus"] == str(RESTART)
    prevented = {int(code) for code in service["RestartPreventExitStatus"].split()}
    assert {HELD, SUPERSEDED} <= prevented
    assert not {FAILED, RESTART} & prevented
    assert ("User" in service) == (kind == "systemd")


def test_words_reach_the_program_through_systemd_as_they_are():
    started = section(text_of("systemd", WHAT), "Service")["ExecStart"]
    assert (
        started
        == r'"/opt/my hapi/bin/hapi" runner start-sync --workspace-root "/work/50%% \"new\" $$HOME"'
    )


@pytest.mark.skipif(
    shutil.which("systemd-analyze") is None, reason="no systemd here to judge the unit"
)
def test_systemd_itself_finds_nothing_wrong__V01(tmp_path):
    path = tmp_path / "hapi-runner.service"
    path.write_text(
        text_of("systemd-user", Installation(("/bin/true", "runner"), {"PATH": "/bin"}))
    )
    judged = subprocess.run(
        ["systemd-analyze", "verify", "--user", path],
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
    )
    assert "hapi-runner.service:" not in judged.stderr


def test_supervisord_leaves_the_sessions_and_knows_the_exit_codes__V02_V05():
    found = section(text_of("supervisord", WHAT), "program:hapi-runner")
    assert {int(code) for code in found["exitcodes"].split(",")} == {STOPPED, 2, HELD, SUPERSEDED}
    assert (found["autorestart"], found["stopasgroup"], found["killasgroup"]) == (
        "unexpected",
        "false",
        "false",
    )
    assert shlex.split(found["command"].replace("%%", "%")) == list(ARGV)
    assert 'HAPI_RUNNER_SUPERVISED="1"' in found["environment"]


def test_launchd_leaves_the_sessions_and_starts_again_after_a_failure__V02():
    found = plistlib.loads(text_of("launchd", WHAT).encode())
    assert found["ProgramArguments"] == list(ARGV)
    assert found["AbandonProcessGroup"] is True
    assert found["KeepAlive"] == {"SuccessfulExit": False}


@pytest.mark.parametrize("kind", KINDS)
def test_no_service_file_holds_a_token__K01(kind, home, canary):
    environ = {
        "CLI_API_TOKEN": canary,
        "HAPI_EXTRA_HEADERS_JSON": f'{{"x": "{canary}"}}',
        "PATH": "/bin",
        "HOME": "/home/me",
    }
    assert AccessToken.parse(canary)
    what = installation(RunnerFlags(("~/work",)), home, environ)
    assert canary not in text_of(kind, what)
    assert what.environment == {"PATH": "/bin", "HAPI_HOME": str(home.path)}


def test_roots_are_absolute_since_a_service_starts_elsewhere(home, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    assert installation(RunnerFlags(("here",)), home, {}).argv[-1] == str(tmp_path / "here")


def test_every_flag_of_the_runner_is_in_the_service(home):
    flags = RunnerFlags(session_command="true --x", more={"max_sessions": "4", "queue": "2"})
    words = installation(flags, home, {}).argv
    assert words[words.index("start-sync") :][1:] == tuple(
        evolve(flags, session_command=f"{shutil.which('true')} --x").words()
    )


def test_a_line_break_gets_into_no_service_file__K03(home):
    with pytest.raises(CommandError, match="line break"):
        installation(RunnerFlags(("/a\nExecStart=/bin/evil",)), home, {})


def test_a_user_that_is_none_is_warned_of(home, capsys):
    what = installation(RunnerFlags(), home, {}, "no-such-user-here")
    install("systemd", what, home.path / "x", write=False, force=False)
    assert "there is no user no-such-user-here on this machine" in capsys.readouterr().err


def test_a_directory_is_once_in_the_path_of_a_service(home):
    assert installation(RunnerFlags(), home, {"PATH": "/b:/a:/b"}).environment["PATH"] == "/b:/a"


def test_it_is_printed_unless_asked_to_be_written(tmp_path, capsys):
    install("systemd-user", WHAT, tmp_path / "unit", write=False, force=False)
    assert capsys.readouterr().out == text_of("systemd-user", WHAT)
    assert not (tmp_path / "unit").exists()


def test_a_file_that_differs_is_never_overwritten_without_force(tmp_path, capsys):
    path = tmp_path / "user/unit"
    install("systemd-user", WHAT, path, write=True, force=False)
    install("systemd-user", WHAT, path, write=True, force=False)
    assert "is up to date" in capsys.readouterr().out
    path.write_text("mine")
    with pytest.raises(CommandError, match="exists and differs"):
        install("systemd-user", WHAT, path, write=True, force=False)
    assert path.read_text() == "mine"
    install("systemd-user", WHAT, path, write=True, force=True)
    assert path.read_text() == text_of("systemd-user", WHAT)


def test_a_place_that_cannot_be_written_is_one_sentence(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(CommandError, match="cannot be written"):
        install("systemd-user", WHAT, tmp_path / "file/unit", write=True, force=False)


def test_each_supervisor_has_its_place():
    environ = {"HOME": "/home/me"}
    assert [str(destination(kind, environ)) for kind in KINDS] == [
        "/home/me/.config/systemd/user/hapi-runner.service",
        "/etc/systemd/system/hapi-runner.service",
        "/etc/supervisor/conf.d/hapi-runner.conf",
        "/home/me/Library/LaunchAgents/dev.hapi.runner.plist",
    ]


def test_the_command_takes_the_flags_of_the_runner(home):
    words = ["runner", "install-service", "--kind", "systemd-user", "--workspace-root", "/work"]
    done = CliRunner().invoke(hapi, words)
    assert "start-sync --workspace-root /work" in done.stdout
