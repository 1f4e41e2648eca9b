"""A path to a server that can die without an end, as that of a phone that was suspended."""

import contextlib
import socket
import threading
from collections.abc import Iterator

from attrs import define, field

PIECE_SIZE = 65536  # bytes


@define(eq=False)
class Path:
    """Forwards connections to `target`, a port of this machine."""

    target: int
    sockets: list[socket.socket] = field(factory=list)
    dead: set[socket.socket] = field(factory=set)
    listener: socket.socket = field(factory=lambda: socket.create_server(("127.0.0.1", 0)))

    @property
    def port(self) -> int:
        return int(self.listener.getsockname()[1])

    def die(self) -> None:
        """From now on nothing passes on the connections that are open; new ones work."""
        self.dead |= set(self.sockets)

    def serve(self) -> None:
        with contextlib.suppress(OSError):  # closed
            while True:
                near, _ = self.listener.accept()
                far = socket.create_connection(("127.0.0.1", self.target))
                self.sockets += [near, far]
                for ends in ((near, far), (far, near)):
                    threading.Thread(target=self.pump, args=ends, daemon=True).start()

    def pump(self, source: socket.socket, sink: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while piece := source.recv(PIECE_SIZE):
                if source not in self.dead:
                    sink.sendall(piece)
        with contextlib.suppress(OSError):
            sink.shutdown(socket.SHUT_RDWR)


@contextlib.contextmanager
def path_to(port: int) -> Iterator[Path]:
    path = Path(port)
    threading.Thread(target=path.serve, daemon=True).start()
    try:
        yield path
    finally:
        path.listener.close()
        for each in path.sockets:
            each.close()
