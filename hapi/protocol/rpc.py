"""RPC between hub and machine or session: Socket.IO events whose parameters and answers are JSON inside a text."""

from __future__ import annotations

from typing import Any

from attrs import frozen

from hapi.protocol.json import Malformed, from_json, to_json

REGISTER, UNREGISTER, REQUEST = "rpc-register", "rpc-unregister", "rpc-request"


@frozen
class RpcRequest:
    """One call. `params` is what the caller's JSON held, None when it was no JSON."""

    method: str
    params: Any = None


def read_request(argument: Any) -> RpcRequest:
    """The call in the argument of an `rpc-request` event. Raises Malformed when it names no method."""
    method = argument.get("method") if isinstance(argument, dict) else None
    if not isinstance(method, str):
        raise Malformed("rpc-request without a method")
    params = argument.get("params")
    if isinstance(params, str):
        try:
            params = from_json(params)
        except Malformed:
            params = None
    return RpcRequest(method, params)


def rpc_request(method: str, params: Any) -> dict[str, str]:
    """The argument of an `rpc-request` event, as the hub sends it."""
    return {"method": method, "params": to_json(params)}


def read_answer(argument: Any) -> Any:
    """What the ack argument of an `rpc-request` says: JSON in a text; another value is used as it is. Raises Malformed."""
    return from_json(argument) if isinstance(argument, str) else argument


def rpc_error(message: str) -> dict[str, str]:
    return {"error": message}


METHOD_NOT_FOUND = rpc_error("Method not found")
