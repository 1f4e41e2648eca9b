"""No command ends a working runner before the installed build has proven that it starts: restarts
and starts with builds that are broken, with a real runner and hub."""

import sys
from pathlib import Path

import pytest

from tests.support.programs import CANARY, Stage, alive, free_port
from tests.support.restart_machine import Installed

pytestmark = pytest.mark.program
SYNTAX_ERROR = "def broken(:\n    pass\n"
BROKEN = {  # file of the package → what is put at its end
    "the service": ("runner/service.py", SYNTAX_ERROR),
    "the hub's client": ("net/client/hub_client.py", SYNTAX_ERROR),
    "an import": ("runner/sessions.py", "import module_that_is_missing\n"),
}


@pytest.fixture(scope="module")
def hub(tmp_path_factory):
    """A hub for all tests of this module."""
    stage = Stage(tmp_path_factory.mktemp("hub"))
    port = free_port()
    environment = {"HAPI_HOME": str(stage.path / "hub"), "CLI_API_TOKEN": CANARY}
    program = stage.start(
        "hub",
        [sys.executable, "-m", "hapi", "hub", "--port", str(port)],
        environment,
        output=".printed",
    )
    program.ready(lambda: "Page:" in program.output)
    yield f"http://127.0.0.1:{port}"
    stage.end()


@pytest.fixture
def machine(stage, hub):
    made = Installed(stage, hub)
    made.environment["HAPI_RUNNER_HEARTBEAT_INTERVAL"] = "600000"  # no hand-off of its own
    return made


def break_build(machine, kind):
    name, more = BROKEN[kind]
    path = machine.site / "hapi" / name
    path.write_text(f"{path.read_text()}\n{more}")
    return path


@pytest.mark.parametrize("kind", BROKEN)
@pytest.mark.parametrize("words", [["restart"], ["start"]], ids=["restart", "start"])
def test_a_broken_build_ends_no_runner_whatever_command_is_given(machine, kind, words):
    program = machine.run()
    session = machine.session()
    path = break_build(machine, kind)
    done = machine.command("runner", *words)
    assert done.returncode == 1, done
    assert f"the runner (pid {program.pid}) was left running" in done.stderr
    assert path.name in done.stderr or "module_that_is_missing" in done.stderr
    output = Path(done.stderr.rpartition("see ")[2].strip())
    assert "Error" in output.read_text()
    assert alive(program.pid)
    status = machine.look()
    assert (status["pid"], status["admission"]["accepting"]) == (program.pid, True)
    assert set(machine.listed()) == {session}
    assert list(machine.home.path.glob(".trial-*")) == []
    machine.assert_owned_by(program.pid)


def test_a_working_build_replaces_the_runner_and_no_trial_is_left(machine):
    program = machine.run()
    machine.install("GENERATION = 1")
    done = machine.command("runner", "restart")
    assert done.returncode == 0, done
    assert not alive(program.pid)
    status = machine.look()
    assert status["current"] is True
    assert list(machine.home.path.glob(".trial-*")) == []
    assert list(machine.home.logs.glob("*-trial.out")) == []
