"""What `hapi sessions search`, `export` and `share` ask of a hub, and what they print."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from hapi.cli.app import hapi
from hapi.cli.commands.sessions import export, search, share
from hapi.client import Session

SESSION_ID = "04610d65-0000-4000-8000-000000000001"
FOUND = {
    "sessionId": SESSION_ID,
    "sessionTitle": "One\x1b[31m",
    "messageId": "m",
    "seq": 3,
    "time": 1_795_000_000_000,
    "kind": "answer",
    "snippet": {"text": "😀 a needle in 数据", "marks": [[5, 11], [15, 17]]},
}
LINK = {
    "id": "L1",
    "createdAt": 1_795_000_000_000,
    "expiresAt": 1_795_000_000_000,
    "includesLater": True,
    "includesTools": False,
    "includesThoughts": False,
}


class Hub:
    """The client of a hub that notes what it was asked."""

    def __init__(self) -> None:
        self.asked: list[tuple[Any, ...]] = []
        self.results: list[Any] = [FOUND]

    async def sessions(self) -> list[Any]:
        return [Session(SESSION_ID)]

    async def session(self, session_id: str) -> Session:
        return Session(session_id)

    async def search(self, *given: Any) -> dict[str, Any]:
        self.asked.append(given)
        return {"results": self.results, "indexing": {"done": 1, "total": 2}}

    async def export(self, session_id: str, as_markdown: bool) -> bytes:
        return b"# One\n" if as_markdown else b"{}"

    async def share(self, *given: Any) -> dict[str, Any]:
        self.asked.append(given)
        return {**LINK, "url": "http://hub/share/SECRET"}

    async def share_links(self, session_id: str) -> list[Any]:
        return [LINK]

    async def revoke_share_link(self, *given: Any) -> None:
        self.asked.append(given)


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Hub:
    made = Hub()

    def ask_hub(ask: Any) -> Any:
        try:
            ask(made).send(None)
        except StopIteration as end:
            return end.value
        raise AssertionError("the command waits for something else than the hub")

    for module in (search, export, share):
        monkeypatch.setattr(module, "ask_hub", ask_hub)
    return made


def run(*words: str, code: int = 0) -> str:
    done = CliRunner().invoke(hapi, ["sessions", *words])
    assert done.exit_code == code, done.output
    return done.stdout


def test_what_was_found_is_shown_in_brackets(hub: Hub) -> None:
    text = run("search", "needle", '"in 数据"', "--limit", "5")
    assert hub.asked == [('needle "in 数据"', 5, None)]
    assert "    😀 a [needle] in [数据]" in text
    assert SESSION_ID in text
    assert "\x1b" not in text
    assert "Older messages are still being indexed: 1 of 2" in text
    hub.results = []
    assert "Nothing found" in run("search", "needle")


def test_a_search_can_stay_in_one_session(hub: Hub) -> None:
    run("search", "needle", "--session", "0461")
    assert hub.asked[0][2] == SESSION_ID


def test_a_conversation_is_written_to_standard_output_or_to_a_new_file(
    hub: Hub, tmp_path: Path
) -> None:
    assert run("export", SESSION_ID) == "# One\n"
    target = tmp_path / "one.json"
    run("export", SESSION_ID, "--format", "json", "--output", str(target))
    assert target.read_bytes() == b"{}"
    run("export", SESSION_ID, "--output", str(target), code=1)
    assert target.read_bytes() == b"{}"


def test_a_link_is_made_listed_and_revoked(hub: Hub) -> None:
    text = run("share", SESSION_ID, "--expires", "1d", "--tools")
    assert text == "http://hub/share/SECRET\n"
    assert hub.asked == [(SESSION_ID, 86_400_000, False, True, False)]
    assert "L1" in run("share", SESSION_ID, "--list")
    assert run("share", SESSION_ID, "--revoke", "L1") == "Link revoked\n"
    assert hub.asked[-1] == (SESSION_ID, "L1")
    run("share", SESSION_ID, "--expires", "soon", code=2)
