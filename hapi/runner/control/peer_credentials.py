"""Who is at the other end of a loopback connection: the kernel is asked by its two addresses.

`sock_diag` over netlink answers in microseconds. Where it is missing, `/proc/net/tcp` and `tcp6`
tell the same more slowly, and where those are missing, psutil tells which process of this user has
the socket. `admits` decides: a socket that is closed already shows uid 0 and inode 0, so the uid
alone proves nothing.
"""

from __future__ import annotations

import errno
import ipaddress
import os
import socket
import struct
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

from attrs import define, field, frozen

NETLINK_SOCK_DIAG, SOCK_DIAG_BY_FAMILY, NLM_F_REQUEST, NLMSG_ERROR = (
    4,
    20,
    1,
    2,
)  # linux/sock_diag.h, linux/netlink.h
SOL_LOCAL, LOCAL_PEERCRED, LOCAL_PEERPID = 0, 1, 2  # sys/un.h of macOS
XUCRED_VERSION, XUCRED_SIZE = 0, 76  # struct xucred of sys/ucred.h: version, uid, groups
OVERFLOW_UID = 65534  # what a user namespace shows for users it does not know
NETLINK_TIMEOUT = 1.0  # seconds; the kernel answers at once or never

Address = tuple[str, int]


@frozen
class Caller:
    """The owner of the calling socket; `pid` only where the kernel gave it (unix sockets)."""

    uid: int
    inode: int
    pid: int | None = None


class PeerUnknown(Exception):
    """This platform does not tell who is calling."""


def admits(caller: Caller | None, own_uid: int) -> bool:
    """Only we ourselves and root may call, and only a socket that is still there proves that."""
    if caller is None or caller.inode == 0:
        return False
    if caller.uid == OVERFLOW_UID != own_uid:
        return False
    return caller.uid in (own_uid, 0)


def by_sock_diag(caller: Address, listener: Address) -> Caller | None:
    """The socket that connects `caller`, its own end, with `listener`. Raises PeerUnknown."""
    family, ours, theirs = _packed(caller[0], listener[0])
    ident = (
        struct.pack(">HH", caller[1], listener[1])
        + ours
        + theirs
        + struct.pack("=III", 0, 0xFFFFFFFF, 0xFFFFFFFF)
    )
    body = struct.pack("=BBBBI", family, socket.IPPROTO_TCP, 0, 0, 0xFFFFFFFF) + ident
    message = struct.pack("=IHHII", 16 + len(body), SOCK_DIAG_BY_FAMILY, NLM_F_REQUEST, 1, 0) + body
    try:
        with socket.socket(
            socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, NETLINK_SOCK_DIAG
        ) as netlink:
            netlink.settimeout(NETLINK_TIMEOUT)
            netlink.send(message)
            answer = netlink.recv(4096)
    except (OSError, AttributeError) as error:
        raise PeerUnknown(str(error)) from error
    kind = struct.unpack_from("=H", answer, 4)[0] if len(answer) >= 20 else None
    if kind == NLMSG_ERROR:
        code = -struct.unpack_from("=i", answer, 16)[0]
        if code == errno.ENOENT:
            return None
        raise PeerUnknown(os.strerror(code))
    if kind != SOCK_DIAG_BY_FAMILY or len(answer) < 16 + 72:
        raise PeerUnknown("netlink gave an answer of an unknown kind")
    uid, inode = struct.unpack_from("=II", answer, 16 + 64)
    return Caller(uid, inode)


def _packed(caller: str, listener: str) -> tuple[int, bytes, bytes]:
    """Both addresses in one family, 16 bytes each.

    IPv4 addresses mapped into IPv6 stay so: the kernel finds them too.
    """
    ours, theirs = ipaddress.ip_address(caller), ipaddress.ip_address(listener)
    if ours.version == theirs.version == 4:
        return socket.AF_INET, ours.packed.ljust(16, b"\0"), theirs.packed.ljust(16, b"\0")
    return socket.AF_INET6, _mapped(ours), _mapped(theirs)


def _mapped(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> bytes:
    return address.packed if address.version == 6 else b"\0" * 10 + b"\xff\xff" + address.packed


def by_proc(caller: Address, listener: Address, net: Path = Path("/proc/net")) -> Caller | None:
    """The same from the tables below /proc/net. Raises PeerUnknown when none can be read."""
    wanted = {
        (
            _mapped(ipaddress.ip_address(caller[0])),
            caller[1],
            _mapped(ipaddress.ip_address(listener[0])),
            listener[1],
        )
    }
    read = False
    for name in ("tcp", "tcp6"):
        try:
            lines = (net / name).read_text().splitlines()[1:]
        except OSError:
            continue
        read = True
        for key, found in _rows(lines):
            if key in wanted:
                return found
    if not read:
        raise PeerUnknown(f"{net}/tcp cannot be read")
    return None


def _rows(lines: list[str]) -> Iterator[tuple[tuple[bytes, int, bytes, int], Caller]]:
    for line in lines:
        parts = line.split()
        if len(parts) < 10:
            continue
        yield (*_end(parts[1]), *_end(parts[2])), Caller(int(parts[7]), int(parts[9]))


def _end(text: str) -> tuple[bytes, int]:
    host, port = text.split(":")
    words = bytes.fromhex(host)  # each 32-bit word in the machine's own order
    packed = b"".join(
        struct.pack(">I", struct.unpack_from("=I", words, at)[0]) for at in range(0, len(words), 4)
    )
    return (packed if len(packed) == 16 else b"\0" * 10 + b"\xff\xff" + packed), int(port, 16)


def listening_inode(port: int, net: Path = Path("/proc/net")) -> int | None:
    """The inode of the socket that listens on 127.0.0.1:`port`, or None. Raises PeerUnknown."""
    try:
        lines = (net / "tcp").read_text().splitlines()[1:]
    except OSError as error:
        raise PeerUnknown(str(error)) from error
    here = (_mapped(ipaddress.ip_address("127.0.0.1")), port)
    for line in lines:
        parts = line.split()
        if len(parts) >= 10 and parts[3] == "0A" and _end(parts[1]) == here:  # 0A: TCP_LISTEN
            return int(parts[9])
    return None


def by_unix_credentials(connection: socket.socket) -> Caller:
    """The process at the other end of an accepted unix socket. Raises PeerUnknown."""
    if not hasattr(socket, "SO_PEERCRED"):
        return _by_local_peercred(connection)
    try:
        pid, uid, _gid = struct.unpack(
            "=iII", connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)
        )
        return Caller(uid, os.fstat(connection.fileno()).st_ino, pid)
    except (OSError, AttributeError) as error:
        raise PeerUnknown(str(error)) from error


def _by_local_peercred(connection: socket.socket) -> Caller:
    """The same by LOCAL_PEERCRED and LOCAL_PEERPID (macOS; sys/un.h and sys/ucred.h)."""
    try:
        found = connection.getsockopt(SOL_LOCAL, LOCAL_PEERCRED, XUCRED_SIZE)
        version, uid = struct.unpack_from("=II", found)
        inode = os.fstat(connection.fileno()).st_ino
    except (OSError, struct.error) as error:
        raise PeerUnknown(str(error)) from error
    if version != XUCRED_VERSION:
        raise PeerUnknown(f"LOCAL_PEERCRED gave a structure of the unknown version {version}")
    try:
        pid = connection.getsockopt(SOL_LOCAL, LOCAL_PEERPID)
    except OSError:
        pid = 0
    return Caller(uid, inode or connection.fileno(), pid or None)


@define(eq=False, repr=False)
class PsutilLookup:
    """Finds the process of this user that has the calling socket open, recent callers first.

    Without /proc, the sockets of other users' processes cannot be seen without a privilege: the
    answer for a caller of another user, root among them, is None.
    """

    _recent: deque[int] = field(factory=lambda: deque(maxlen=16))

    def __call__(self, caller: Address, listener: Address) -> Caller | None:
        """Raises PeerUnknown if no process shows its sockets."""
        import psutil

        own_uid, has_seen_any = os.geteuid(), False
        for pid in (*self._recent, *sorted(psutil.pids(), reverse=True)):
            try:
                process = psutil.Process(pid)
                if pid == os.getpid() or process.uids().effective != own_uid:
                    continue
                connections = process.net_connections("tcp")
            except (psutil.Error, OSError):
                continue
            has_seen_any = True
            for each in connections:
                if (each.laddr, each.raddr) == (caller, listener):
                    if pid not in self._recent:
                        self._recent.appendleft(pid)
                    return Caller(own_uid, max(each.fd, 1), pid)
        if not has_seen_any:
            raise PeerUnknown("no process shows its sockets")
        return None


def listens_on(pid: int, port: int) -> bool | None:
    """Whether process `pid` listens on 127.0.0.1:`port`; None when that cannot be found out."""
    try:
        inode = listening_inode(port)
    except PeerUnknown:
        return _listens_by_psutil(pid, port)
    return False if inode is None else holds_socket(pid, inode)


def _listens_by_psutil(pid: int, port: int) -> bool | None:
    import psutil

    try:
        found = psutil.Process(pid).net_connections("tcp")
    except psutil.NoSuchProcess:
        return False
    except (psutil.Error, OSError):
        return None
    return any(each.status == psutil.CONN_LISTEN and each.laddr[1] == port for each in found)


@define
class PeerLookup:
    """Look a TCP caller up by the first means that works here; `means` says which, for `status`."""

    _ways: tuple[tuple[str, Callable[[Address, Address], Caller | None]], ...] = (
        ("sock_diag", by_sock_diag),
        ("proc", by_proc),
        ("psutil", PsutilLookup()),
    )
    means: str | None = None

    def __call__(self, caller: Address, listener: Address) -> Caller | None:
        """The caller, None when the kernel knows no such socket. Raises PeerUnknown."""
        reasons = []
        for name, lookup in self._ways:
            try:
                found = lookup(caller, listener)
            except PeerUnknown as error:
                reasons.append(f"{name}: {error}")
                continue
            self.means = name
            return found
        self.means = None
        raise PeerUnknown("; ".join(reasons))


def holds_socket(pid: int, inode: int, proc: Path = Path("/proc")) -> bool | None:
    """Whether process `pid` has the socket `inode` open; None if its descriptors are hidden."""
    wanted = f"socket:[{inode}]"
    try:
        with os.scandir(proc / str(pid) / "fd") as descriptors:
            for descriptor in descriptors:
                try:
                    if os.readlink(descriptor.path) == wanted:
                        return True
                except OSError:
                    continue
    except FileNotFoundError:
        return False
    except OSError:
        return None
    return False


@define(eq=False, repr=False)
class SocketOwners:
    """Finds the process that has a socket open: recent callers first, then the youngest."""

    _proc: Path = Path("/proc")
    _known: deque[int] = field(factory=lambda: deque(maxlen=16))

    def find(self, inode: int) -> int | None:
        """Its pid, None when none is found."""
        found = next(
            (pid for pid in self._candidates() if holds_socket(pid, inode, self._proc)), None
        )
        if found is not None:
            with suppress(ValueError):
                self._known.remove(found)
            self._known.appendleft(found)
        return found

    def _candidates(self) -> Iterator[int]:
        yield from tuple(self._known)
        with suppress(OSError):
            pids = [int(name) for name in os.listdir(self._proc) if name.isdigit()]
            yield from (pid for pid in reversed(pids) if pid != os.getpid())
