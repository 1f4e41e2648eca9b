"""The RPC envelope between hub and machine or session: JSON texts inside Socket.IO events."""

from __future__ import annotations

from typing import Any

from attrs import frozen

from hapi.protocol.json import Malformed, from_json, to_json

REGISTER, UNREGISTER, REQUEST = "rpc-register", "rpc-unregister", "rpc-request"


@frozen
class RpcRequest:
    """One call. `params` is the decoded JSON, None if it was not JSON."""

    method: str
    params: Any = None


def read_request(argument: Any) -> RpcRequest:
    """The call in an `rpc-request` event. Raises Malformed if it names no method."""
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
    """The answer to an `rpc-request`: a JSON text, or another value as it is. Raises Malformed."""
    return from_json(argument) if isinstance(argument, str) else argument


def rpc_error(message: str) -> dict[str, str]:
    return {"error": message}


METHOD_NOT_FOUND = rpc_error("Method not found")
