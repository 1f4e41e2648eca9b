"""The security list, asked of our runner and of npm's from the outside: ours must hold, npm's is
recorded (G12).

npm's is asked with HAPI_FAULTS=release; HAPI_WRITE_TABLES=1 asks it too and puts the comparison
into docs/reliability.md.
"""

from __future__ import annotations

import os

import pytest

from tests.support.garbage import RELEASE
from tests.support.model_endpoint import Model
from tests.support.peers import NPM, OURS, Cast
from tests.support.programs import CANARY, ROOT
from tests.support.security import CHECKS, Seen, World, ask_everything, rows

pytestmark = [
    pytest.mark.peer("hapi", "opencode"),
    pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user"),
]
PAGE = ROOT / "docs" / "reliability.md"
WRITE = bool(os.environ.get("HAPI_WRITE_TABLES"))
BOTH = WRITE or RELEASE
BEGIN, END = "<!-- security: begin -->", "<!-- security: end -->"


@pytest.fixture(scope="module")
def seen(tmp_path_factory) -> dict[str, dict[str, Seen]]:
    found = {}
    for make in (OURS, NPM) if BOTH else (OURS,):
        with Model() as model:
            cast = Cast(tmp_path_factory.mktemp(f"npm-{make}"), token=CANARY)
            cast.agents(model.url)
            try:
                _, user = cast.hub(make)
                found[make] = ask_everything(World(make, cast, user))
            finally:
                cast.end()
    if WRITE:
        before, rest = PAGE.read_text().split(BEGIN)
        PAGE.write_text(f"{before}{BEGIN}\n\n{rows(found)}\n\n{END}{rest.split(END)[1]}")
    return found


@pytest.mark.parametrize("name", sorted(CHECKS))
def test_ours_holds(seen, name):
    assert seen[OURS][name].held is True, seen[OURS][name].words


@pytest.mark.skipif(not BOTH, reason="npm's runner is asked with HAPI_FAULTS=release")
def test_npms_was_asked_the_same(seen):
    assert set(seen[NPM]) == set(seen[OURS]) == set(CHECKS)
