"""The OpenAPI document: it describes every route as it is, and the routes follow it."""

from __future__ import annotations

import json
import re
from types import SimpleNamespace
from typing import Any

import pytest
from attrs import evolve

from hapi.hub.access.rate_limits import Cost
from hapi.hub.http.openapi.document import EVERYWHERE, document
from hapi.hub.http.openapi.operation import (
    Flag,
    Integer,
    Operation,
    UndeclaredBody,
    operation,
    operation_of,
)
from hapi.hub.http.openapi.routes import Route
from hapi.hub.http.routing import RequestContext
from hapi.protocol.rest.bodies import Pin, Rename
from hapi.protocol.rest.outcome import Done
from tests.support.access_tokens import create_token, request, web_token
from tests.support.hub_stage import ROUTES, Stage
from tests.support.openapi_replies import DescribedApi, UndeclaredReply, described_api

LISTED = Stage().hub.description.routes


def read_document() -> dict[str, Any]:
    answer = Stage().rest("GET", "/api/openapi.json", namespace=None)
    assert answer.status == 200
    found: dict[str, Any] = answer.body
    return found


def operations() -> list[Any]:
    return [
        pytest.param(path, method, found, id=f"{method} {path}")
        for path, methods in described_api().document["paths"].items()
        for method, found in methods.items()
    ]


def test_the_document_is_served_without_a_token():
    found = read_document()
    assert found["openapi"].startswith("3.1.")
    assert found == json.loads(json.dumps(described_api().document))


def test_the_document_describes_every_route_of_the_klein_applications():
    described = {
        (method.upper(), re.sub(r"\{\w+\}", "{}", path))
        for path, methods in read_document()["paths"].items()
        for method in methods
    }
    served = {(route.method, re.sub(r"<\w+>", "{}", route.path)) for route in ROUTES}
    assert described - served == {("GET", "/api/events")}  # a resource of its own
    assert served - described == set()


def test_every_route_declares_what_it_takes_and_replies():
    bare = [route.path for route in LISTED if operation_of(route.handler) is None]
    assert bare == []


def test_operation_ids_are_unique():
    ids = [route.name for route in LISTED]
    assert len(ids) == len(set(ids))


@pytest.mark.parametrize(("path", "method", "found"), operations())
def test_each_operation_is_described_in_a_sentence_and_by_its_replies(path, method, found):
    assert re.fullmatch(r"[A-Z][^\n]{9,99}[^.]", found["summary"])
    assert set(found["responses"]) >= {str(status) for status in EVERYWHERE}
    is_repeatable = (path, method) == ("/api/sessions/{sessionId}/scratchlist", "post")
    successes = {"200", "201"} & set(found["responses"])
    assert len(successes) == (2 if is_repeatable else 1)  # 200: the id of an entry is known
    assert [given["name"] for given in found.get("parameters", ()) if given["in"] == "path"] == (
        re.findall(r"\{(\w+)\}", path)
    )


@pytest.mark.parametrize(("path", "method", "found"), operations())
def test_the_token_that_an_operation_needs_is_told(path, method, found):
    public = ("/health", "/ready", "/api/auth", "/api/bind", "/api/openapi.json")
    secrets = ("/api/notifications/answer", "/api/share/{secret}")  # the request holds one
    is_public = path in (*public, *secrets)
    is_cli = path.startswith(("/cli/", "/metrics"))
    expected = "public" if is_public else "cli" if is_cli else "api"
    assert found["tags"] == [expected]
    takes_token = path in ("/api/auth", "/api/bind")  # in the body
    assert ("401" in found["responses"]) == (not is_public or takes_token)


def test_the_scope_that_a_token_needs_is_told():
    paths = described_api().document["paths"]
    assert paths["/api/sessions/{sessionId}/archive"]["post"]["security"] == [
        {"webToken": ["spawn"]}
    ]
    assert paths["/cli/machines"]["post"]["security"] == [{"accessToken": ["machine"]}]
    assert paths["/api/sessions/{sessionId}/effort"]["post"]["security"] == [{"webToken": ["chat"]}]
    for setting in ("collaboration-mode", "copilot-agent-mode"):
        found = paths[f"/api/sessions/{{sessionId}}/{setting}"]["post"]
        assert found["security"] == [{"webToken": ["chat", "approve"]}]


@pytest.mark.parametrize(
    "route",
    [
        route
        for route in LISTED
        if route.scopes and route.authentication == "api" and route.path != "/api/events"
    ],
    ids=lambda route: f"{route.method} {route.path}",
)
def test_the_scopes_that_are_told_are_enough_for_a_request(route):
    stage = Stage()
    bearer = web_token(stage, create_token(stage, *route.scopes)["token"])
    path = re.sub(r"\{\w+\}", "x", route.path)
    answer = request(stage, bearer, route.method.upper(), path, {})
    assert not isinstance(answer.body, dict) or answer.body.get("code") != "scope_missing"


def test_the_scheme_of_the_access_token_tells_that_tokens_of_devices_work_too():
    schemes = described_api().document["components"]["securitySchemes"]
    assert "token of a device or machine" in schemes["accessToken"]["description"]


def test_the_unit_of_the_time_that_a_token_lives_is_told():
    schema = described_api().document["components"]["schemas"]["CreateToken"]
    assert "Milliseconds" in json.dumps(schema["properties"]["expiresIn"])


def test_the_limit_of_the_list_of_sessions_is_described_as_it_works():
    found = described_api().document["paths"]["/api/sessions"]["get"]["parameters"]
    schema = next(each["schema"] for each in found if each["name"] == "limit")
    assert (schema["minimum"], schema["maximum"]) == (1, 500)


def test_expensive_operations_tell_that_they_are_limited():
    limited = {route.path for route in LISTED if hasattr(route.handler, "cost")}
    assert "/api/machines/{machineId}/spawn" in limited
    for path in limited:
        found = described_api().document["paths"][path]
        assert all("429" in operation["responses"] for operation in found.values())
    assert {route.handler.cost for route in LISTED if hasattr(route.handler, "cost")} == (
        set(Cost) - {Cost.LOGIN}
    )


def test_each_schema_is_one_of_json_schema():
    jsonschema_rs = pytest.importorskip("jsonschema_rs")
    for schema in described_api().document["components"]["schemas"].values():
        jsonschema_rs.meta.validate(schema)


def test_a_body_that_the_route_does_not_declare_is_not_read():
    context = RequestContext(None, None, None, Operation(Done, body=Rename))
    with pytest.raises(UndeclaredBody):
        context.body(Pin)


def test_a_parameter_that_the_route_does_not_declare_is_not_seen():
    request = SimpleNamespace(args={b"limit": [b"3"], b"other": [b"1"]})
    context = RequestContext(None, None, request, Operation(query=(Integer("limit", ""),)))
    assert context.query == {"limit": "3"}


def test_each_word_of_a_path_is_a_path_of_its_own():
    paths = described_api().document["paths"]
    bodies = {
        path.rpartition("/")[2]: found["post"]["requestBody"]["content"]["application/json"]
        for path, found in paths.items()
        if path.endswith(("/effort", "/service-tier"))
    }
    assert bodies == {
        "effort": {"schema": {"$ref": "#/components/schemas/SetEffort"}},
        "service-tier": {"schema": {"$ref": "#/components/schemas/SetServiceTier"}},
    }


def test_parameters_are_described_with_their_bounds():
    @operation(Done, query=(Integer("limit", "How many.", lowest=1, highest=9), Flag("f", "?")))
    def handler():
        """List what there is."""

    found = document([Route("/api/things", "get", None, handler, "api")])
    assert found["paths"]["/api/things"]["get"]["parameters"] == [
        {
            "name": "limit",
            "in": "query",
            "description": "How many.",
            "required": False,
            "schema": {"type": "integer", "minimum": 1, "maximum": 9},
        },
        {
            "name": "f",
            "in": "query",
            "description": "?",
            "required": False,
            "schema": {"type": "string"},
        },
    ]


# --- the check that each reply of the hub's tests goes through ------------------------------------


def test_a_reply_with_an_undeclared_status_is_noticed():
    with pytest.raises(UndeclaredReply, match="409 is not among"):
        described_api().check("GET", "/api/sessions", 409, "application/json", {"error": "?"})


def test_a_reply_of_another_shape_is_noticed():
    pytest.importorskip("jsonschema_rs")
    with pytest.raises(UndeclaredReply, match='"sessions" is a required property'):
        described_api().check("GET", "/api/sessions?limit=1", 200, "application/json", {})


def test_a_reply_of_an_undescribed_route_is_noticed():
    api = DescribedApi({"paths": {}, "components": {}})
    with pytest.raises(UndeclaredReply, match="not described"):
        api.check("GET", "/api/sessions", 200, "application/json", {})


def test_a_route_whose_error_is_not_declared_is_noticed_by_its_reply():
    [pin] = [route for route in LISTED if route.path.endswith("/pin")]
    public = document([evolve(pin, authentication="public")])
    with pytest.raises(UndeclaredReply, match="401 is not among"):
        DescribedApi(public).check(
            "PUT", "/api/sessions/s1/pin", 401, "application/json", {"error": "Invalid token"}
        )
