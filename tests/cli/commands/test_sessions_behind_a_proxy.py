"""A balancer that reaches no hub answers in its place."""

from __future__ import annotations

from typing import Any

import pytest

from hapi.cli.base.errors import ERROR, UNREACHABLE, CommandError
from hapi.cli.commands.sessions import ask
from hapi.client.errors import error_for
from hapi.settings import HubAccess

URL = "http://hub.example"


def outcome(monkeypatch: pytest.MonkeyPatch, status: int, body: Any) -> CommandError:
    async def refuse(client: Any) -> None:
        raise error_for(status, body, None)

    def run_now(run: Any, seconds: float) -> None:
        with pytest.raises(StopIteration):
            run(None).send(None)

    monkeypatch.setattr(ask, "read_settings", lambda home: {})
    monkeypatch.setattr(ask, "hub_access", lambda *given: HubAccess(URL, "base"))
    monkeypatch.setattr(ask, "run_once", run_now)
    with pytest.raises(CommandError) as failed:
        ask.ask_hub(refuse)
    return failed.value


@pytest.mark.parametrize("status", [502, 503, 504])
def test_its_page_is_told_as_a_hub_that_cannot_be_reached(
    monkeypatch: pytest.MonkeyPatch, status: int
) -> None:
    failed = outcome(monkeypatch, status, "<html><body><h1>No server</h1></body></html>")
    assert failed.exit_code == UNREACHABLE
    assert str(failed) == (
        f"the hub at {URL} cannot be reached: a proxy in front of it answered with HTTP {status}"
    )


def test_what_a_hub_says_itself_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    failed = outcome(monkeypatch, 503, {"error": "The database is busy, try again"})
    assert (failed.exit_code, str(failed)) == (
        ERROR,
        f"the hub at {URL}: The database is busy, try again",
    )
