"""Passes a hook call of the agent's own program to the session around it, and the answer back.

The program runs this for each of its hooks and may wait for it, so it must start quickly: it
imports neither Twisted nor anything else of HAPI, and is run as a file. The socket is of the
session's user alone. Arguments: the path of the socket, and a name for the program's interface.
"""

import os
import socket
import sys

PIECE_SIZE = 65536  # bytes


def run(path: str) -> int:
    """Pass standard input on, and print the answer. Without the session the program goes on as if
    there were no hook."""
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        os.chdir(os.path.dirname(path))  # the path of a socket may have about 100 bytes only
        connection.connect(os.path.basename(path))
        told = b""
        while data := os.read(0, PIECE_SIZE):
            told += data
        # The length comes first: with an end of the text as its mark, nobody would notice that this
        # process is ended while it waits.
        connection.sendall(b"%d\n%s" % (len(told), told))
        while data := connection.recv(PIECE_SIZE):
            while data:
                data = data[os.write(1, data) :]
    except OSError:
        return 0
    except KeyboardInterrupt:
        return 130
    return 0


if __name__ == "__main__":
    os._exit(run(sys.argv[1]))
