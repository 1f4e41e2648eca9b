"""nginx and Caddy with the configurations of docs/operating.md, on ports of this machine."""

from __future__ import annotations

import re
import socket
import ssl
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from attrs import define

from tests.support.paths import ROOT
from tests.support.programs import CANARY, Program, Stage, free_port
from tests.support.tls_authority import Authority

NAME = "hub.example.com"  # in the documentation
HAPI = [sys.executable, "-m", "hapi"]
MANUAL = ROOT / "docs/operating.md"


def documented(language: str) -> str:
    """The configuration in the manual whose marker comment is `language`."""
    text = MANUAL.read_text()
    found = re.search(rf"<!-- {language} -->\n```\w+\n(.*?)```", text, re.DOTALL)
    assert found is not None, f"{MANUAL} has no configuration for {language}"
    return found[1]


def replaced(text: str, *pairs: tuple[str, str]) -> str:
    for old, new in pairs:
        assert old in text, f"{old!r} is not in the configuration of the manual"
        text = text.replace(old, new)
    return text


def nginx(
    stage: Stage,
    port: int,
    hub: int,
    files: tuple[Path, Path],
    without: str = "",
    keeps_path: bool | None = None,
) -> Program:
    """nginx as the manual has it; lines that match `without` are left out.

    `keeps_path`: the hub is served below /hapi/ alone, and nginx hands the path on (True) or
    removes it (False).
    """
    certificate, key = files
    server = replaced(
        documented("nginx"),
        ("listen 443 ssl", f"listen 127.0.0.1:{port} ssl"),
        (f"server_name {NAME}", "server_name localhost"),
        (f"/etc/letsencrypt/live/{NAME}/fullchain.pem", str(certificate)),
        (f"/etc/letsencrypt/live/{NAME}/privkey.pem", str(key)),
        ("127.0.0.1:3006", f"127.0.0.1:{hub}"),
    )
    if keeps_path is not None:
        location = replaced(documented("nginx-path"), ("127.0.0.1:3006", f"127.0.0.1:{hub}"))
        if keeps_path:
            location = replaced(location, (f"{hub}/;", f"{hub};"))
        server = f"{server[: server.index('    location / ')]}{location}}}\n"
    if without:
        server = "\n".join(line for line in server.splitlines() if not re.search(without, line))
    place = stage.directory("nginx")
    paths = "\n".join(
        f"{kind}_temp_path {place}/{kind};"
        for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    (place / "nginx.conf").write_text(
        f"daemon off;\nuser root;\npid {place}/pid;\nerror_log stderr;\nevents {{}}\n"
        f"http {{\naccess_log off;\n{paths}\n{server}\n}}\n"
    )
    return stage.start("nginx", ["nginx", "-p", str(place), "-c", str(place / "nginx.conf")])


def caddy(stage: Stage, port: int, hub: int, files: tuple[Path, Path]) -> Program:
    certificate, key = files
    site = replaced(
        documented("Caddyfile"),
        (f"{NAME} {{", f"https://localhost:{port} {{\n    tls {certificate} {key}"),
        ("127.0.0.1:3006", f"127.0.0.1:{hub}"),
    )
    path = stage.directory("caddy") / "Caddyfile"
    path.write_text(f"{{\n    admin off\n    auto_https disable_redirects\n}}\n{site}")
    where = {"XDG_DATA_HOME": str(path.parent), "XDG_CONFIG_HOME": str(path.parent)}
    return stage.start(
        "caddy", ["caddy", "run", "--config", str(path), "--adapter", "caddyfile"], where
    )


@define
class Front:
    """A hub behind a proxy."""

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

    @property
    def is_served(self) -> bool:
        """Whether somebody serves TLS at the public URL."""
        context = ssl.create_default_context(cafile=str(self.authority.roots))
        try:
            with (
                socket.create_connection(("127.0.0.1", self.port), timeout=20) as plain,
                context.wrap_socket(plain, server_hostname="localhost"),
            ):
                return True
        except OSError:
            return False


@contextmanager
def hub_to_be_fronted(stage: Stage, *options: str) -> Iterator[Front]:
    """A hub whose public URL is a port on which a proxy is still to be started."""
    stage.base["CLI_API_TOKEN"] = CANARY
    authority = Authority(stage.directory("ca"))
    port, hub_port = free_port(), free_port()
    url = f"https://localhost:{port}"
    words = ["--port", str(hub_port), "--public-url", url, "--trusted-proxy", "127.0.0.1"]
    words += options
    hub = stage.start("hub", [*HAPI, "hub", *words], {"HAPI_HOME": str(stage.path / "home")})
    hub.ready(lambda: "Hub listens on" in hub.output)
    files = authority.issue("localhost")
    try:
        yield Front(stage, authority, files, url, port, hub_port, hub)
    finally:
        # nginx hides its environment, by which a stage finds programs.
        for program in stage.programs:
            if program.name in ("nginx", "caddy"):
                program.end()
