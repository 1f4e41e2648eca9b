"""Callers of a control port, many at once in one process: how many answers a second, how late, how
long a silence.

Run as a program, so that it shares no interpreter with whoever measures: `load.py PORT CALLERS
SECONDS PAUSE`, seconds. Each caller keeps its connection and asks `/list` again when it has its
answer, after a pause. Prints JSON when it ends: `{"rate", "p50", "p99", "longest"}`; with SECONDS 0
it goes on until its standard input is closed.
"""

import json
import selectors
import socket
import sys
import time


class Caller:
    def __init__(self, port):
        self.request = f"POST /list HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n\r\n".encode()
        self.socket = socket.create_connection(("127.0.0.1", port), 60)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.received, self.wanted, self.asked = b"", None, None

    def ask(self):
        self.received, self.wanted, self.asked = b"", None, time.perf_counter()
        self.socket.sendall(self.request)

    def hear(self):
        """Whether the answer is whole."""
        part = self.socket.recv(1 << 18)
        if not part:
            raise ConnectionError("the runner closed the connection")
        self.received += part
        if self.wanted is None and (end := self.received.find(b"\r\n\r\n")) >= 0:
            head = self.received[:end].lower()
            if b" 200 " not in head[:16]:
                raise ConnectionError(head.decode())
            self.wanted = end + 4 + int(head.split(b"content-length:")[1].split(b"\r\n")[0])
        return self.wanted is not None and len(self.received) >= self.wanted


def run(port, count, seconds, pause):
    callers = [Caller(port) for _ in range(count)]
    selector = selectors.DefaultSelector()
    if not seconds:
        selector.register(sys.stdin, selectors.EVENT_READ)
    for caller in callers:
        selector.register(caller.socket, selectors.EVENT_READ, caller)
        caller.ask()
    took, began, over = [], time.perf_counter(), False
    print("asking", flush=True)
    while not over:
        for key, _ in selector.select():
            if key.data is None:
                over = True
            elif key.data.hear():
                took.append(time.perf_counter() - key.data.asked)
                if pause:
                    time.sleep(pause)
                key.data.ask()
        over = over or (seconds and time.perf_counter() - began >= seconds)
    elapsed = time.perf_counter() - began
    took += (
        [time.perf_counter() - caller.asked for caller in callers if not caller.received]
        if not seconds
        else []
    )
    took.sort()
    return {
        "rate": len(took) / elapsed,
        "p50": took[len(took) // 2],
        "p99": took[int(len(took) * 0.99)],
        "longest": took[-1],
    }


if __name__ == "__main__":
    print(
        json.dumps(run(int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3]), float(sys.argv[4]))),
        flush=True,
    )
