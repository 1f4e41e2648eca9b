"""With `--public-url`, every address of the page that is printed is the public one."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from hapi.cli.base.page_address import page_address, qr_code
from hapi.hub.address import reachable_url
from tests.support.programs import Stage, free_port

HAPI = [sys.executable, "-m", "hapi"]
PUBLIC = "https://hapi.example.com"


@pytest.mark.parametrize(
    ("url", "host", "public", "expected"),
    [
        ("http://127.0.0.1:3006", "127.0.0.1", None, "http://127.0.0.1:3006"),
        ("http://127.0.0.1:3006", "0.0.0.0", PUBLIC, PUBLIC),
        ("http://10.0.0.7:3006", "10.0.0.7", None, "http://10.0.0.7:3006"),
    ],
)
def test_people_reach_the_public_address_if_there_is_one(url, host, public, expected):
    assert reachable_url(url, host, public) == expected


def test_a_hub_on_every_interface_is_reached_by_its_own_scheme():
    found = reachable_url("https://127.0.0.1:3006", "0.0.0.0", None)
    assert found.startswith("https://")
    assert found.endswith(":3006")


@pytest.fixture
def stage(tmp_path):
    made = Stage(tmp_path)
    made.base["HAPI_HOME"] = str(tmp_path / "home")
    yield made
    made.end()


def saved_token(stage):
    return json.loads((stage.path / "home/settings.json").read_text())["cliApiToken"]


@pytest.mark.program
def test_up_prints_the_public_address_the_first_time_and_again(stage):
    words = [*HAPI, "up", "--port", str(free_port()), "--public-url", PUBLIC]
    program = stage.start("up", words, output=".printed")
    program.ready(lambda: "registered" in program.output)
    page = page_address(PUBLIC, saved_token(stage))
    assert f"\n  {page}\n" in program.output
    assert qr_code(page) in program.output
    again = subprocess.run(words, env=stage.base, capture_output=True, text=True, check=True)
    assert f"\nPage: {page}\n" in again.stdout
    assert qr_code(page) in again.stdout
    told = subprocess.run([*words, "--json"], env=stage.base, capture_output=True, check=True)
    assert json.loads(told.stdout)["page"] == page


@pytest.mark.program
def test_the_hub_prints_the_public_address(stage):
    port = free_port()
    words = [*HAPI, "hub", "--port", str(port), "--public-url", PUBLIC]
    program = stage.start("hub", words, output=".printed")
    program.ready(lambda: "Page:" in program.output)
    assert f"Hub listens on http://127.0.0.1:{port}\nPage: {PUBLIC}/ (access" in program.output
