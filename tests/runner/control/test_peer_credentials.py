"""Who calls, on systems that do not answer as Linux does: LOCAL_PEERCRED and psutil."""

import errno
import os
import socket
import struct
import subprocess
import sys
from types import SimpleNamespace

import psutil
import pytest

from hapi.runner.control import peer_credentials
from hapi.runner.control.peer_credentials import (
    PeerUnknown,
    PsutilLookup,
    admits,
    by_unix_credentials,
    listens_on,
)

CONNECT = """
import socket, sys, time
connection = socket.create_connection(("127.0.0.1", int(sys.argv[1])))
time.sleep(60)
"""


def local_socket(version=0, uid=1000, pid=42):
    """An accepted unix socket of a kernel with LOCAL_PEERCRED (macOS)."""

    def getsockopt(level, option, *size):
        if pid is None and option == 2:
            raise OSError(errno.ENOPROTOOPT, "Protocol not available")
        assert level == 0
        return struct.pack("=IIhxxI", version, uid, 1, 20).ljust(76, b"\0") if size else pid

    reading, writing = os.pipe()
    os.close(writing)
    return SimpleNamespace(getsockopt=getsockopt, fileno=lambda: reading)


def test_without_so_peercred_the_caller_of_the_unix_socket_is_known_by_local_peercred(monkeypatch):
    monkeypatch.delattr(socket, "SO_PEERCRED")
    caller = by_unix_credentials(local_socket())
    assert (caller.uid, caller.pid, caller.inode != 0) == (1000, 42, True)
    assert by_unix_credentials(local_socket(pid=None)).pid is None
    with pytest.raises(PeerUnknown, match="unknown version 7"):
        by_unix_credentials(local_socket(version=7))


@pytest.fixture
def connected():
    """The child of ours that is connected to us, and both ends' addresses, the child's first."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        argv = [sys.executable, "-I", "-S", "-c", CONNECT, str(listener.getsockname()[1])]
        child = subprocess.Popen(argv)
        accepted, address = listener.accept()
        with accepted:
            yield child, address, listener.getsockname()
        child.kill()
        child.wait()


def test_psutil_finds_the_process_of_this_user_that_calls__X15(connected):
    child, caller, listener = connected
    lookup = PsutilLookup()
    for _ in range(2):  # at first by a look at all, then among those who called before
        found = lookup(caller, listener)
        assert (found.uid, found.pid) == (os.geteuid(), child.pid)
        assert admits(found, os.geteuid())
    assert lookup((caller[0], caller[1] + 1), listener) is None
    assert lookup(listener, caller) is None  # our own end is not the caller's


def test_psutil_that_sees_no_sockets_of_anybody_knows_no_caller__X15(connected, monkeypatch):
    _, caller, listener = connected

    def denied(*_):
        raise psutil.AccessDenied

    monkeypatch.setattr(psutil.Process, "net_connections", denied)
    with pytest.raises(PeerUnknown):
        PsutilLookup()(caller, listener)


def test_the_owner_of_a_port_is_known_without_proc(monkeypatch):
    def blind(port):
        raise PeerUnknown("no /proc/net/tcp")

    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        assert listens_on(os.getpid(), port) is True
        monkeypatch.setattr(peer_credentials, "listening_inode", blind)
        assert listens_on(os.getpid(), port) is True
    assert listens_on(os.getpid(), port) is False
    assert listens_on(1 << 30, port) is False
