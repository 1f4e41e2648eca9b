"""RPC as it stands on the wire: JSON inside a text, both ways."""

import pytest

from hapi.protocol.json import Malformed
from hapi.protocol.rpc import RpcRequest, read_answer, read_request, rpc_request


def test_a_call_is_read_out_of_its_text():
    assert read_request({"method": "m:x", "params": '{"type":"spawn"}'}) == RpcRequest(
        "m:x", {"type": "spawn"}
    )
    assert read_request(rpc_request("m:x", [1, None])) == RpcRequest("m:x", [1, None])


@pytest.mark.parametrize("params", ["", "not json", "NaN", "[" * 100_000])
def test_parameters_that_are_no_json_are_none__N20(params):
    assert read_request({"method": "m:x", "params": params}) == RpcRequest("m:x", None)


@pytest.mark.parametrize("argument", [None, [], {}, {"method": 7}, {"params": "{}"}, "m:x"])
def test_a_call_without_a_method_is_malformed__N20(argument):
    with pytest.raises(Malformed):
        read_request(argument)


def test_an_answer_is_json_in_a_text_or_a_value_as_it_is():
    assert read_answer('{"ok":true}') == {"ok": True}
    assert read_answer({"ok": True}) == {"ok": True}
    assert read_answer(None) is None
    with pytest.raises(Malformed):
        read_answer("{")
