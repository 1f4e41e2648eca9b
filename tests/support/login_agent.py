"""An agent that needs a login while the file LOGIN is missing, and then asks a question in every
turn."""

import json
import os
import sys

QUESTION = {
    "mode": "form",
    "sessionId": "s",
    "message": "Which colour?",
    "requestedSchema": {
        "type": "object",
        "properties": {"colour": {"type": "string", "enum": ["Red", "Blue"]}},
        "required": ["colour"],
    },
}


def send(**message):
    print(json.dumps({"jsonrpc": "2.0", **message}), flush=True)


def update(text):
    content = {"type": "text", "text": text}
    update = {"sessionUpdate": "agent_message_chunk", "content": content}
    send(method="session/update", params={"sessionId": "s", "update": update})


def main():
    asking = None  # the id of the turn that waits for the answer
    for line in sys.stdin:
        call = json.loads(line)
        method, number = call.get("method"), call.get("id")
        if method == "initialize":
            login = {"id": "cli", "name": "Log in", "type": "terminal", "args": ["login"]}
            send(id=number, result={"protocolVersion": 1, "authMethods": [login]})
        elif method == "session/new" and not os.path.exists(os.environ["LOGIN"]):
            send(id=number, error={"code": -32000, "message": "Authentication required"})
        elif method == "session/new":
            send(id=number, result={"sessionId": "s"})
        elif method == "session/prompt":
            asking = number
            send(id="question/1", method="elicitation/create", params=QUESTION)
        elif method is None and number == "question/1":
            update(f"got {json.dumps(call.get('result'))}")
            send(id=asking, result={"stopReason": "end_turn"})
        elif method is not None and number is not None:
            send(id=number, result={})


if __name__ == "__main__":
    main()
