"""A service for another user: that user's home and PATH, or a refusal with the reason."""

from __future__ import annotations

import os
import pwd
import shutil
import tempfile
from pathlib import Path

import pytest
from attrs import evolve
from click.testing import CliRunner

from hapi.cli.app import hapi
from hapi.cli.base import service_account
from hapi.cli.base.errors import CommandError
from hapi.cli.base.flags import RunnerFlags
from hapi.cli.base.service_account import STANDARD_PATH, Account
from hapi.cli.base.service_installation import Target, installation, token_hint
from hapi.cli.base.unit_files import RUNNER
from hapi.cli.commands.runner.install_service import absolute
from tests.support.tls_authority import Authority

ROOT_ONLY = pytest.mark.skipif(os.geteuid() != 0, reason="only root can act as another user")
OTHER = pwd.getpwnam("daemon")


@pytest.fixture
def public_directory():
    """A directory that every user can read; those of pytest are private."""
    with tempfile.TemporaryDirectory() as made:
        os.chmod(made, 0o755)
        yield Path(made).resolve()


@pytest.fixture
def bob(monkeypatch, public_directory):
    """A user bob with the number of `daemon` and a home directory of its own."""
    directory = public_directory / "bob"
    directory.mkdir()
    if os.geteuid() == 0:
        os.chown(directory, OTHER.pw_uid, OTHER.pw_gid)
    entry = pwd.struct_passwd(
        ("bob", "x", OTHER.pw_uid, OTHER.pw_gid, "", str(directory), "/bin/sh")
    )
    known = {"bob": entry}
    find = pwd.getpwnam
    monkeypatch.setattr(pwd, "getpwnam", lambda name: known.get(name) or find(name))
    monkeypatch.setattr(os, "getgrouplist", lambda name, group: [group])
    return directory


@pytest.fixture
def system_program(monkeypatch):
    """Makes our program one that every user can run."""
    monkeypatch.setattr("hapi.cli.base.service_installation.our_program", lambda: ("/bin/true",))


def service_of(user: str, kind: str = "supervisord", environ: dict[str, str] | None = None):
    target = Target(kind, user=user)
    return installation(RUNNER, ("runner", "start-sync"), environ or {"PATH": "/root/bin"}, target)


@pytest.mark.parametrize("kind", ["supervisord", "systemd"])
def test_a_service_of_another_user_has_the_home_and_path_of_that_user(bob, system_program, kind):
    (bob / ".profile").write_text("PATH=/opt/agents/bin:$PATH\n")
    what = service_of("bob", kind, {"PATH": "/root/bin", "HOME": "/root"})
    assert what.user == "bob"
    assert what.environment["HAPI_HOME"] == f"{bob}/.hapi"
    path = what.environment["PATH"]
    assert path.startswith("/opt/agents/bin:") if os.geteuid() == 0 else path == STANDARD_PATH
    if kind == "supervisord":
        assert (
            what.environment.items() >= {"HOME": str(bob), "USER": "bob", "LOGNAME": "bob"}.items()
        )


def test_a_service_of_another_user_has_no_configuration_directory_of_this_one(
    bob, system_program, monkeypatch
):
    monkeypatch.setenv("XDG_CONFIG_HOME", "/root/.config")
    monkeypatch.delenv("HAPI_HOME", raising=False)
    shown = CliRunner().invoke(
        hapi, ["runner", "install-service", "--kind", "systemd", "--user", "bob"]
    )
    assert "/root" not in shown.stdout.replace("ExecStart=/root", "")
    assert f"HAPI_HOME={bob}/.hapi" in shown.stdout


def test_a_user_that_does_not_exist_is_refused():
    with pytest.raises(CommandError, match="there is no user no-such-user-here on this machine"):
        service_of("no-such-user-here")


@pytest.mark.parametrize("kind", ["systemd-user", "launchd"])
def test_a_user_service_of_another_user_is_refused(bob, kind):
    if os.geteuid() == OTHER.pw_uid:
        pytest.skip("run by the very user of whom another user is to be refused")
    with pytest.raises(CommandError, match="runs as the user who installs it"):
        service_of("bob", kind)


def test_a_home_of_somebody_else_is_refused(bob, system_program, tmp_path):
    (tmp_path / "mine").mkdir()
    with pytest.raises(CommandError, match=r"belongs to uid \d+, so that bob cannot use it"):
        service_of("bob", environ={"HAPI_HOME": str(tmp_path / "mine")})


@ROOT_ONLY
def test_a_home_that_the_user_cannot_create_is_refused_with_the_command(bob, system_program):
    with pytest.raises(CommandError, match="install -d -m 700 -o bob /hapi-home"):
        service_of("bob", environ={"HAPI_HOME": "/hapi-home"})


@ROOT_ONLY
def test_a_program_that_the_user_cannot_run_is_refused(bob, monkeypatch, public_directory):
    hidden = public_directory / "hidden"
    hidden.mkdir(mode=0o700)
    (hidden / "hapi").write_text("#!/bin/sh\n")
    (hidden / "hapi").chmod(0o755)
    monkeypatch.setattr(
        "hapi.cli.base.service_installation.our_program", lambda: (str(hidden / "hapi"),)
    )
    with pytest.raises(CommandError, match=r"bob cannot run .*/hidden/hapi \(Permission denied\)"):
        service_of("bob")


@ROOT_ONLY
def test_a_program_whose_python_the_user_cannot_run_is_refused_with_that_python(
    bob, monkeypatch, public_directory
):
    hidden, ours = public_directory / "hidden", public_directory / "venv"
    hidden.mkdir(mode=0o700)
    shutil.copy("/bin/true", hidden / "python3.11")
    ours.mkdir()
    (ours / "python").symlink_to(hidden / "python3.11")
    (ours / "hapi").write_text(f"#!{ours}/python\n")
    (ours / "hapi").chmod(0o755)
    monkeypatch.setattr(
        "hapi.cli.base.service_installation.our_program", lambda: (str(ours / "hapi"),)
    )
    with pytest.raises(CommandError, match=rf"needs {hidden}/python3.11, .*/usr/bin/python3 -m"):
        service_of("bob")


@pytest.mark.parametrize("program", ["runner", "hub"])
def test_the_home_of_the_one_who_installs_a_service_is_not_that_of_another_user(
    bob, system_program, monkeypatch, tmp_path, program
):
    monkeypatch.setenv("HAPI_HOME", str(tmp_path / "mine"))
    (tmp_path / "mine").mkdir()
    words = [program, "install-service", "--kind", "systemd", "--user", "bob"]
    shown = CliRunner().invoke(hapi, words)
    assert f"HAPI_HOME={bob}/.hapi" in shown.stdout
    assert f"HAPI_HOME={tmp_path}/mine is not used for the service of bob" in shown.stderr
    named = CliRunner().invoke(hapi, [*words, "--home", str(bob / "data")])
    assert f"HAPI_HOME={bob}/data" in named.stdout


@ROOT_ONLY
def test_a_program_that_fails_for_the_user_is_refused_with_its_reason(
    bob, monkeypatch, public_directory
):
    (public_directory / "hapi").write_text(
        "#!/bin/sh\necho first >&2\necho no module hapi >&2\nexit 1\n"
    )
    (public_directory / "hapi").chmod(0o755)
    monkeypatch.setattr(
        "hapi.cli.base.service_installation.our_program", lambda: (str(public_directory / "hapi"),)
    )
    with pytest.raises(CommandError, match=r"\(no module hapi\)"):
        service_of("bob")


@ROOT_ONLY
def test_a_login_shell_that_gives_no_answer_leaves_the_standard_path(bob, monkeypatch):
    monkeypatch.setattr(service_account, "LOGIN_TIMEOUT", 0.3)
    account = Account.find("bob")
    (bob / ".profile").write_text("sleep 5\n")
    (bob / ".local/bin").mkdir(parents=True)
    assert account.search_path({}) == f"{bob}/.local/bin:{STANDARD_PATH}"
    assert evolve(account, shell="/usr/sbin/nologin").search_path({}).endswith(STANDARD_PATH)


@ROOT_ONLY
def test_root_is_told_the_login_of_the_user_without_sudo_which_may_be_missing(bob, system_program):
    hint = token_hint(service_of("bob"))
    assert f"`runuser -u bob -- env HAPI_HOME={bob}/.hapi /bin/true auth login`" in hint


def test_a_tilde_is_the_home_of_the_user_who_runs_the_service(bob):
    flags = absolute(RunnerFlags(("~/work", "~")), "bob")
    assert flags.workspace_roots == (f"{bob}/work", str(bob))


@ROOT_ONLY
def test_a_key_that_the_user_of_the_hub_cannot_read_is_refused(
    bob, system_program, public_directory, monkeypatch
):
    monkeypatch.delenv("HAPI_HOME", raising=False)
    certificate, key = Authority(public_directory).issue("hub.example")
    words = ["hub", "install-service", "--kind", "systemd", "--user", "bob"]
    words += ["--tls-cert", str(certificate), "--tls-key", str(key)]
    refused = CliRunner().invoke(hapi, words)
    assert f"bob cannot read {key}" in refused.output
    key.chmod(0o644)
    shown = CliRunner().invoke(hapi, words)
    assert f"--tls-key {key}" in shown.stdout
