"""The table of RPC methods."""

import json

import msgspec
import pytest
import pytest_twisted
from twisted.internet.defer import Deferred

from hapi.net.common.rpc import RpcTable
from hapi.request_id import current_request_id


class Found(msgspec.Struct, rename="camel"):
    is_git_repo: bool


@pytest.fixture
def table():
    return RpcTable("m1")


def request(name, params="{}"):
    return {"method": f"m1:{name}", "params": params}


def test_methods_have_their_wire_names_in_order(table):
    table.add("b", lambda _: None)
    table.add("a", lambda _: None)
    table.add("b", lambda _: 1)
    assert table.methods == ("m1:b", "m1:a")


def test_who_listens_hears_of_new_methods_once(table):
    heard = []
    table.on_added = heard.append
    table.add("a", lambda _: None)
    table.add("a", lambda _: 1)
    assert heard == ["m1:a"]


@pytest.mark.parametrize(
    ("result", "expected"),
    [
        (None, None),
        ({"a": 1}, {"a": 1}),
        (Found(True), {"isGitRepo": True}),
        ([1, "é"], [1, "é"]),
        ("x", "x"),
        (False, False),
    ],
)
@pytest_twisted.ensureDeferred
async def test_what_a_handler_returns_is_the_answer(table, result, expected):
    table.add("a", lambda _: result)
    assert json.loads(await table.answer(request("a"))) == expected


@pytest_twisted.ensureDeferred
async def test_a_coroutine_is_awaited(table):
    async def double(params):
        return params * 2

    table.add("double", double)
    assert await table.answer(request("double", "21")) == "42"


@pytest.mark.parametrize(
    "call", [None, 7, [], {}, {"method": 1}, {"method": "m1:nope"}, {"method": "m2:a"}]
)
@pytest_twisted.ensureDeferred
async def test_unknown_and_malformed_calls_are_answered__N20(table, call):
    table.add("a", lambda _: 1)
    assert json.loads(await table.answer(call)) == {"error": "Method not found"}


@pytest_twisted.ensureDeferred
async def test_a_handler_that_raises_or_returns_no_json_is_answered__N20(table, logged_failures):
    def fail(_):
        raise KeyError

    table.add("fail", fail)
    table.add("strange", lambda _: object())
    assert json.loads(await table.answer(request("fail"))) == {"error": "KeyError"}
    assert "error" in json.loads(await table.answer(request("strange")))
    assert len(logged_failures.take(Exception)) == 2


@pytest.mark.parametrize(
    ("given", "expected"),
    [("3f1c", "3f1c"), (None, None), ("a b", None), (5, None), ("<" * 9, None), ("x" * 129, None)],
)
def test_a_call_is_answered_on_behalf_of_the_request_that_caused_it(given, expected):
    seen, waiting = [], Deferred()

    async def handler(params):
        seen.append(current_request_id())
        await waiting
        seen.append(current_request_id())

    table = RpcTable("m1")
    table.add("work", handler)
    call = {"method": "m1:work", "params": "{}", "requestId": given}
    Deferred.fromCoroutine(table.answer(call))
    waiting.callback(None)
    assert (seen, current_request_id()) == ([expected, expected], None)
