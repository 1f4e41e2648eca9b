"""A coding agent that costs nothing: ACP over stdio, standard library only.

It echoes each prompt.
"""

import json
import sys
import uuid


def send(**message: object) -> None:
    sys.stdout.write(json.dumps({"jsonrpc": "2.0", **message}) + "\n")
    sys.stdout.flush()


def answer(method: str, params: dict) -> dict:
    match method:
        case "initialize":
            return {
                "protocolVersion": 1,
                "agentCapabilities": {"loadSession": True},
                "authMethods": [],
            }
        case "session/new":
            return {"sessionId": str(uuid.uuid4())}
        case "session/prompt":
            text = next(
                (part["text"] for part in reversed(params["prompt"]) if part.get("type") == "text"),
                "",
            )
            update = {
                "sessionUpdate": "agent_message_chunk",
                "content": {"type": "text", "text": text},
            }
            send(
                method="session/update", params={"sessionId": params["sessionId"], "update": update}
            )
            return {"stopReason": "end_turn"}
        case _:
            return {}


if __name__ == "__main__":
    if "--version" in sys.argv:
        print("1.0.0")
        sys.exit()
    for line in sys.stdin:
        request = json.loads(line)
        if "id" in request and "method" in request:
            send(id=request["id"], result=answer(request["method"], request.get("params") or {}))
