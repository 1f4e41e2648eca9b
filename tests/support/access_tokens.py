"""Access tokens of devices for tests that run on a Stage."""

from __future__ import annotations

from typing import Any

from tests.support.hub_stage import Answer, MemoryPeer, Stage


def create_token(stage: Stage, *scopes: str, name: str = "phone", **more: Any) -> dict[str, Any]:
    """The reply of the hub to its owner, who makes a token; `token` is the token itself."""
    body = {"name": name, "scopes": list(scopes), **more}
    answer = stage.rest("POST", "/api/tokens", body)
    assert answer.status == 201, answer
    return dict(answer.body)


def log_in(stage: Stage, token: str) -> Answer:
    return stage.rest("POST", "/api/auth", {"accessToken": token}, None)


def web_token(stage: Stage, token: str) -> str:
    answer = log_in(stage, token)
    assert answer.status == 200, answer
    return str(answer.body["token"])


def request(
    stage: Stage, token: str, method: str, path: str, body: Any = None, **headers: str
) -> Answer:
    """The answer to a bearer of `token`: a web token below /api, an access token below /cli."""
    return stage.rest(method, path, body, Authorization=f"Bearer {token}", **headers)


def connect(stage: Stage, token: str, **auth: Any) -> MemoryPeer:
    peer = MemoryPeer(stage.sockets)
    stage.sockets.cli.connect(peer, {"token": token, **auth})
    stage.sockets.peers.add(peer)
    return peer
