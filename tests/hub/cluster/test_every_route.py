"""Every route of a session or machine answers the same at its home and at another hub."""

import json
import re

import pytest
import pytest_twisted

from tests.support.hub_group import hubs_with_clusters, until
from tests.support.hub_stage import ROUTES

OWNED = [route for route in ROUTES if re.search("<(session|machine)_id>", route.path)]


@pytest.fixture
def group():
    with hubs_with_clusters("other", "home") as group:
        yield group


async def answer_at(hub, route, session_id, machine_id):
    """The status and the body of the reply, without what differs between two sessions."""
    path = route.path.replace("<session_id>", session_id).replace("<machine_id>", machine_id)
    path = re.sub("<[a-z_:]+>", "x%2Fy", path)
    body = {} if route.method in ("POST", "PUT", "PATCH", "DELETE") else None
    status, found = await hub.rest(route.method, path, body)
    if status == 201:  # a new share link has a secret
        return status, sorted(found)
    text = json.dumps(found if not isinstance(found, bytes) else found.decode())
    for own in (session_id, machine_id):
        text = text.replace(own, "ID")
    return status, re.sub(r"[0-9]{13}|\"requestId\": \"[0-9a-f]+\"|tag-ID", "…", text)


@pytest_twisted.ensureDeferred
async def test_every_route_answers_the_same_at_another_hub(group):
    other, home = group.hubs.values()
    different = {}
    assert len(OWNED) > 60
    for number, route in enumerate(OWNED):
        answers = []
        for hub in (home, other):
            kind = 0 if hub is home else 1
            session_id = f"{kind:08d}-0000-4000-8000-{number:012d}"
            machine_id = f"machine-{kind}-{number}"
            await home.session(session_id)
            await home.machine(machine_id)
            for owner in (session_id, machine_id):
                assert await home.cluster.claim(owner)
                await until(lambda owner=owner: other.cluster.elsewhere(owner))
            answers.append(await answer_at(hub, route, session_id, machine_id))
        if answers[0] != answers[1]:
            different[f"{route.method} {route.path}"] = answers
    assert different == {}
    passed = other.registry.peers.statistics.forwarded
    assert passed["answered"] == len(OWNED)
    assert passed["unreachable"] == passed["misdirected"] == 0
    assert not home.registry.peers.statistics.forwarded


@pytest_twisted.ensureDeferred
async def test_a_reply_without_a_body_stays_without(group):
    other, home = group.hubs.values()
    await home.session()
    await home.cluster.claim("00000000-0000-4000-8000-000000000001")
    (session_id,) = home.registry.sessions
    await until(lambda: other.cluster.elsewhere(session_id))
    for hub in (home, other):
        status, found = await hub.rest("HEAD", f"/api/sessions/{session_id}")
        assert (status, found) == (200, b"")
        status, found = await hub.rest("OPTIONS", f"/api/sessions/{session_id}")
        assert (status, found) == (204, b"")
