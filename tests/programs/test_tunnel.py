"""`hapi up --tunnel` with stand-ins for the tunnel programs."""

import json
import os
import signal
import sys
from http.client import HTTPConnection

import pytest

from tests.support.programs import CANARY, alive, free_port, until
from tests.support.tunnel_programs import CLOUDFLARED, FAILING, SSH, TAILSCALE, tunnel_program

pytestmark = pytest.mark.program


OURS = [sys.executable, "-m", "hapi", "up"]


class Up:
    """`hapi up` with a tunnel program that does what `text` says."""

    def __init__(self, stage, tunnel, text, *flags, stays=True):
        name = tunnel.partition(" ")[0]
        self.programs = stage.path / "bin"
        path = tunnel_program(self.programs, name, text, stays)
        self.started, self.port = self.programs / f"{name}.started", free_port()
        self.program = stage.start(
            "up",
            [*OURS, "--port", str(self.port), "--no-qr", "--tunnel", tunnel, *flags],
            {
                "HAPI_HOME": str(stage.path / "home"),
                "CLI_API_TOKEN": CANARY,
                "PATH": f"{path}{os.pathsep}{os.environ['PATH']}",
            },
            output=".printed",
        )
        self.program.ready(lambda: "Open this page" in self.program.output)

    def starts(self):
        """Pid and arguments of each start of the tunnel program."""
        return [json.loads(line) for line in self.started.read_text().splitlines()]

    def status_for(self, host):
        connection = HTTPConnection("127.0.0.1", self.port, timeout=20)
        connection.request("GET", "/health", headers={"Host": host})
        return connection.getresponse().status


@pytest.mark.parametrize(
    ("tunnel", "text", "host"),
    [
        ("cloudflared", CLOUDFLARED, "some-four-word-name.trycloudflare.com"),
        ("tailscale", TAILSCALE, "box.tail1234.ts.net"),
    ],
)
def test_the_address_of_the_tunnel_is_printed_and_the_hub_answers_to_it(stage, tunnel, text, host):
    up = Up(stage, tunnel, text)
    assert f"https://{host}/#token={CANARY}" in up.program.output
    assert up.status_for(host) == 200
    assert up.status_for("elsewhere.example.org") != 200
    (pid, *_) = up.starts()[0]
    assert up.program.end() == 0
    until(lambda: not alive(pid), what="the tunnel to end")


def test_the_far_end_of_an_ssh_tunnel_is_its_host_and_port(stage):
    up = Up(stage, "ssh me@box.example.org", SSH)
    assert f"http://box.example.org:{up.port}/#token={CANARY}" in up.program.output
    forward = f"{up.port}:127.0.0.1:{up.port}"
    assert up.starts()[0][-3:] == ["-R", forward, "me@box.example.org"]
    assert up.status_for("box.example.org") == 200


def test_a_tunnel_that_ends_is_started_again_and_why_is_told(stage):
    up = Up(stage, "ssh example.org", FAILING, stays=False)
    told = "the tunnel (ssh) exited with code 1: ssh: connect to host example.org port 22: Connec"
    assert told in up.program.output
    assert f"http://127.0.0.1:{up.port}/#token=" in up.program.output
    until(lambda: len(up.starts()) > 1, what="the next start")
    assert up.program.end() == 0


def test_a_tunnel_ends_with_a_program_that_is_killed(stage):
    up = Up(stage, "cloudflared", CLOUDFLARED)
    (pid, *_) = up.starts()[0]
    up.program.end(signal.SIGKILL)
    until(lambda: not alive(pid), what="the tunnel to end")


def test_a_tunnel_program_that_is_not_installed_is_named_before_anything_is_started(stage):
    program = stage.start(
        "up",
        [*OURS, "--tunnel", "cloudflared"],
        {"HAPI_HOME": str(stage.path / "home"), "PATH": str(stage.directory("empty"))},
    )
    assert program.exit_code(60) == 1
    assert "hapi: cloudflared is not installed: there is no such program on PATH" in program.output
