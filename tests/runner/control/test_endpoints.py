"""Every way in to the control API: each route, each refusal, endpoints inherited and endpoints that
cannot be opened.
"""

import errno
import json
import os
import socket
from types import SimpleNamespace
from unittest.mock import Mock

import pytest
import pytest_twisted
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.web.resource import Resource

from hapi.net.server.site import LimitedRequest
from hapi.protocol.control import (
    HandoffBegan,
    LeavesForSupervisor,
    ReplacementRefused,
    ReplaceRunner,
    RestartRefused,
)
from hapi.protocol.spawn import Spawned
from hapi.runner.control import peer_credentials as peers
from hapi.runner.control.api import Shortcut
from hapi.runner.control.guard import CallerForbidden
from hapi.runner.control.peer_credentials import (
    Caller,
    PeerLookup,
    PeerUnknown,
    SocketOwners,
    by_sock_diag,
    by_unix_credentials,
    holds_socket,
)
from hapi.runner.control.site import ControlSite, Guarded
from hapi.runner.endpoints import Endpoints
from hapi.runner.handoff.descriptors import NONE, InheritedDescriptors
from tests.support.control_connections import OWN, PORT, Answers, Bytes, connect, post, status_of
from tests.support.runner_stage import options_for


class Whole(Answers):
    """A runner that answers everything."""

    forbids = False
    program_problem = None
    not_replaced = None  # why it is not replaced
    restarts = LeavesForSupervisor()  # how a restart is answered

    def __init__(self):
        super().__init__()
        self.registered, self.hub = (
            True,
            {"url": "http://hub", "phase": "connected", "reason": None},
        )

    def status(self):
        facts = {"pid": 1, "registered": self.registered, "hub": self.hub}
        return {**facts, "programProblem": self.program_problem}

    def _may(self):
        if self.forbids:
            raise CallerForbidden("sessions may not do this here")

    def interrupted(self):
        return [{"sessionId": "s1"}]

    async def revive(self, name, actor):
        self._may()
        self.calls.append(("revive", name, actor))
        return Spawned("s1")

    def drain(self, actor, keep, lease=None):
        self._may()
        self.calls.append(("drain", actor, keep, *([lease] if lease else [])))
        return {"draining": True}

    async def restart(self, actor):
        self._may()
        self.calls.append(("restart", actor))
        return self.restarts

    def replace(self, asked, actor):
        self._may()
        self.calls.append(("replace", asked, actor))
        if self.not_replaced is not None:
            raise ReplacementRefused(self.not_replaced, 4711)
        return 4712

    def trial_start_failed(self, *told):
        self.calls.append(("trial_start_failed", *told))

    def resume(self, actor):
        self.calls.append(("resume", actor))
        return {"draining": False}


@pytest.fixture
def runner():
    return Whole()


def ask(runner, path, body=b"{}", method="POST"):
    """Its status and what it said."""
    channel, transport = connect(Clock(), runner)
    request = (
        post(path, body)
        if method == "POST"
        else f"{method} {path} HTTP/1.1\r\nHost: 127.0.0.1:{PORT}\r\n\r\n".encode()
    )
    channel.dataReceived(request)
    said = transport.value().partition(b"\r\n\r\n")[2]
    return status_of(transport), json.loads(said) if said.startswith((b"{", b"[")) else said


# --- routes


def test_a_command_has_the_runner_replaced_unless_that_cannot_begin(runner):
    asked = {"pid": 7, "argv": ["p"], "directory": "/", "environment": {"A": "b"}, "words": ["w"]}
    body = json.dumps(asked).encode()
    assert ask(runner, "/replace", body) == (202, {"status": "replacing", "replacement": 4712})
    assert runner.calls == [("replace", ReplaceRunner(**asked), "test")]
    runner.not_replaced = "a hand-off is going on already"
    status, said = ask(runner, "/replace", body)
    assert (status, said["message"], said["replacement"]) == (409, runner.not_replaced, 4711)
    for wrong in ({}, {**asked, "argv": []}, {**asked, "environment": {"A": 1}}):
        assert ask(runner, "/replace", json.dumps(wrong).encode())[0] == 400
    runner.forbids = True
    assert ask(runner, "/replace", body)[0] == 403


def test_what_a_reboot_interrupted_is_told_and_revived(runner):
    assert ask(runner, "/interrupted") == (200, {"sessions": [{"sessionId": "s1"}]})
    status, said = ask(runner, "/revive", b'{"sessionId":"s1"}')
    assert (status, said["sessionId"]) == (200, "s1")
    assert runner.calls == [("revive", "s1", "test")]


@pytest.mark.parametrize(
    ("body", "keep"),
    [(b"{}", True), (b'{"keep":true}', True), (b'{"keep":false}', False), (b'{"keep":0}', True)],
)
def test_a_drain_is_kept_unless_the_caller_says_it_is_for_now(runner, body, keep):
    assert ask(runner, "/drain", body) == (200, {"draining": True})
    assert ask(runner, "/resume") == (200, {"draining": False})
    assert runner.calls == [("drain", "test", keep), ("resume", "test")]


@pytest.mark.parametrize("output", ['"/l/trial.out"', "null"])
def test_why_a_commands_trial_start_failed_is_kept(runner, output):
    body = '{"reason":"' + 5000 * "x" + '","output":' + output + "}"
    assert ask(runner, "/trial-start-failed", body.encode()) == (200, {"status": "kept"})
    kept = json.loads(output)
    assert runner.calls == [("trial_start_failed", "test", 4096 * "x", kept)]
    for wrong in (b"{}", b'{"reason":1}', b'{"reason":"a","output":1}'):
        assert ask(runner, "/trial-start-failed", wrong)[0] == 400
    assert len(runner.calls) == 1


def test_a_restart_is_answered_with_the_reason_when_it_cannot_be(runner):
    assert ask(runner, "/restart") == (200, {"status": "stopping"})
    runner.restarts = HandoffBegan(4711)
    assert ask(runner, "/restart") == (202, {"status": "replacing", "replacement": 4711})
    runner.restarts = RestartRefused("the installed version does not start: SyntaxError")
    status, body = ask(runner, "/restart")
    assert (status, body["message"]) == (409, runner.restarts.reason)
    assert runner.calls == [("restart", "test")] * 3


@pytest.mark.parametrize(
    ("lease", "given"), [(b"10", [10]), (b"0", []), (b"-1", []), (b"1e9", []), (b'"x"', [])]
)
def test_a_drain_may_end_when_its_caller_does_not_renew_it(runner, lease, given):
    ask(runner, "/drain", b'{"keep":false,"leaseSeconds":' + lease + b"}")
    assert runner.calls == [("drain", "test", False, *given)]


def test_a_caller_who_may_not_is_told_so(runner):
    runner.forbids = True
    for path, body in (("/drain", b"{}"), ("/revive", b'{"sessionId":"s1"}')):
        status, said = ask(runner, path, body)
        assert (status, said["error"], said["message"]) == (
            403,
            "Forbidden",
            "sessions may not do this here",
        )


@pytest.mark.parametrize(
    ("registered", "hub", "status"),
    [
        (True, {"phase": "connected"}, 200),
        (True, {"phase": "connecting"}, 503),
        (False, {"phase": "connected"}, 503),
        (None, None, 503),
    ],
)
def test_a_runner_is_ready_when_what_the_hub_asks_for_arrives(runner, registered, hub, status):
    runner.registered, runner.hub = registered, hub
    found, said = ask(runner, "/readyz", method="GET")
    assert (found, said["ready"]) == (status, status == 200)
    assert ask(runner, "/healthz", method="GET") == (200, {"status": "ok"})


def test_a_runner_whose_program_was_removed_is_not_ready(runner):
    runner.registered, runner.hub = True, {"phase": "connected"}
    runner.program_problem = "no session can be started: /x no longer exists"
    found, said = ask(runner, "/readyz", method="GET")
    assert (found, said["reason"]) == (503, runner.program_problem)


def test_metrics_are_text_made_anew_for_each_look(runner, monkeypatch):
    made = []

    class Metrics:
        def __init__(self, of):
            made.append(of)
            self.looks = 0

        def text(self):
            self.looks += 1
            return b"looks %d\n" % self.looks

    monkeypatch.setattr("hapi.runner.control.metrics.Metrics", Metrics)
    channel, transport = connect(Clock(), runner)
    for number in (1, 2):
        transport.clear()
        channel.dataReceived(f"GET /metrics HTTP/1.1\r\nHost: 127.0.0.1:{PORT}\r\n\r\n".encode())
        assert b"looks %d\n" % number in transport.value()
        assert b"text/plain" in transport.value()
    assert made == [runner]


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [
        ("/spawn-session", b"{}", 400),
        ("/spawn-session", b'{"directory":7}', 400),
        ("/stop-session", b"{}", 400),
        ("/session-started", b'{"sessionId":7}', 400),
        ("/list", b"[]", 400),
        ("/list", b"{", 400),
        ("/nowhere", b"{}", 404),
        ("/list/below", b"{}", 404),
    ],
)
def test_what_is_malformed_or_nowhere_is_said_so_and_reaches_nobody__X11(
    runner, path, body, status
):
    found, said = ask(runner, path, body)
    assert (found, said.get("statusCode", found)) == (status, status)
    assert runner.calls == []


def test_a_list_is_encoded_again_only_when_it_has_changed(runner):
    channel, transport = connect(Clock(), runner)
    same = runner.list()
    runner.list = lambda: same
    channel.dataReceived(post("/list"))
    first = transport.value().partition(b"\r\n\r\n")[2]
    transport.clear()
    channel.dataReceived(post("/list"))
    assert transport.value().partition(b"\r\n\r\n")[2] == first
    runner.list = list
    transport.clear()
    channel.dataReceived(post("/list"))
    assert json.loads(transport.value().partition(b"\r\n\r\n")[2]) == {"children": []}


def test_a_list_that_breaks_is_a_500_without_details(runner, logged_failures):
    runner.list = lambda: (_ for _ in ()).throw(ValueError("secret"))
    status, said = ask(runner, "/list")
    assert (status, "secret" in json.dumps(said)) == (500, False)
    assert len(logged_failures.take(ValueError)) == 1


def test_the_shortcut_takes_the_list_alone():
    asked = []
    inner = SimpleNamespace(render=lambda request: asked.append(request.path))
    for path, method in ((b"/status", b"POST"), (b"/list", b"GET")):
        Shortcut(None, inner).render(SimpleNamespace(path=path, method=method))
    assert asked == [b"/status", b"/list"]


def test_a_stop_is_the_last_answer_of_its_connection(runner):
    channel, transport = connect(Clock(), runner)
    channel.dataReceived(post("/stop"))
    assert status_of(transport) == 200
    assert b"connection: close" in transport.value().lower()
    assert runner.calls == [("stop", "test")]


def test_a_runner_that_parts_gives_each_connection_its_last_answer__H10(runner):
    channel, transport = connect(Clock(), runner)
    assert not channel.site.busy
    channel.dataReceived(post("/spawn-session", b'{"directory":"/d"}'))
    assert channel.site.busy
    runner.spawned.callback(Spawned("s1"))
    assert not channel.site.busy
    channel.site.closes_after_reply = True
    transport.clear()
    channel.dataReceived(post("/list"))
    assert b"connection: close" in transport.value().lower()
    assert transport.disconnecting


# --- who calls


class Unix(Bytes):
    """A connection of the unix socket."""

    def __init__(self, connection):
        super().__init__()
        self.socket = connection

    def getHost(self):
        from twisted.internet.address import UNIXAddress

        return UNIXAddress(b"/runner.sock")

    getPeer = getHost


def unix_site():
    resource = Resource()
    return ControlSite(
        Clock(), Guarded(os.geteuid(), lambda: PORT, "t", lambda: resource), PeerLookup()
    )


def test_the_kernel_names_the_process_at_the_other_end_of_a_unix_socket__X01():
    ours, theirs = socket.socketpair()
    with ours, theirs:
        peer = unix_site().identify(Unix(ours))
        assert (peer.caller.uid, peer.caller.pid, peer.is_unix) == (
            os.geteuid(),
            os.getpid(),
            True,
        )


def test_a_unix_socket_that_tells_nothing_of_its_caller_is_told_once__X15():
    ours, theirs = socket.socketpair()
    ours.close()
    with theirs, pytest.raises(PeerUnknown):
        by_unix_credentials(ours)
    site, told = unix_site(), []
    site._logger = SimpleNamespace(warn=lambda words, reason: told.append(reason))
    for _ in range(2):
        assert site.identify(Unix(ours)).is_verifiable is False
    assert told == ["[Errno 9] Bad file descriptor"]


@pytest.mark.parametrize(("code", "found"), [(errno.ENOENT, None), (errno.EPERM, PeerUnknown)])
def test_an_error_of_the_kernel_is_nobody_or_no_answer__X01_X15(monkeypatch, code, found):
    import struct

    class Netlink:
        def __init__(self, *_): ...
        def __enter__(self):
            return self

        def __exit__(self, *_): ...
        def settimeout(self, seconds): ...
        def send(self, message): ...
        def recv(self, size):
            return struct.pack("=IHHIIi", 36, peers.NLMSG_ERROR, 0, 1, 0, -code).ljust(36, b"\0")

    monkeypatch.setattr("hapi.runner.control.peer_credentials.socket.socket", Netlink)
    if found is None:
        assert by_sock_diag(("127.0.0.1", 1), ("127.0.0.1", 2)) is None
    else:
        with pytest.raises(found, match="not permitted"):
            by_sock_diag(("127.0.0.1", 1), ("127.0.0.1", 2))


def test_the_holder_of_a_socket_is_unknown_where_descriptors_are_hidden_or_close_meanwhile(
    tmp_path, monkeypatch
):
    folder = tmp_path / "7" / "fd"
    folder.mkdir(parents=True)
    (folder / "3").write_text("closed meanwhile: no link")
    (folder / "4").symlink_to("socket:[99]")
    assert holds_socket(7, 99, tmp_path) is True
    assert holds_socket(7, 98, tmp_path) is False
    (tmp_path / "8").mkdir()
    (tmp_path / "8" / "fd").write_text("no directory")
    assert holds_socket(8, 99, tmp_path) is None
    (tmp_path / "9").mkdir()
    assert SocketOwners(tmp_path).find(99) == 7
    assert SocketOwners(tmp_path / "nowhere").find(99) is None


# --- opening and closing


@pytest.fixture
def endpoints(reactor):
    made = Endpoints(reactor, Resource)
    yield made
    pytest_twisted.blockon(Deferred.fromCoroutine(made.close()))


@pytest_twisted.ensureDeferred
async def test_doors_that_are_closed_have_no_port_and_leave_nothing_open(endpoints):
    assert endpoints.port is None
    endpoints.leave_open()
    await endpoints.close()
    assert endpoints.listeners is None
    assert endpoints.resource() is endpoints.resource()


@pytest_twisted.ensureDeferred
async def test_a_place_without_sockets_leaves_callers_the_port__K09(endpoints, home):
    home.runner_socket.mkdir(parents=True)  # nothing can be bound there
    endpoints.open(options_for(home), None)
    assert endpoints.port
    assert len(endpoints.listeners.descriptors()) == 1
    await endpoints.close()
    assert endpoints.port is None


@pytest.mark.parametrize("with_unix", [True, False])
@pytest_twisted.ensureDeferred
async def test_doors_that_another_runner_left_open_are_taken_over_with_their_token__H14(
    endpoints, home, reactor, with_unix
):
    tcp = socket.create_server(("127.0.0.1", 0))
    port = tcp.getsockname()[1]
    unix = NONE
    if with_unix:
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(str(home.runner_socket))
        listener.listen()
        unix = listener.detach()
    before = endpoints.token
    endpoints.open(
        options_for(home),
        InheritedDescriptors(4711, 5, tcp.detach(), unix, 8, token="theirs" if with_unix else None),
    )
    assert endpoints.port == port
    assert endpoints.token == ("theirs" if with_unix else before)
    assert len(endpoints.listeners.descriptors()) == 1 + with_unix
    endpoints.leave_open()
    await endpoints.close()
    assert home.runner_socket.exists() is with_unix  # another runner listens there by now


# --- the end of a connection


def test_whatever_comes_after_a_refusal_is_thrown_away__X10(runner):
    channel, transport = connect(Clock(), runner)
    channel.dataReceived(b"POST /list HTTP/1.1\r\nHost: x\r\n folded: 1\r\n")
    assert status_of(transport) == 400
    before = transport.value()
    channel.refuse(413, "again")
    channel.dataReceived(post("/list"))
    channel.allContentReceived()
    assert transport.value() == before
    assert runner.calls == []


def test_a_body_that_is_refused_reaches_no_request__X06():
    taken = []
    site = Mock(bodies_size=0, max_bodies_size=9)
    channel = Mock(site=site)
    channel.refuse_body = lambda limit: request.forget()
    request = LimitedRequest.__new__(LimitedRequest)
    request.content = SimpleNamespace(write=taken.append, close=lambda: None)
    request.channel, request.max_body_size = channel, 3
    for part in (b"ab", b"cd", b"e"):
        request.handleContentChunk(part)
    assert taken == [b"ab"]


def test_a_connection_that_is_gone_already_needs_no_abort(runner):
    channel, _ = connect(Clock(), runner)
    channel.transport = None
    channel.abort()
    assert Caller(os.geteuid(), 7) == OWN
