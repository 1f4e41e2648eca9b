"""Hub, runner and page with the real nginx and Caddy in between, configured as in the manual."""

from __future__ import annotations

import socket
import ssl
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from attrs import define

from tests.support.paths import ROOT
from tests.support.programs import CANARY, Program, Stage, free_port, until
from tests.support.proxies_in_front import caddy, nginx
from tests.support.tls_authority import Authority

pytestmark = pytest.mark.program
HAPI = [sys.executable, "-m", "hapi"]
PROXIES = [
    pytest.param(nginx, marks=pytest.mark.peer("nginx"), id="nginx"),
    pytest.param(caddy, marks=pytest.mark.peer("caddy"), id="caddy"),
]


@define
class Front:
    """A hub behind a proxy, both running."""

    stage: Stage
    authority: Authority
    files: tuple[Path, Path]
    url: str
    port: int
    hub_port: int
    hub: Program

    def run(self, name: str, *argv: str) -> Program:
        """A program of another home than the hub's, which knows the proxy's address alone."""
        where = {
            "HAPI_HOME": str(self.stage.directory("elsewhere")),
            "HAPI_API_URL": self.url,
            "SSL_CERT_FILE": str(self.authority.roots),
            "CURL_CA_BUNDLE": str(self.authority.roots),
        }
        return self.stage.start(name, [*argv], where)


@pytest.fixture
def front(stage: Stage) -> Iterator[Front]:
    stage.base["CLI_API_TOKEN"] = CANARY
    authority = Authority(stage.directory("ca"))
    port, hub_port = free_port(), free_port()
    url = f"https://localhost:{port}"
    words = ["--port", str(hub_port), "--public-url", url, "--trusted-proxy", "127.0.0.1"]
    hub = stage.start("hub", [*HAPI, "hub", *words], {"HAPI_HOME": str(stage.path / "home")})
    hub.ready(lambda: "Hub listens on" in hub.output)
    files = authority.issue("localhost")
    yield Front(stage, authority, files, url, port, hub_port, hub)
    for program in stage.programs:  # nginx hides its environment, by which a stage finds programs
        if program.name in ("nginx", "caddy"):
            program.end()


def serves(front: Front) -> bool:
    context = ssl.create_default_context(cafile=str(front.authority.roots))
    try:
        with (
            socket.create_connection(("127.0.0.1", front.port), timeout=20) as plain,
            context.wrap_socket(plain, server_hostname="localhost"),
        ):
            return True
    except OSError:
        return False


@pytest.mark.peer("curl")
@pytest.mark.parametrize("proxy", PROXIES)
def test_a_session_is_led_through_the_proxy(front: Front, proxy: Callable[..., Program]) -> None:
    proxy(front.stage, front.port, front.hub_port, front.files).ready(lambda: serves(front))
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
    proxy.ready(lambda: serves(front))
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
