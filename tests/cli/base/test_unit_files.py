"""Service files: what each supervisor reads back from them, and how they are put in place."""

from __future__ import annotations

import configparser
import os
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
from hapi.cli.base.service_installation import Target, destination, install, installation
from hapi.cli.base.unit_files import HUB, KINDS, RUNNER, Installation, text_of
from hapi.cli.commands.runner.install_service import absolute
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


def of_runner(
    flags: RunnerFlags,
    environ: dict[str, str] | None = None,
    target: Target = Target("systemd-user"),
) -> Installation:
    words = ("runner", "start-sync", *absolute(flags).words())
    return installation(RUNNER, words, dict(os.environ) if environ is None else environ, target)


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


@pytest.mark.peer("systemd")
@pytest.mark.parametrize("service", [RUNNER, HUB], ids=["runner", "hub"])
@pytest.mark.parametrize("kind", ["systemd", "systemd-user"])
def test_systemd_itself_finds_nothing_wrong__V01(kind, service, tmp_path):
    program = tmp_path / "my 50% hapi"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    path = tmp_path / f"{service.name}.service"
    environment = {"PATH": "/bin", "HAPI_HOME": "/home/mé 50%/.hapi"}
    words = (str(program), *ARGV[1:])
    what = Installation(words, environment, "daemon", service=service, binds_low_port=True)
    path.write_text(text_of(kind, what))
    judged = subprocess.run(
        ["systemd-analyze", "verify", *(["--user"] if kind == "systemd-user" else []), path],
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
    )
    assert service.name not in judged.stderr
    assert path.name not in judged.stderr


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
    environ["HAPI_HOME"] = str(home.path)
    what = of_runner(RunnerFlags(("~/work",)), environ, Target(kind))
    assert canary not in text_of(kind, what)
    assert what.environment.items() >= {"PATH": "/bin", "HAPI_HOME": str(home.path)}.items()
    assert what.environment.keys() <= {"PATH", "HAPI_HOME", "HOME", "USER", "LOGNAME"}


def test_roots_are_absolute_since_a_service_starts_elsewhere(home, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    assert of_runner(RunnerFlags(("here",))).argv[-1] == str(tmp_path / "here")


def test_every_flag_of_the_runner_is_in_the_service(home):
    flags = RunnerFlags(session_command="true --x", more={"max_sessions": "4", "queue": "2"})
    words = of_runner(flags).argv
    assert words[words.index("start-sync") :][1:] == tuple(
        evolve(flags, session_command=f"{shutil.which('true')} --x").words()
    )


def test_a_line_break_gets_into_no_service_file__K03(home):
    with pytest.raises(CommandError, match="line break"):
        of_runner(RunnerFlags(("/a\nExecStart=/bin/evil",)))


def test_a_directory_is_once_in_the_path_of_a_service(home):
    environ = {"PATH": "/b:/a:/b", "HAPI_HOME": str(home.path)}
    assert of_runner(RunnerFlags(), environ).environment["PATH"] == "/b:/a"


@pytest.mark.parametrize("place", ["/opt/a ;b", "/opt/a #b", "/opt/a'b\"c"])
def test_what_supervisord_would_cut_off_is_refused(place):
    what = evolve(WHAT, environment={"HAPI_HOME": place})
    with pytest.raises(CommandError, match="supervisord"):
        install(Target("supervisord"), what)


def test_it_is_printed_unless_asked_to_be_written(tmp_path, capsys):
    install(Target("systemd-user", path=tmp_path / "unit"), WHAT)
    assert capsys.readouterr().out == text_of("systemd-user", WHAT)
    assert not (tmp_path / "unit").exists()


def test_a_file_that_differs_is_never_overwritten_without_force(tmp_path, capsys):
    path = tmp_path / "user/unit"
    install(Target("systemd-user", write=True, path=path), WHAT)
    install(Target("systemd-user", write=True, path=path), WHAT)
    assert "is up to date" in capsys.readouterr().out
    path.write_text("mine")
    with pytest.raises(CommandError, match="exists and differs"):
        install(Target("systemd-user", write=True, path=path), WHAT)
    assert path.read_text() == "mine"
    install(Target("systemd-user", write=True, path=path, force=True), WHAT)
    assert path.read_text() == text_of("systemd-user", WHAT)


@pytest.mark.parametrize(
    ("kind", "again"),
    [
        ("systemd-user", "systemctl --user restart hapi-runner"),
        ("systemd", "systemctl restart hapi-runner"),
        ("supervisord", "supervisorctl update"),
    ],
)
def test_a_replaced_file_comes_with_the_command_that_starts_its_service_again(
    kind, again, tmp_path, capsys
):
    path = tmp_path / "unit"
    path.write_text("of an earlier version")
    install(Target(kind, write=True, path=path, force=True), WHAT)
    said = capsys.readouterr().out
    assert again in said.split("Next, run:")[1]
    assert "enable --now" not in said


def test_a_place_that_cannot_be_written_is_one_sentence(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(CommandError, match="cannot be written"):
        install(Target("systemd-user", write=True, path=tmp_path / "file/unit"), WHAT)


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


def test_a_workspace_root_that_does_not_exist_is_named_before_the_first_start(home, tmp_path):
    words = ["runner", "install-service", "--kind", "systemd-user"]
    missing = tmp_path / "later"
    done = CliRunner().invoke(hapi, [*words, "--workspace-root", str(missing)])
    assert f"the workspace root {missing} is not an existing directory" in done.stderr
    missing.mkdir()
    done = CliRunner().invoke(hapi, [*words, "--workspace-root", str(missing)])
    assert "workspace root" not in done.stderr


def test_the_hub_command_takes_the_options_of_the_hub(home):
    words = "hub install-service --kind systemd --port 443 --trusted-proxy ::1 --trusted-proxy ::2"
    done = CliRunner().invoke(hapi, [*words.split(), "--database", "x.db"])
    service = section(done.stdout, "Service")
    assert service["ExecStart"].endswith(
        f"hub --port 443 --trusted-proxy ::1 --trusted-proxy ::2 --database {os.getcwd()}/x.db"
    )
    assert service["RestartPreventExitStatus"] == "2 3"
    assert service["ExecReload"] == "/bin/kill -HUP $MAINPID"
    assert "KillMode" not in service


@pytest.mark.parametrize(
    ("kind", "section_name", "key"),
    [("systemd", "Service", "TimeoutStopSec"), ("supervisord", "program:hapi-hub", "stopwaitsecs")],
)
@pytest.mark.parametrize(
    ("words", "seconds"),
    [
        ("", "20"),
        ("--advertise http://10.0.0.5:3006", "30"),
        ("--advertise http://10.0.0.5:3006 --drain-seconds 89.5", "110"),
    ],
)
def test_a_hub_of_several_gets_the_time_that_it_lets_its_clients_move(
    home, kind, section_name, key, words, seconds
):
    options = f"hub install-service --kind {kind} --database postgresql://hapi@db1/hapi {words}"
    done = CliRunner().invoke(hapi, options.split())
    assert section(done.stdout, section_name)[key] == seconds


def test_an_invalid_option_of_the_hub_gets_into_no_service(home):
    done = CliRunner().invoke(hapi, ["hub", "install-service", "--keep-sessions", "x"])
    assert done.exit_code == 2 or isinstance(done.exception, Exception)
    assert not done.stdout
