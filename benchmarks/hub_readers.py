"""Pages that read a hub's event stream, many in one process, so that reading shares no interpreter
with whoever sends: `hub_readers.py PORT JWT READERS [SESSION,…]`. Standard library only. With
sessions, each page shows one of them, and updates of its live text are counted instead of messages.

Commands come on standard input, one a line; each is answered by a line of JSON:
    reset         forget what was counted
    wait N S      when each reader has N messages, or after S seconds: `messages`, the least that a
                  reader has; `last`, the time of the last one (time.monotonic_ns); `lost`, readers
                  that were disconnected; `p50`, `p99`, `longest`, seconds from sending to reading
"""

import json
import re
import selectors
import socket
import sys
import time

MESSAGE, LIVE = b'"message-received"', b'"session-live"'
TIME = re.compile(rb"@(\d{6,20})@")  # in the text of each message: time.monotonic_ns when sent


class Reader:
    def __init__(self, port, jwt, session):
        self.socket = socket.create_connection(("127.0.0.1", port), 60)
        self.marker = LIVE if session else MESSAGE
        query = f"all=true&visibility=visible&token={jwt}{f'&live={session}' if session else ''}"
        request = f"GET /api/events?{query} HTTP/1.1\r\n"
        head = f"{request}Host: 127.0.0.1:{port}\r\nAccept: text/event-stream\r\n\r\n"
        self.socket.sendall(head.encode())
        answer = b""
        while b"connection-changed" not in answer:
            part = self.socket.recv(1 << 16)
            if not part or (b"\r\n" in answer and b" 200 " not in answer[:16]):
                sys.exit(f"the hub refused a reader: {answer[:200]!r}")
            answer += part
        self.rest, self.messages, self.last, self.ended = b"", 0, 0, False

    def read(self, took):
        data = self.socket.recv(1 << 18)
        if not data:
            self.ended = True
            return
        now, data = time.monotonic_ns(), self.rest + data
        end = data.rfind(b"\n\n") + 2  # whole frames only
        if end < 2:
            self.rest = data
            return
        self.rest = data[end:]
        count = data.count(self.marker, 0, end)
        if count:
            self.messages, self.last = self.messages + count, now
            took += [now - int(sent) for sent in TIME.findall(data, 0, end)]


def run(port, jwt, count, sessions):
    readers = [Reader(port, jwt, sessions[number % len(sessions)]) for number in range(count)]
    selector = selectors.DefaultSelector()
    selector.register(sys.stdin, selectors.EVENT_READ)
    for reader in readers:
        selector.register(reader.socket, selectors.EVENT_READ, reader)
    took, wanted, deadline = [], None, 0.0
    print("{}", flush=True)
    while True:
        timeout = None if wanted is None else max(0.0, deadline - time.monotonic())
        for key, _ in selector.select(timeout):
            if key.data is not None:
                key.data.read(took)
                if key.data.ended:
                    selector.unregister(key.data.socket)
                continue
            command = sys.stdin.readline().split()
            if not command:
                return
            if command[0] == "wait":
                wanted, deadline = int(command[1]), time.monotonic() + float(command[2])
                continue
            took.clear()
            for reader in readers:
                reader.messages = 0
            print("{}", flush=True)
        if wanted is not None:
            least = min(reader.messages for reader in readers)
            if least >= wanted or time.monotonic() >= deadline:
                print(json.dumps(told(readers, least, took)), flush=True)
                wanted = None


def told(readers, least, took):
    took = sorted(took) or [0]
    return {
        "messages": least,
        "last": max(reader.last for reader in readers),
        "lost": sum(reader.ended for reader in readers),
        "p50": took[len(took) // 2] / 1e9,
        "p99": took[int(len(took) * 0.99)] / 1e9,
        "longest": took[-1] / 1e9,
    }


if __name__ == "__main__":
    chosen = sys.argv[4].split(",") if len(sys.argv) > 4 else [""]
    run(int(sys.argv[1]), sys.argv[2], int(sys.argv[3]), chosen)
