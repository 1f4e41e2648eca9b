"""What a hub tells on the terminal when it has started."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from hapi.cli.base.flags import RunnerFlags
from hapi.cli.commands.up import Up
from hapi.cli.hub import foreground
from hapi.home import Home

STANDBY = "This hub is a standby: hub a at http://10.0.0.5:3006 serves"


def service(**changes: Any) -> Any:
    facts = {
        "url": "http://127.0.0.1:3006",
        "people_url": "http://127.0.0.1:3006",
        "token": "secret",
        "is_standby": False,
        "waits_because": "",
        "options": SimpleNamespace(public_url=None),
    }
    return SimpleNamespace(**{**facts, **changes})


def test_a_hub_that_serves_tells_the_address_of_its_page(
    home: Home, capsys: pytest.CaptureFixture[str]
) -> None:
    foreground._print_addresses(home, service(), None, qr=False)
    assert "Page: http://127.0.0.1:3006/" in capsys.readouterr().out


def test_a_standby_tells_which_hub_serves_and_no_address_of_a_page(
    home: Home, capsys: pytest.CaptureFixture[str]
) -> None:
    waiting = service(is_standby=True, waits_because=STANDBY)
    foreground._print_addresses(home, waiting, "http://10.0.0.9:3006", qr=True)
    assert capsys.readouterr().out == (
        "Hub listens on http://127.0.0.1:3006\n"
        "This hub is a standby: hub a at http://10.0.0.5:3006 serves. "
        "It takes over as soon as it can.\n"
    )


def test_a_standby_that_has_taken_over_tells_the_address_of_its_page(
    home: Home, capsys: pytest.CaptureFixture[str]
) -> None:
    waiting = service(is_standby=True, waits_because=STANDBY)
    foreground._print_addresses(home, waiting, None, qr=False)
    capsys.readouterr()
    waiting.on_serving()
    assert capsys.readouterr().out == (
        "This hub serves now.\n"
        f"Page: http://127.0.0.1:3006/ (access token: cliApiToken in {home.settings})\n"
    )


def test_hapi_up_tells_the_address_of_its_page_when_its_hub_has_taken_over(
    home: Home, capsys: pytest.CaptureFixture[str]
) -> None:
    waiting = service(is_standby=True, waits_because=STANDBY)
    up = Up(home, {}, RunnerFlags(), qr=False, as_json=False, tunnel=None)
    up._print_address(waiting, SimpleNamespace(path="/log"))
    assert "Open this page" not in capsys.readouterr().out
    waiting.on_serving()
    told = capsys.readouterr().out
    assert told.startswith("This hub serves now.\nOpen this page in a browser:\n\n  http://127.")
