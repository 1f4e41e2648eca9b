"""How a runner ends, in numbers that supervisors act on: one table for code, commands and
documentation.
"""

from __future__ import annotations

import re
import subprocess
import sys

import pytest

from hapi.cli.base import errors as failures
from hapi.runner import service
from tests.support.programs import CANARY, Stage

TWISTD = [
    sys.executable,
    "-c",
    "from twisted.scripts.twistd import run; run()",
    "-n",
    "--pidfile=",
    "hapi-runner",
]
OURS = [sys.executable, "-m", "hapi", "runner", "start-sync"]
EXITS = {
    "DONE": 0,
    "ERROR": 1,
    "USAGE": 2,
    "HELD": 3,
    "SUPERSEDED": 4,
    "NOT_RUNNING": 5,
    "UNREACHABLE": 6,
    "REFUSED": 7,
}
EXITS["RESTART"] = 75


@pytest.mark.parametrize(("name", "code"), EXITS.items())
def test_every_code_has_its_number_and_its_meaning__V02(name, code, pytestconfig):
    assert getattr(failures, name) == code
    assert failures.EXIT_CODE_MEANINGS[code]
    documented = (pytestconfig.rootpath / "docs/operating.md").read_text()
    assert re.search(rf"^\| {code} \| \S", documented, re.MULTILINE)


def test_the_service_and_the_commands_mean_the_same__V02():
    ends = (service.STOPPED, service.FAILED, service.HELD, service.SUPERSEDED, service.RESTART)
    assert ends == (
        failures.DONE,
        failures.ERROR,
        failures.HELD,
        failures.SUPERSEDED,
        failures.RESTART,
    )


@pytest.fixture
def stage(tmp_path):
    made = Stage(tmp_path)
    made.base.update(
        HAPI_HOME=str(tmp_path / "home"), CLI_API_TOKEN=CANARY, HAPI_API_URL="http://127.0.0.1:1"
    )
    (tmp_path / "home").mkdir(mode=0o700)
    yield made
    made.end()


def break_settings(stage: Stage) -> None:
    (stage.path / "home/settings.json").write_text("{")


def no_token(stage: Stage) -> None:
    del stage.base["CLI_API_TOKEN"]


def foreign_hub(stage: Stage) -> None:
    stage.base["HAPI_API_URL"] = "ftp://hub"


def lock_is_a_directory(stage: Stage) -> None:
    (stage.path / "home/runner.lock").mkdir()


def home_is_a_file(stage: Stage) -> None:
    (stage.path / "file").write_text("")
    stage.base["HAPI_HOME"] = str(stage.path / "file")


@pytest.mark.program
@pytest.mark.parametrize("argv", [OURS, TWISTD], ids=["hapi", "twistd"])
@pytest.mark.parametrize(
    "spoil", [break_settings, no_token, foreign_hub, lock_is_a_directory, home_is_a_file]
)
def test_a_known_reason_not_to_start_is_one_line_and_status_1__V10(stage, argv, spoil):
    spoil(stage)
    done = subprocess.run(
        argv,
        env=stage.base,
        cwd=stage.path,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 1
    assert re.fullmatch(r"hapi(-runner)?: [^\n]+\n", done.stderr), done.stderr
    assert "Traceback" not in done.stdout
