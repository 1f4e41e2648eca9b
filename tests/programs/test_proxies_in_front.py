"""Hub, runner and page with the real nginx and Caddy in between, configured as in the manual."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from tests.support.paths import ROOT
from tests.support.programs import Program, Stage, until
from tests.support.proxies_in_front import HAPI, Front, caddy, hub_to_be_fronted, nginx

pytestmark = pytest.mark.program
PROXIES = [
    pytest.param(nginx, marks=pytest.mark.peer("nginx"), id="nginx"),
    pytest.param(caddy, marks=pytest.mark.peer("caddy"), id="caddy"),
]


@pytest.fixture
def front(stage: Stage) -> Iterator[Front]:
    with hub_to_be_fronted(stage) as made:
        yield made


@pytest.mark.peer("curl")
@pytest.mark.parametrize("proxy", PROXIES)
def test_a_session_is_led_through_the_proxy(front: Front, proxy: Callable[..., Program]) -> None:
    proxy(front.stage, front.port, front.hub_port, front.files).ready(lambda: front.is_served)
    runner = front.run("runner", *HAPI, "runner", "start")
    assert runner.exit_code(120) == 0, runner.output
    work = str(front.stage.directory("work"))
    walk = front.run("walk", "sh", str(ROOT / "docs/examples/rest.sh"), front.url, work)
    assert walk.exit_code(120) == 0, walk.output
    assert "ended with 0" in walk.output
    doctor = front.run("doctor", *HAPI, "doctor")
    assert doctor.exit_code(120) == 0, doctor.output
    assert f"{front.url} answers and accepts the access token" in doctor.output


@pytest.mark.peer("nginx")
@pytest.mark.parametrize("missing", ["Upgrade|Connection|http_version", "Connection"])
def test_a_proxy_that_drops_the_upgrade_is_named_by_runner_status_doctor_and_hub(
    front: Front, missing: str
) -> None:
    proxy = nginx(front.stage, front.port, front.hub_port, front.files, f"proxy.*({missing})")
    proxy.ready(lambda: front.is_served)
    words = "the WebSocket was refused with HTTP 400 Bad Request: a proxy in front of the hub"
    runner = front.run("runner", *HAPI, "runner", "start", "--timeout", "5")
    assert runner.exit_code(120) == 6, runner.output
    assert words in runner.output
    status = front.run("status", *HAPI, "runner", "status")
    assert status.exit_code(60) == 0
    assert f"registered, connection lost: {words}" in status.output
    doctor = front.run("doctor", *HAPI, "doctor")
    assert doctor.exit_code(120) == 1
    assert f"{front.url} answers, but no runner or session can connect: {words}" in doctor.output
    logs = front.stage.path / "home/logs"
    warned = "asked for no upgrade"
    until(lambda: any(warned in log.read_text() for log in logs.glob("*.log")), 30)
    assert sum(log.read_text().count(warned) for log in logs.glob("*.log")) == 1
