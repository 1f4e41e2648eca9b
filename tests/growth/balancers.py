"""HAProxy and nginx with the configurations of docs/growing.md, on ports of this machine."""

from __future__ import annotations

import re

from tests.support.paths import ROOT
from tests.support.programs import Program, Stage

HAPROXY, NGINX = "haproxy", "nginx"
EXAMPLES = ROOT / "docs/examples/growing"
DOCUMENTED_HUBS = ("10.0.0.5:3006", "10.0.0.6:3006", "10.0.0.7:3006")
DOCUMENTED_BIND = "127.0.0.1:8080"
DOCUMENTED_NAME = "hub.example.com"


def _with_hubs(text: str, hubs: list[int]) -> str:
    """The configuration with the ports of these hubs; it may name more than there are."""
    for place, documented in enumerate(DOCUMENTED_HUBS):
        assert documented in text
        if place < len(hubs):
            text = text.replace(documented, f"127.0.0.1:{hubs[place]}")
        else:
            lines = text.splitlines(keepends=True)
            text = "".join(line for line in lines if documented not in line)
    return text


def haproxy_config(port: int, hubs: list[int]) -> str:
    text = (EXAMPLES / "haproxy.cfg").read_text()
    assert DOCUMENTED_BIND in text
    return _with_hubs(text.replace(DOCUMENTED_BIND, f"127.0.0.1:{port}"), hubs)


def nginx_config(port: int, hubs: list[int]) -> str:
    """Without TLS, which is no different behind a balancer."""
    text = _with_hubs((EXAMPLES / "nginx.conf").read_text(), hubs)
    assert "listen 443 ssl;" in text
    text = text.replace("listen 443 ssl;", f"listen 127.0.0.1:{port};")
    text = re.sub(r"    ssl_certificate.*\n", "", text)
    return text.replace(f"server_name {DOCUMENTED_NAME};", "server_name localhost;")


def start_haproxy(stage: Stage, port: int, hubs: list[int]) -> Program:
    path = stage.directory("haproxy") / "haproxy.cfg"
    path.write_text(haproxy_config(port, hubs))
    return stage.start("haproxy", ["haproxy", "-f", str(path)])


def start_nginx(stage: Stage, port: int, hubs: list[int]) -> Program:
    place = stage.directory("nginx")
    kinds = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    paths = "\n".join(f"{kind}_temp_path {place}/{kind};" for kind in kinds)
    path = place / "nginx.conf"
    path.write_text(
        f"daemon off;\nuser root;\npid {place}/pid;\nerror_log stderr;\nevents {{}}\n"
        f"http {{\naccess_log off;\n{paths}\n{nginx_config(port, hubs)}\n}}\n"
    )
    return stage.start("nginx", ["nginx", "-p", str(place), "-c", str(path)])
