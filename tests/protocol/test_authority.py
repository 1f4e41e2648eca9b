"""Hosts, origins and media types: one normal form each, and odd ones refused."""

import pytest

from hapi.protocol.authority import Authority, Origin, is_loopback, same_host
from hapi.protocol.media_type import BITMAPS, essence


@pytest.mark.parametrize(
    ("text", "host", "port"),
    [
        ("127.0.0.1:3006", "127.0.0.1", 3006),
        ("LOCALHOST.", "localhost", None),
        ("[::1]:80", "::1", 80),
        ("[0:0:0:0:0:0:0:1]", "::1", None),
        ("hub_1.Example:", "hub_1.example", None),
    ],
)
def test_a_host_has_one_normal_form(text, host, port):
    assert Authority.parse(text) == Authority(host, port)


ODD_HOSTS = [
    "",
    "127.0.0.1#.evil",
    "127.0.0.1/.evil",
    "127.0.0.1?.evil",
    "127.0.0.1\\.evil",
    "127.0.0.1@evil",
    "evil@127.0.0.1",
    "127.0.0.1:80:80",
    "127.0.0.1:99999",
    "127.0.0.1:8a",
    "127.0.0.1:+80",
    "127.0.0.1 ",
    "127.0.0.1\n",
    "127.0.0.1,evil",
    "127.0.0.1%23.evil",
    "[::1",
    "[::1].evil",
    "[::1%25eth0]",
    "[127.0.0.1]",
    "::1",
    "127.0.0.\u0661",
    "b\u00fccher.example",
    ".evil",
]


@pytest.mark.parametrize("text", ODD_HOSTS)
def test_an_odd_host_is_no_host(text):
    assert Authority.parse(text) is None
    assert Origin.parse(f"http://{text}") is None


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "127.9.9.9", "::1"])
def test_loopback_addresses_are_known(host):
    assert is_loopback(host)


@pytest.mark.parametrize(
    "host", ["", "127.1", "0x7f.0.0.1", "127.0.0.1.evil", "128.0.0.1", "127.0.0.1#.evil", "::2"]
)
def test_nothing_else_is_loopback(host):
    assert not is_loopback(host)


@pytest.mark.parametrize(
    ("origin", "host", "same"),
    [
        ("http://127.0.0.1:3006", "127.0.0.1:3006", True),
        ("http://Hub.Example", "hub.example:80", True),
        ("https://hub.example", "hub.example", True),
        ("https://hub.example:443", "hub.example", True),
        ("https://hub.example:80", "hub.example", False),
        ("http://[::1]:80", "[0:0::1]", True),
        ("http://127.0.0.1:9999", "127.0.0.1:3006", False),
        ("null", "null", False),
        ("", "", False),
        ("file://hub.example", "hub.example", False),
        ("http://hub.example/", "hub.example", False),
        ("http://evil#hub.example", "evil#hub.example", False),
        ("http://a@hub.example", "a@hub.example", False),
    ],
)
def test_an_origin_is_compared_by_scheme_host_and_port(origin, host, same):
    assert same_host(origin, host) is same


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("image/png", "image/png"),
        ("Image/PNG; charset=x", "image/png"),
        (" image/SVG+xml", "image/svg+xml"),
        ("image/png,text/html", ""),
        ("image/png\r\nX: y", ""),
        ("image/png\n", ""),
        ("image", ""),
        ("", ""),
        (None, ""),
        (7, ""),
    ],
)
def test_a_media_type_has_one_normal_form(text, found):
    assert essence(text) == found


def test_no_bitmap_type_is_active():
    assert not [kind for kind in BITMAPS if "svg" in kind or "xml" in kind or "html" in kind]
