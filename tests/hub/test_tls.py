"""The hub with a certificate of its own: who reaches it, and how the certificate is replaced."""

from __future__ import annotations

import http.client
import json
import os
import socket
import ssl
from pathlib import Path
from typing import Any

import pytest
import pytest_twisted
from cryptography import x509
from twisted.internet.task import deferLater
from twisted.internet.threads import deferToThread
from twisted.logger import formatEvent, globalLogPublisher

from hapi.cli.base.errors import CommandError
from hapi.cli.base.hub_request import get_json
from hapi.hub import HubOptions, hub_service, tap
from hapi.hub.options import TlsFiles, read_tls_files
from hapi.net.client.hub_client import HubClient, HubRefused
from hapi.net.client.link import HubLink
from hapi.net.common.errors import HubUnreachable
from hapi.net.common.rpc import RpcTable
from hapi.net.server.tls import CertificateUnusable, Identity
from hapi.settings import ConfigurationError, HubAccess
from tests.support.real_hub import status_of
from tests.support.tls_authority import Authority

TOKEN = "t" * 32


@pytest.fixture
def authority(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Authority:
    made = Authority(tmp_path)
    monkeypatch.setenv("SSL_CERT_FILE", str(made.roots))
    return made


@pytest.fixture
def lines():
    found: list[str] = []

    def watch(event: dict[str, Any]) -> None:
        found.append(str(formatEvent(event)))

    globalLogPublisher.addObserver(watch)
    yield found
    globalLogPublisher.removeObserver(watch)


@pytest.fixture
def serve(reactor, home):
    """Makes a hub that serves with these two files."""
    hubs = []

    async def make(files: tuple[Path, Path], **more: Any) -> Any:
        options = HubOptions(home, port=0, token=TOKEN, tls=TlsFiles(*files), **more)
        hubs.append(hub_service(reactor, options))
        hubs[-1].startService()
        await hubs[-1].when_listening
        return hubs[-1]

    yield make
    for hub in hubs:
        pytest_twisted.blockon(hub.stopService())


def serial_of(path: Path) -> int:
    return x509.load_pem_x509_certificate(path.read_bytes()).serial_number


async def presented(hub: Any) -> int:
    """The serial number of the certificate that a new connection gets."""

    def ask() -> int:
        context = ssl.create_default_context(cafile=os.environ["SSL_CERT_FILE"])
        context.check_hostname = False
        with (
            socket.create_connection(("127.0.0.1", hub.port), timeout=20) as plain,
            context.wrap_socket(plain, server_hostname="localhost") as secured,
        ):
            return x509.load_der_x509_certificate(secured.getpeercert(True)).serial_number

    return await deferToThread(ask)


@pytest_twisted.ensureDeferred
async def test_programs_use_rest_and_sockets_over_tls_at_the_address_that_the_hub_saves(
    reactor, authority, serve
):
    hub = await serve(authority.issue("localhost"))
    assert hub.url == f"https://localhost:{hub.port}"
    with pytest.raises(HubRefused) as refused:
        await HubClient(reactor, HubAccess(hub.url, TOKEN)).session("none")
    assert refused.value.status == 404
    link = HubLink(reactor, HubAccess(hub.url, TOKEN), {}, RpcTable("m1"))
    link.startService()
    await status_of(link, "connected")
    await link.leave()


@pytest.mark.parametrize(
    ("hosts", "public_url", "expected"),
    [
        (("127.0.0.1", "hub.example"), "https://hub.example", "https://127.0.0.1:{port}"),
        (("localhost",), None, "https://localhost:{port}"),
        (("*.example.com", "hub.example"), None, "https://hub.example:{port}"),
        (("*.example.com",), "https://hub.example.com", "https://hub.example.com"),
        (("*.example.com",), None, "https://127.0.0.1:{port}"),
    ],
)
@pytest_twisted.ensureDeferred
async def test_the_address_for_programs_is_one_that_the_certificate_covers(
    authority, serve, lines, hosts, public_url, expected
):
    hub = await serve(authority.issue(*hosts), public_url=public_url)
    assert hub.url == expected.format(port=hub.port)
    warned = [line for line in lines if "is not valid for 127.0.0.1" in line]
    assert bool(warned) == (hosts == ("*.example.com",) and public_url is None)


@pytest_twisted.ensureDeferred
async def test_a_new_certificate_is_presented_after_a_reload_and_connections_go_on(
    reactor, authority, serve, lines
):
    certificate, key = authority.issue("127.0.0.1")
    hub = await serve((certificate, key))
    assert await presented(hub) == serial_of(certificate)
    link = HubLink(reactor, HubAccess(hub.url, TOKEN), {}, RpcTable("m1"))
    link.startService()
    await status_of(link, "connected")
    old = serial_of(certificate)
    authority.issue("127.0.0.1")
    assert await presented(hub) == old
    hub.reload()
    assert await presented(hub) == serial_of(certificate) != old
    assert link.status.phase == "connected"
    assert link.status.failures == 0
    assert [line for line in lines if line.startswith("New connections get the certificate in")]
    await link.leave()


BAD = {
    "of another key": "does not belong to the first certificate",
    "expired": "has expired on",
    "cut off": "malformed certificate",
    "missing": "cannot be read: No such file or directory",
    "encrypted": "is encrypted; `openssl pkey",
    "without a key": "contains no private key",
    "empty": "contains no certificate",
}


def spoil(authority: Authority, how: str) -> None:
    certificate, key = authority.directory / "server.pem", authority.directory / "server.key"
    match how:
        case "of another key":
            old = key.read_bytes()
            authority.issue("127.0.0.1")
            key.write_bytes(old)
        case "expired":
            authority.issue("127.0.0.1", days=-1)
        case "cut off":
            certificate.write_bytes(certificate.read_bytes()[:300])
        case "missing":
            certificate.unlink()
        case "encrypted":
            authority.issue("127.0.0.1", password=b"secret")
        case "without a key":
            key.write_bytes(certificate.read_bytes())
        case "empty":
            certificate.write_bytes(b"")


@pytest.mark.parametrize("how", BAD)
@pytest_twisted.ensureDeferred
async def test_a_bad_new_certificate_leaves_the_old_one_and_one_error(authority, serve, lines, how):
    certificate, key = authority.issue("127.0.0.1")
    hub = await serve((certificate, key))
    old = serial_of(certificate)
    spoil(authority, how)
    hub.reload()
    errors = [line for line in lines if "The hub keeps its certificate, valid until" in line]
    assert len(errors) == 1
    assert BAD[how] in errors[0]
    assert await presented(hub) == old


@pytest.mark.parametrize("how", [how for how in BAD if how != "expired"])
def test_a_hub_does_not_start_with_a_bad_certificate(reactor, home, authority, how):
    files = TlsFiles(*authority.issue("127.0.0.1"))
    spoil(authority, how)
    hub = hub_service(reactor, HubOptions(home, port=0, token=TOKEN, tls=files))
    with pytest.raises(ConfigurationError) as refused:
        hub.startService()
    assert BAD[how] in str(refused.value)
    assert str(files.certificate.parent) in str(refused.value)


@pytest_twisted.ensureDeferred
async def test_an_expired_certificate_is_warned_of_at_the_start(authority, serve, lines):
    await serve(authority.issue("127.0.0.1", days=-1))
    assert [line for line in lines if "has expired on" in line and "no client accepts it" in line]


@pytest_twisted.ensureDeferred
async def test_a_client_that_does_not_trust_the_authority_is_told_so(
    reactor, authority, serve, monkeypatch
):
    hub = await serve(authority.issue("127.0.0.1"))
    monkeypatch.delenv("SSL_CERT_FILE")
    monkeypatch.delenv("SSL_CERT_DIR", raising=False)
    with pytest.raises(HubUnreachable, match="authority that is not trusted here"):
        await HubClient(reactor, HubAccess(hub.url, TOKEN)).session("none")


@pytest_twisted.ensureDeferred
async def test_the_hub_answers_to_the_names_of_its_certificate(authority, serve):
    hub = await serve(authority.issue("127.0.0.1", "hub.example"))
    assert hub._host_policy().allows_host("hub.example")
    assert not hub._host_policy().allows_host("other.example")


@pytest_twisted.ensureDeferred
async def test_no_warning_of_a_hub_without_tls_when_it_has_it(authority, serve, lines):
    await serve(authority.issue("127.0.0.1"), host="0.0.0.0")
    assert not [line for line in lines if "without TLS" in line]


def test_one_file_may_hold_certificate_and_key(authority):
    certificate, key = authority.issue("a.example", "10.0.0.1")
    for content in (
        certificate.read_bytes() + key.read_bytes(),
        key.read_bytes() + certificate.read_bytes() + authority.roots.read_bytes(),
    ):
        certificate.write_bytes(content)
        assert Identity.read(certificate, certificate).names == ("a.example",)


def test_a_directory_and_a_fifo_are_no_certificate(authority, tmp_path):
    os.mkfifo(tmp_path / "fifo")
    for path in (tmp_path, tmp_path / "fifo"):
        with pytest.raises(CertificateUnusable, match=str(path)):
            Identity.read(path, path)


@pytest.mark.parametrize(
    ("host", "covered"),
    [
        ("hub.example", True),
        ("HUB.example", True),
        ("a.dev.example", True),
        ("b.a.dev.example", False),
        ("dev.example", False),
        ("10.0.0.1", True),
        ("10.0.0.2", False),
        ("::1", True),
        ("0:0::1", True),
    ],
)
def test_a_certificate_covers_what_clients_accept_it_for(authority, host, covered):
    files = authority.issue("hub.example", "*.dev.example", "10.0.0.1", "::1")
    assert Identity.read(*files).covers(host) == covered


def test_the_option_is_a_flag_a_variable_a_key_and_one_of_twistd(home, monkeypatch, tmp_path):
    expected = TlsFiles(tmp_path / "c", tmp_path / "k")
    c, k = str(tmp_path / "c"), str(tmp_path / "k")
    assert read_tls_files({"tls_cert": c, "tls_key": k}, {"HAPI_TLS_CERT": "x"}, {}) == expected
    environ = {"HAPI_TLS_CERT": c, "HAPI_TLS_KEY": k}
    assert read_tls_files({}, environ, {"tlsCert": "x"}) == expected
    assert read_tls_files({}, {}, {"tlsCert": c, "tlsKey": k}) == expected
    assert read_tls_files({}, {}, {"tlsCert": c}) == TlsFiles(tmp_path / "c", tmp_path / "c")
    monkeypatch.setenv("HAPI_HOME", str(home.path))
    given = tap.Options()
    given.parseOptions(["--tls-cert", c, "--tls-key", k])
    assert given["options"].tls == expected


@pytest.mark.parametrize(
    "settings", [{"tlsKey": "/k"}, {"tlsCert": 1}, {"tlsCert": "/c", "tlsKey": ["x"]}]
)
def test_half_a_pair_and_other_types_are_refused(settings):
    with pytest.raises(ConfigurationError, match=r"tls(Cert|Key)"):
        read_tls_files({}, {}, settings)


@pytest_twisted.ensureDeferred
async def test_http_to_the_port_of_a_hub_with_tls_is_said(reactor, authority, serve):
    hub = await serve(authority.issue("127.0.0.1"))
    url = f"http://127.0.0.1:{hub.port}"
    with pytest.raises(HubRefused, match="This hub speaks HTTPS only: use https://"):
        await HubClient(reactor, HubAccess(url, TOKEN)).session("none")
    link = HubLink(reactor, HubAccess(url, TOKEN), {}, RpcTable("m1"))
    link.startService()
    while link.status.failures == 0:
        await deferLater(reactor, 0.01)
    assert "refused with HTTP 421 This hub speaks HTTPS only" in link.status.reason
    await link.stopService()
    assert await presented(hub)


@pytest_twisted.ensureDeferred
async def test_the_answer_to_plain_http_has_an_id_as_every_other(authority, serve):
    hub = await serve(authority.issue("127.0.0.1"))

    def ask() -> http.client.HTTPResponse:
        connection = http.client.HTTPConnection("127.0.0.1", hub.port, timeout=20)
        connection.request("GET", "/health")
        return connection.getresponse()

    answer = await deferToThread(ask)
    body = json.loads(answer.read())
    assert answer.status == 421
    assert body["error"] == "This hub speaks HTTPS only: use https://..."
    assert body["requestId"] == answer.headers["X-Request-Id"]


@pytest.mark.parametrize(
    ("host", "days", "roots", "problem"),
    [
        ("127.0.0.1", 90, "/dev/null", "self-signed, or from an authority that is not trusted"),
        ("127.0.0.1", 90, "/dev/null", "SSL_CERT_FILE=FILE names a file of authorities to trust"),
        ("127.0.0.1", -1, None, "its certificate has expired"),
        ("other.example", 90, None, "its certificate is not valid for 127.0.0.1"),
    ],
)
@pytest_twisted.ensureDeferred
async def test_a_command_says_in_a_sentence_why_it_does_not_trust_a_hub(
    authority, serve, monkeypatch, host, days, roots, problem
):
    hub = await serve(authority.issue(host, days=days))
    if roots is not None:
        monkeypatch.setenv("SSL_CERT_FILE", roots)
    access = HubAccess(f"https://127.0.0.1:{hub.port}", TOKEN)
    with pytest.raises(CommandError) as caught:
        await deferToThread(get_json, access, "/api/hub-status", 20.0)
    assert problem in str(caught.value)
    assert "_ssl.c" not in str(caught.value)
