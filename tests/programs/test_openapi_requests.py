"""Requests made at random from the OpenAPI document, right ones and wrong ones, against a real hub
with a runner and a session: no 5xx, and only replies that the document describes.
"""

from __future__ import annotations

import re
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import HealthCheck, given, seed, settings
from hypothesis.errors import Unsatisfiable

from tests.support.peers import OUR_HAPI, User
from tests.support.programs import Stage, level, until

pytestmark = pytest.mark.program
SEED = 20
EACH_CHANGE, RELEASE = 2, 200  # requests of each operation and of each kind
# What ends the session, its runner or its tokens, starts more of them, or never ends: their right
# use is tested elsewhere. Only npm's runners know variants of models, and only a hub with a bot of
# Telegram binds chats: both are a 503 here.
LEFT_OUT = re.compile(
    r".*/(archive|reopen|resume|restart-runner|spawn|opencode-model-variants)"
    r"|/api/(bind|events|tokens?/.*)"
)


@pytest.fixture
def hub(on_stage, tmp_path) -> tuple[str, User, str, str]:
    """The address of a hub, somebody who is logged in, a machine and an active session."""
    stage = on_stage(Stage(tmp_path / "stage"))
    program = stage.start("up", [*OUR_HAPI, "up", "--port", "0"], output=".printed")
    found = program.ready(lambda: re.search(r"(http://\S+)/#token=(\S+)", program.output))
    user = User(found[1], found[2]).login()
    [machine] = until(user.machines, what="the machine")
    session_id = user.started(machine["id"], stage.directory("project"), "demo")
    return found[1], user, machine["id"], session_id


def test_random_requests_get_replies_that_the_document_describes(hub):
    schemathesis = pytest.importorskip("schemathesis")
    from schemathesis import GenerationMode
    from schemathesis.checks import not_a_server_error
    from schemathesis.specs.openapi import checks

    url, user, machine_id, session_id = hub
    document = user.get("/api/openapi.json")
    document["paths"] = {
        path: methods for path, methods in document["paths"].items() if not LEFT_OUT.fullmatch(path)
    }
    del document["paths"]["/api/sessions/{sessionId}"]["delete"]
    del document["components"]["schemas"]["Login"]["properties"]["initData"]  # Telegram's: 503
    schema = schemathesis.openapi.from_dict(document)
    wanted = [
        not_a_server_error,
        checks.status_code_conformance,
        checks.content_type_conformance,
        checks.response_schema_conformance,
    ]
    known = {"sessionId": session_id, "machineId": machine_id}
    tried = set()
    examples = level(EACH_CHANGE, RELEASE)
    for found in schema.get_all_operations():
        operation = found.ok()
        ids = {name: known[name] for name in known if "{" + name + "}" in operation.path}
        for mode in (GenerationMode.POSITIVE, GenerationMode.NEGATIVE):
            strategy = operation.as_strategy(generation_mode=mode, path_parameters=ids or None)

            @seed(SEED)
            @settings(
                max_examples=examples,
                deadline=None,
                database=None,
                suppress_health_check=list(HealthCheck),
            )
            @given(case=strategy)
            def send(case: Any) -> None:
                token = user.token if case.path.startswith("/cli") else user.jwt
                headers = {"Authorization": f"Bearer {token}"}
                case.call_and_validate(base_url=url, headers=headers, checks=wanted, timeout=40)

            # What has no body and no bounded parameter cannot be asked for in a wrong way.
            with suppress(*(Unsatisfiable,) if mode is GenerationMode.NEGATIVE else ()):
                send()
            tried.add((operation.method, operation.path))
    assert len(tried) == sum(len(methods) for methods in document["paths"].values())
