"""nginx and Caddy with the configurations of docs/operating.md, on ports of this machine."""

from __future__ import annotations

import re
from pathlib import Path

from tests.support.paths import ROOT
from tests.support.programs import Program, Stage

NAME = "hub.example.com"  # in the documentation
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
    stage: Stage, port: int, hub: int, files: tuple[Path, Path], without: str = ""
) -> Program:
    """nginx as the manual has it; lines that match `without` are left out."""
    certificate, key = files
    server = replaced(
        documented("nginx"),
        ("listen 443 ssl", f"listen 127.0.0.1:{port} ssl"),
        (f"server_name {NAME}", "server_name localhost"),
        (f"/etc/letsencrypt/live/{NAME}/fullchain.pem", str(certificate)),
        (f"/etc/letsencrypt/live/{NAME}/privkey.pem", str(key)),
        ("127.0.0.1:3006", f"127.0.0.1:{hub}"),
    )
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
