"""The tunnel of `hapi up`: which program is started for it, and what is read of its output."""

import pytest

from hapi.cli.base.tunnel import Tunnel
from hapi.settings import ConfigurationError

URL = "http://127.0.0.1:3006"


@pytest.mark.parametrize(
    ("text", "tunnel"),
    [
        ("cloudflared", Tunnel("cloudflared")),
        (" tailscale ", Tunnel("tailscale")),
        ("ssh box", Tunnel("ssh", "box")),
        ("ssh:me@box.example.org", Tunnel("ssh", "me@box.example.org")),
    ],
)
def test_a_tunnel_is_named_by_its_program(text, tunnel):
    assert Tunnel.parse(text) == tunnel


@pytest.mark.parametrize(
    "text", ["ngrok", "ssh", "ssh ", "ssh -oProxyCommand=x", "cloudflared x", "", 5, "ssh a b"]
)
def test_no_other_program_and_no_option_of_ssh_is_taken(text):
    with pytest.raises(ConfigurationError, match="must be `cloudflared`, `tail"):
        Tunnel.parse(text)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("cloudflared", ["tunnel", "--no-autoupdate", "--url", URL]),
        ("tailscale", ["serve", URL]),
        ("ssh me@box", ["-R", "3006:127.0.0.1:3006", "me@box"]),
    ],
)
def test_each_program_gets_the_address_of_the_hub(text, words):
    argv = Tunnel.parse(text).argv("/bin/it", URL)
    assert argv[0] == "/bin/it"
    assert list(argv[-len(words) :]) == words


@pytest.mark.parametrize(
    ("text", "printed", "address"),
    [
        ("cloudflared", "INF Requesting new quick Tunnel on trycloudflare.com...", None),
        ("cloudflared", "ERR Post https://api.trycloudflare.com/tunnel: timeout", None),
        ("cloudflared", "| https://a-b-c.trycloudflare.com |", "https://a-b-c.trycloudflare.com"),
        ("tailscale", "visit: https://login.tailscale.com/f/serve?node=n1", None),
        ("tailscale", "\nhttps://box.tail1.ts.net/\n|-- proxy x", "https://box.tail1.ts.net"),
        ("tailscale", "https://box.tail1.ts.net:8443/", "https://box.tail1.ts.net:8443"),
        ("ssh me@box", "", None),
        ("ssh me@box", "the tunnel is up\n", "http://box:3006"),
    ],
)
def test_the_address_is_read_of_what_the_program_prints(text, printed, address):
    assert Tunnel.parse(text).address(printed, URL, None) == address


def test_the_address_at_the_far_end_of_ssh_is_the_public_url_if_there_is_one():
    tunnel = Tunnel.parse("ssh box")
    assert tunnel.address("the tunnel is up", URL, "https://hapi.example.org") == (
        "https://hapi.example.org"
    )
