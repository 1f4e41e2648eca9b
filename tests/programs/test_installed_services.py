"""What `install-service` prints is given to the real supervisord, which starts it."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from pathlib import Path

import psutil
import pytest

from tests.support.programs import CANARY, Stage, free_port, until
from tests.support.service_namespace import can_have_one, in_namespace

pytestmark = pytest.mark.program
BOB = 12345  # number of a user that exists in the namespace only
HAPI = [sys.executable, "-m", "hapi"]


@pytest.fixture
def place():
    """A directory that every user can read; those of pytest are private."""
    made = Path(tempfile.mkdtemp()).resolve()
    made.chmod(0o755)
    yield made
    shutil.rmtree(made)


@pytest.fixture
def stage(place, on_stage):
    return on_stage(Stage(place / "stage"))


def supervisord(stage: Stage, *sections: Path) -> list[str]:
    pytest.importorskip(
        "supervisor", reason="supervisord is not installed (pip install supervisor)"
    )
    config = stage.path / "supervisord.conf"
    config.write_text(
        f"""
[supervisord]
nodaemon=true
logfile={stage.path}/supervisord.log
pidfile={stage.path}/supervisord.pid
childlogdir={stage.path}
[include]
files={" ".join(map(str, sections))}
"""
    )
    return [sys.executable, "-m", "supervisor.supervisord", "-c", str(config)]


def printed(stage: Stage, *words: str, before: tuple[str, ...] = ()) -> Path:
    """The file that `install-service` writes for these words, with Python's way to our code."""
    path = stage.path / f"{words[0]}.conf"
    made = stage.start("install", [*before, *HAPI, *words, "--to", str(path)])
    assert made.exit_code(60) == 0, made.output
    path.write_text(
        path.read_text().replace(
            "environment=", f'environment=PYTHONPATH="{stage.base["PYTHONPATH"]}",', 1
        )
    )
    return path


def test_supervisord_starts_hub_and_runner_from_what_is_printed__V02(stage):
    stage.base["HAPI_HOME"] = str(home := stage.path / "my 50% home")
    stage.base["HAPI_API_URL"] = f"http://127.0.0.1:{(port := free_port())}"
    hub = printed(stage, "hub", "install-service", "--kind", "supervisord", "--port", str(port))
    runner = printed(stage, "runner", "install-service", "--kind", "supervisord")
    stage.directory("my 50% home").chmod(0o700)
    (home / "settings.json").write_text(f'{{"cliApiToken": "{CANARY}"}}')
    program = stage.start("supervisord", supervisord(stage, hub, runner))

    def is_registered() -> bool:
        asked = stage.start("status", [*HAPI, "runner", "status", "--json"])
        asked.exit_code(60)
        return '"registered": true' in asked.output

    program.ready(is_registered, what="a registered runner")


@pytest.mark.skipif(
    os.geteuid() != 0 or not can_have_one(), reason="only root may add a user in a namespace"
)
def test_supervisord_starts_a_runner_for_another_user_in_the_home_of_that_user__V02(stage, place):
    bob = place / "bob"
    (bob / ".hapi").mkdir(parents=True)
    (bob / ".hapi/settings.json").write_text(f'{{"cliApiToken": "{CANARY}"}}')
    for path in (bob, bob / ".hapi", bob / ".hapi/settings.json"):
        path.chmod(0o700 if path.is_dir() else 0o600)
        os.chown(path, BOB, BOB)
    (bob / ".profile").write_text("PATH=$HOME/bin:$PATH\n")
    stage.path.chmod(0o755)
    entry = f"bob:x:{BOB}:{BOB}::{bob}:/bin/sh"
    inside = tuple(in_namespace(stage.directory("namespace"), entry))
    words = ("runner", "install-service", "--kind", "supervisord", "--user", "bob")
    section = printed(stage, *words, before=inside)
    program = stage.start("supervisord", [*inside, *supervisord(stage, section)])
    state = bob / ".hapi/runner.state.json"
    program.ready(state.exists)
    (runner,) = (
        child
        for child in psutil.Process(program.pid).children(recursive=True)
        if "start-sync" in child.cmdline()
    )
    environment = runner.environ()
    assert runner.uids().real == BOB
    assert environment["HOME"] == str(bob)
    assert environment["PATH"].startswith(f"{bob}/bin:")
    assert environment["USER"] == environment["LOGNAME"] == "bob"
    assert program.end(seconds=30) == 0
    assert until(lambda: not state.exists(), 20)
