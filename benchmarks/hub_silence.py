"""Somebody else at a hub: asks for `/health` on one connection, again and again, and notes how long
it had to wait: `hub_silence.py PORT PAUSE`, seconds. Standard library only.

Ends when standard input is closed, and prints JSON: `p50`, `p99`, `longest` in seconds, `count`.
"""

import json
import select
import socket
import sys
import time


def run(port, pause):
    request = f"GET /health HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n\r\n".encode()
    connection = socket.create_connection(("127.0.0.1", port), 120)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    took, over = [], False
    print("{}", flush=True)
    while not over:
        asked = time.perf_counter()
        connection.sendall(request)
        answer = b""
        while not is_whole(answer):
            part = connection.recv(1 << 16)
            if not part:
                raise ConnectionError("the hub closed the connection")
            answer += part
        took.append(time.perf_counter() - asked)
        over = bool(select.select([sys.stdin], [], [], pause)[0])
    took.sort()
    return {
        "p50": took[len(took) // 2],
        "p99": took[int(len(took) * 0.99)],
        "longest": took[-1],
        "count": len(took),
    }


def is_whole(answer):
    head, separator, body = answer.partition(b"\r\n\r\n")
    if not separator:
        return False
    head = head.lower()
    if b"transfer-encoding: chunked" in head:
        return body.endswith(b"0\r\n\r\n")
    return len(body) >= int(head.split(b"content-length:")[1].split(b"\r\n")[0])


if __name__ == "__main__":
    print(json.dumps(run(int(sys.argv[1]), float(sys.argv[2]))), flush=True)
