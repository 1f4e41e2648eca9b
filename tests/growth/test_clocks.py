"""Hubs of one database whose clocks differ by more than their signatures allow."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import pytest_twisted
from twisted.internet.task import deferLater

from hapi.settings import HubAccess
from tests.growth.plan import Plan
from tests.growth.rest import NoAnswer, Rest
from tests.growth.servers import Servers
from tests.growth.sessions import SessionWorker
from tests.support.programs import CANARY, Stage

pytestmark = [pytest.mark.program, pytest.mark.postgres, pytest.mark.peer("haproxy")]


@pytest.fixture
def servers(reactor, tmp_path) -> Iterator[Servers]:
    plan = Plan(1, hubs=2, postgres=True, active=True, fsync=False, clocks=(0.0, 300.0))
    made = Servers(reactor, plan, Stage(tmp_path / "stage"), CANARY)
    yield made
    made.end()


@pytest_twisted.ensureDeferred
async def test_hubs_whose_clocks_differ_by_minutes_say_so_and_lose_no_prompt(reactor, servers):
    await servers.start()
    a, b = [Rest(reactor, f"http://127.0.0.1:{hub.port}", CANARY) for hub in servers.hubs]
    for each in (a, b):
        await each.login()
    session = await SessionWorker(reactor, HubAccess(b.url, CANARY), 0, 0, 1.0, b.http).start()
    try:
        path = f"/api/sessions/{session.id}/messages"
        for number, (hub, jwt) in enumerate([(a, a.jwt), (b, b.jwt), (b, a.jwt)]):
            body = {"text": f"prompt {number}", "localId": f"local-{number}"}
            await hub.until_done("POST", path, body, token=jwt)
        while len(session.acknowledged) < 3:
            await deferLater(reactor, 0.05)
        assert session.prompts == {"prompt 0": 1, "prompt 1": 1, "prompt 2": 1}
        assert servers.disordered_times() == []
        # Both live, by the clock of the database. But a page that has signed in at the hub that is
        # ahead is refused by the other one.
        names = sorted(hub.name for hub in servers.hubs)
        assert await servers.members_up(a.jwt) == dict.fromkeys(names, names)
        with pytest.raises(NoAnswer, match="401"):
            await a.once("GET", "/api/sessions", token=b.jwt)
        told = servers.hubs[1].program.output
        assert "A request of another hub was refused: the clock of hub" in told
        assert "differs by -300 s" in told
    finally:
        await session.die()
        for each in (a, b):
            await each.close()
