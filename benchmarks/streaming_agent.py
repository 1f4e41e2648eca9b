"""A coding agent that streams: ACP over stdio, standard library only.

A prompt `stream BLOCKS CHUNKS RATE` is answered with so many blocks of text, a tool call after
each, of so many chunks, so many a second. Each chunk holds the time when it was said, in
milliseconds since the epoch: `word @1790000000000@ `.
"""

import json
import sys
import threading
import time
import uuid


def send(**message: object) -> None:
    sys.stdout.write(json.dumps({"jsonrpc": "2.0", **message}) + "\n")
    sys.stdout.flush()


def update(session: str, kind: str, /, **fields: object) -> None:
    send(
        method="session/update",
        params={"sessionId": session, "update": {"sessionUpdate": kind, **fields}},
    )


def stream(number: object, session: str, blocks: int, chunks: int, rate: float) -> None:
    due = time.monotonic()
    for block in range(blocks):
        for chunk in range(chunks):
            end = ".\n\n" if chunk % 20 == 19 else " "
            text = f"word @{int(time.time() * 1000)}@{end}"
            update(session, "agent_message_chunk", content={"type": "text", "text": text})
            due += 1 / rate
            time.sleep(max(0.0, due - time.monotonic()))
        call = {"toolCallId": f"call-{block}-{uuid.uuid4()}", "title": "Look", "kind": "read"}
        update(session, "tool_call", status="completed", **call)
    send(id=number, result={"stopReason": "end_turn"})


def take(request: dict) -> None:
    method, number, params = request["method"], request["id"], request.get("params") or {}
    if method == "initialize":
        capabilities = {"loadSession": True}
        answer = {"protocolVersion": 1, "agentCapabilities": capabilities, "authMethods": []}
    elif method == "session/new":
        answer = {"sessionId": str(uuid.uuid4())}
    elif method == "session/prompt":
        text = next(part["text"] for part in reversed(params["prompt"]) if part["type"] == "text")
        words = text.split()
        if words[:1] == ["stream"]:
            asked = (int(words[1]), int(words[2]), float(words[3]))
            given = (number, params["sessionId"], *asked)
            threading.Thread(target=stream, args=given, daemon=True).start()
            return
        answer = {"stopReason": "end_turn"}
    else:
        answer = {}
    send(id=number, result=answer)


if __name__ == "__main__":
    if "--version" in sys.argv:
        print("1.0.0")
        sys.exit()
    for line in sys.stdin:
        read = json.loads(line)
        if "id" in read and "method" in read:
            take(read)
