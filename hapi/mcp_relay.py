"""`hapi mcp`: joins an agent's MCP client to the session around the agent.

An agent starts one of these for each of its sessions, so this module must start quickly and stay
small: it imports neither Twisted nor anything else of HAPI, knows nothing of MCP, and copies bytes
between its standard streams and the unix socket that the session listens on. Runs as a file too.
"""

import os
import socket
import sys
import threading

SOCKET_VARIABLE = "HAPI_MCP_SOCKET"  # the path of the session's socket
URL_VARIABLE = "HAPI_HTTP_MCP_URL"  # the address of a session's HTTP server instead, as npm's have
PIECE_SIZE = 65536  # bytes
FAILED = 1
EXPLANATION = """\
`hapi mcp` is not for people. HAPI's sessions offer it to their coding agents as an MCP server, with
tools that set the title of the session, show pictures and files in the conversation, and list, read
and message the other sessions. The agent starts it. To keep it from agents, write "mcp": false into
settings.json. Another session's HTTP MCP server is named by --url or HAPI_HTTP_MCP_URL.
Documentation: docs/operating.md, "Tools for the agent"."""


def has_session() -> bool:
    """Whether a session has started this program, or nothing else could have."""
    return bool(os.environ.get(SOCKET_VARIABLE)) or not os.environ.get(URL_VARIABLE)


def run() -> int:
    """Copy until either side ends; the exit code."""
    path = os.environ.get(SOCKET_VARIABLE, "")
    if not path:
        print(EXPLANATION, file=sys.stderr)
        return FAILED
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        os.chdir(os.path.dirname(path))  # the path of a socket may have about 100 bytes only
        connection.connect(os.path.basename(path))
    except OSError as error:
        reason = error.strerror or error
        print(f"hapi mcp: the session does not answer at {path}: {reason}", file=sys.stderr)
        return FAILED
    threading.Thread(target=_send, args=(connection,), daemon=True).start()
    try:
        while data := connection.recv(PIECE_SIZE):
            while data:
                data = data[os.write(1, data) :]
    except OSError:
        return 0  # either side is gone
    except KeyboardInterrupt:
        return 130
    return 0


def _send(connection: socket.socket) -> None:
    """Copy standard input to the session. At its end the session closes the connection."""
    try:
        while data := os.read(0, PIECE_SIZE):
            connection.sendall(data)
        connection.shutdown(socket.SHUT_WR)
    except OSError:
        return


if __name__ == "__main__":
    code = run()
    sys.stdout.flush()
    os._exit(code)  # the thread may still wait for standard input
