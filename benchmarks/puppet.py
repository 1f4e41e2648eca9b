"""A session process that costs nothing: announces itself to the runner and waits. `deaf…`
directories: with a deaf child; `tree…`: with a hundred of them. Standard library only.

As `puppet.py crowd N` it makes N such processes that nobody's runner has started, one after
another.
"""

import json
import os
import signal
import socket
import sys
import uuid

TREE = 100  # processes below a session in a directory that is called so


def announce(port, started_by):
    metadata = {
        "hostPid": os.getpid(),
        "startedBy": started_by,
        "path": os.getcwd(),
        "flavor": "kimi",
    }
    body = json.dumps({"sessionId": str(uuid.uuid4()), "metadata": metadata}).encode()
    head = f"POST /session-started HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n"
    head += "Content-Type: application/json\r\n"
    with socket.create_connection(("127.0.0.1", port), 60) as connection:
        connection.sendall(
            f"{head}Connection: close\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body
        )
        try:
            answer = connection.recv(4096)
        except OSError:
            answer = b""
    if answer and b" 200 " not in answer[:20]:  # none at all: the runner was killed meanwhile
        sys.exit(answer.decode())


def control_port():
    with open(os.path.join(os.environ["HAPI_HOME"], "runner.state.json")) as file:
        return json.load(file)["httpPort"]


def wait():
    os.execvp("sleep", ["sleep", "100000"])


def below(count, deaf):
    for _ in range(count):
        if os.fork() == 0:
            if deaf:
                signal.signal(signal.SIGTERM, signal.SIG_IGN)
            wait()


def crowd(count):
    port = control_port()
    for _ in range(count):
        reading, writing = os.pipe()
        if os.fork() == 0:
            os.close(reading)
            announce(port, "terminal")
            os.close(writing)
            wait()
        os.close(writing)
        os.read(reading, 1)  # ends when it has announced itself
        os.close(reading)
    print("there", flush=True)
    signal.pause()


def session():
    kind = os.path.basename(os.getcwd())
    if kind.startswith("deaf"):
        below(1, deaf=True)
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    elif kind.startswith("tree"):
        below(TREE, deaf=False)
    announce(control_port(), "runner")
    wait()


if __name__ == "__main__":
    if sys.argv[1] == "crowd":
        crowd(int(sys.argv[2]))
    else:
        session()
