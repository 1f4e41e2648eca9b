"""An ACP agent that makes many records when a test says so.

A prompt `N` creates the file `asked`, announces N tool calls as soon as there is a file `go`, and
then creates the file `sent`; the turn ends when there is a file `end`. Other prompts are answered
at once.
"""

import json
import sys
import threading
import time
from pathlib import Path


def send(**message):
    sys.stdout.write(json.dumps({"jsonrpc": "2.0", **message}) + "\n")


def update(session, kind, /, **fields):
    send(
        method="session/update",
        params={"sessionId": session, "update": {"sessionUpdate": kind, **fields}},
    )


def wait_for(name):
    while not Path(name).exists():
        time.sleep(0.02)


def prompt(number, params):
    text = params["prompt"][0]["text"]
    session = params["sessionId"]
    if text.isdecimal():
        Path("asked").touch()
        wait_for("go")
        for count in range(int(text)):
            update(
                session,
                "tool_call",
                toolCallId=f"call-{count}",
                title=f"Call {count}",
                kind="execute",
                rawInput={"command": f"echo {count}"},
            )
        sys.stdout.flush()
        Path("sent").touch()
        wait_for("end")
    else:
        content = {"type": "text", "text": f"You said {text}"}
        update(session, "agent_message_chunk", content=content)
    send(id=number, result={"stopReason": "end_turn"})
    sys.stdout.flush()


def main():
    for line in sys.stdin:
        message = json.loads(line)
        method, number = message.get("method"), message.get("id")
        if number is None:
            continue
        if method == "initialize":
            result = {"protocolVersion": 1, "agentCapabilities": {"loadSession": True}}
        elif method == "session/new":
            result = {"sessionId": "burst-1"}
        elif method == "session/prompt":
            threading.Thread(target=prompt, args=(number, message["params"]), daemon=True).start()
            continue
        else:
            result = {}
        send(id=number, result=result)
        sys.stdout.flush()


main()
