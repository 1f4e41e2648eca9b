"""Runners and hubs that are killed while the page has a runner restarted: the caller is told the
truth, one runner serves in the end, and no session is lost. With real programs.
"""

import signal
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.support.programs import CANARY, Stage, alive, free_port, until
from tests.support.restart_machine import (
    Installed,
    change_service,
    restart_by_the_page,
    stop_replacement_at,
    stopped_replacement,
)

pytestmark = pytest.mark.program


@pytest.fixture(scope="module")
def hub(tmp_path_factory):
    """A hub for all tests of this module that kill none."""
    stage = Stage(tmp_path_factory.mktemp("hub"))
    _, url = start_hub(stage, free_port())
    yield url
    stage.end()


@pytest.fixture
def machine(stage, hub):
    return quiet_machine(stage, hub)


def quiet_machine(stage, hub):
    """A machine whose runner sees no other build by itself."""
    machine = Installed(stage, hub)
    machine.environment["HAPI_RUNNER_HEARTBEAT_INTERVAL"] = "600000"
    return machine


def start_hub(stage, port, name="hub"):
    """A hub that serves: its program and its address."""
    environment = {"HAPI_HOME": str(stage.path / "hub"), "CLI_API_TOKEN": CANARY}
    argv = [sys.executable, "-m", "hapi", "hub", "--port", str(port)]
    program = stage.start(name, argv, environment, output=".printed")
    program.ready(lambda: "Page:" in program.output)
    return program, f"http://127.0.0.1:{port}"


@pytest.mark.parametrize("at", ["locking", "registered"])
@pytest.mark.parametrize("whom", ["old", "new"])
def test_the_page_is_told_the_truth_when_a_runner_is_killed_while_it_hands_over__H13(
    machine, hub, whom, at
):
    program = machine.run()
    session = machine.session()
    stop_replacement_at(machine, at)
    with ThreadPoolExecutor(1) as page:
        asked = page.submit(restart_by_the_page, hub, machine)
        new = stopped_replacement(machine, program.pid)
        if whom == "old":
            program.end(signal.SIGKILL)
            new.resume()
        else:
            new.kill()
        told = asked.result(60)
    if whom == "old":
        assert told == {"message": "The runner has been restarted"}
    else:
        assert "The runner keeps running, because the installed version does not" in told["error"]
        assert "was ended by SIGKILL" in told["error"]
    serving = new.pid if whom == "old" else program.pid
    until(lambda: machine.look().get("pid") == serving, what="one runner to serve")
    until(lambda: machine.look()["handoff"]["underWay"] is False, what="the hand-off to end")
    assert not alive(program.pid if whom == "old" else new.pid)
    assert set(machine.listed()) == {session}
    machine.assert_owned_by(serving)


@pytest.mark.parametrize("at", ["locking", "registered"])
def test_a_hub_that_is_killed_while_a_runner_hands_over_finds_one_runner_afterwards__H13(stage, at):
    port = free_port()
    running, hub = start_hub(stage, port)
    machine = quiet_machine(stage, hub)
    program = machine.run()
    session = machine.session()
    stop_replacement_at(machine, at)
    with ThreadPoolExecutor(1) as page:
        asked = page.submit(restart_by_the_page, hub, machine)
        new = stopped_replacement(machine, program.pid)
        running.end(signal.SIGKILL)
        with pytest.raises(OSError):
            asked.result(30)
    change_service(machine, "")
    start_hub(stage, port, "hub-again")
    new.resume()
    until(lambda: alive(program.pid) != alive(new.pid), what="one of the runners to end")
    (serving,) = (pid for pid in (program.pid, new.pid) if alive(pid))
    until(lambda: machine.look().get("pid") == serving, what="that runner to serve")
    until(lambda: machine.look()["handoff"]["underWay"] is False, what="the hand-off to end")
    until(lambda: machine.look()["hub"]["phase"] == "connected", what="it to be at the hub")
    assert set(machine.listed()) == {session}
    machine.assert_owned_by(serving)
    answer = until(lambda: restart_once_registered(hub, machine), what="the restart")
    assert answer == {"message": "The runner has been restarted"}
    machine.assert_owned_by(machine.new_pid(serving))
    assert set(machine.listed()) == {session}


def restart_once_registered(hub, machine):
    """The answer to a restart; None while the runner registers its methods at the hub."""
    answer = restart_by_the_page(hub, machine)
    return None if "not registered" in answer.get("error", "") else answer
