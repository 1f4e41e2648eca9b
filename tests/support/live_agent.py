"""An ACP agent that says what a test has it say, while the test watches.

In a turn it reads the file `say` in its directory, one JSON object a line as they come: an update
of `session/update`, which it sends at once, or `{"end": "end_turn"}`, which ends the turn.
"""

import json
import sys
import threading
import time
from pathlib import Path


def send(**message):
    sys.stdout.write(json.dumps({"jsonrpc": "2.0", **message}) + "\n")
    sys.stdout.flush()


def lines():
    """The lines of `say`, also those that are not written yet."""
    path = Path("say")
    path.touch()
    rest = ""
    with path.open() as file:
        while True:
            *whole, rest = (rest + file.read()).split("\n")
            yield from whole
            time.sleep(0.002)


SAID = lines()


def turn(number, session):
    for line in SAID:
        update = json.loads(line)
        if "end" in update:
            send(id=number, result={"stopReason": update["end"]})
            return
        send(method="session/update", params={"sessionId": session, "update": update})


def main():
    for line in sys.stdin:
        request = json.loads(line)
        method, number = request.get("method"), request.get("id")
        if method == "session/prompt":
            session = request["params"]["sessionId"]
            threading.Thread(target=turn, args=(number, session), daemon=True).start()
        elif method == "initialize":
            send(id=number, result={"protocolVersion": 1, "agentCapabilities": {}})
        elif number is not None:
            send(id=number, result={"sessionId": "live"} if method == "session/new" else {})


if __name__ == "__main__":
    main()
