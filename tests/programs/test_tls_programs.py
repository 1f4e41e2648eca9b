"""Hub, runner and page over TLS: real programs, a throw-away authority, and SIGHUP."""

from __future__ import annotations

import os
import signal
import socket
import ssl
import sys
from pathlib import Path

import pytest
from cryptography import x509

from tests.support.programs import CANARY, Stage, free_port, until
from tests.support.tls_authority import Authority

pytestmark = pytest.mark.program
HAPI = [sys.executable, "-m", "hapi"]
TWISTD = [
    sys.executable,
    "-c",
    "from twisted.scripts.twistd import run; run()",
    "-n",
    "--pidfile=",
    "--logger=hapi.log.json_logger",
    "hapi-hub",
]

PROGRAMS = {"hub": [*HAPI, "hub"], "up": [*HAPI, "up"], "twistd": TWISTD}


@pytest.fixture
def authority(stage: Stage) -> Authority:
    made = Authority(stage.directory("ca"))
    stage.base.update(
        HAPI_HOME=str(stage.path / "home"), CLI_API_TOKEN=CANARY, SSL_CERT_FILE=str(made.roots)
    )
    return made


def presented(port: int, authority: Authority) -> int:
    context = ssl.create_default_context(cafile=str(authority.roots))
    with (
        socket.create_connection(("127.0.0.1", port), timeout=20) as plain,
        context.wrap_socket(plain, server_hostname="localhost") as secured,
    ):
        return x509.load_der_x509_certificate(secured.getpeercert(True)).serial_number


def serial_of(path: Path) -> int:
    return x509.load_pem_x509_certificate(path.read_bytes()).serial_number


@pytest.mark.parametrize("argv", PROGRAMS.values(), ids=PROGRAMS)
def test_sighup_makes_each_program_present_the_new_certificate(stage, authority, argv):
    port = free_port()
    certificate, key = authority.issue("localhost")
    words = ["--port", str(port), "--tls-cert", str(certificate), "--tls-key", str(key)]
    program = stage.start("hub", [*argv, *words], output=".printed")
    program.ready(
        lambda: (
            f"https://localhost:{port}" in program.output
            and ("up" not in argv or "is registered as" in program.output)
        )
    )
    old = serial_of(certificate)
    assert presented(port, authority) == old
    authority.issue("localhost")
    os.kill(program.pid, signal.SIGHUP)
    until(lambda: presented(port, authority) == serial_of(certificate), 60)
    new = certificate.read_bytes()
    certificate.write_bytes(b"x")
    os.kill(program.pid, signal.SIGHUP)
    logs = stage.path / "home/logs"
    until(
        lambda: (
            "The hub keeps its certificate"
            in program.output + "".join(path.read_text() for path in logs.glob("*.log"))
        ),
        60,
    )
    certificate.write_bytes(new)
    assert presented(port, authority) == serial_of(certificate) != old
    assert program.end() == 0


def test_a_runner_of_the_same_home_finds_the_hub_at_its_https_address(stage, authority):
    certificate, key = authority.issue("localhost")
    files = {"HAPI_TLS_CERT": str(certificate), "HAPI_TLS_KEY": str(key)}
    hub = stage.start("hub", [*HAPI, "hub", "--port", "0"], files)
    hub.ready(lambda: "Hub listens on https://localhost:" in hub.output)
    runner = stage.start("runner", [*HAPI, "runner", "start"])
    assert runner.exit_code(120) == 0, runner.output
    doctor = stage.start("doctor", [*HAPI, "doctor"], files)
    assert doctor.exit_code(120) == 0, doctor.output
    assert "accepts the access token" in doctor.output
    assert "for localhost, valid until" in doctor.output
    del stage.base["SSL_CERT_FILE"]
    doctor = stage.start("doctor-without", [*HAPI, "doctor"], {"SSL_CERT_FILE": "/dev/null"})
    assert doctor.exit_code(120) == 1
    assert "from an authority that is not trusted here" in doctor.output


def test_a_certificate_that_cannot_be_used_is_one_sentence_and_exit_code_1(stage, authority):
    certificate, _ = authority.issue("localhost")
    for argv in PROGRAMS.values():
        words = ["--port", "0", "--tls-cert", str(certificate)]
        program = stage.start("hub", [*argv, *words])
        assert program.exit_code(60) == 1
        assert f"TLS: {certificate} contains no private key in PEM form" in program.output
        assert "Traceback" not in program.output
