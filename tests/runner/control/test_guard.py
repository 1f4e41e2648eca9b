"""Who may call the control API: the connection, the headers, the limits; on values first, then on
real sockets.
"""

import json
import os
import socket

import pytest
import pytest_twisted
from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.protocol import Factory
from twisted.internet.task import Clock

from hapi.net.server.unix_port import listen_unix, reachable
from hapi.protocol.control import MalformedRequest, SessionStarted, StopSession, read_object
from hapi.protocol.spawn import NeedsDirectory, Spawned, SpawnRefused
from hapi.runner.control.api import control_resource
from hapi.runner.control.guard import PeerInfo, check_request
from hapi.runner.control.listeners import Listeners
from hapi.runner.control.peer_credentials import (
    Caller,
    PeerLookup,
    PeerUnknown,
    SocketOwners,
    admits,
    by_proc,
    by_sock_diag,
    holds_socket,
    listening_inode,
)
from hapi.runner.control.site import ControlSite, Guarded
from tests.support.control_connections import (
    OWN,
    PORT,
    TOKEN,
    US,
    Answers,
    Bytes,
    Collector,
    connect,
    post,
    status_of,
)
from tests.support.paths import FIXTURES

OURS = PeerInfo(Caller(US, 77), is_verifiable=True)
RECORDED = [json.loads(line) for line in (FIXTURES / "control-http.jsonl").read_text().splitlines()]


def verdict(peer=OURS, method=b"POST", path=b"/list", host=b"127.0.0.1:4321", **headers):
    given = {b"host": [host] if isinstance(host, bytes) else host}
    given |= {name.replace("_", "-").encode(): [value] for name, value in headers.items()}
    refused = check_request(peer, US, PORT, TOKEN, method, path, lambda name: given.get(name, []))
    return None if refused is None else refused.status


# --- on values


@pytest.mark.parametrize(
    ("caller", "admitted"),
    [
        (Caller(US, 77), True),
        (Caller(0, 77), True),
        (Caller(1001, 77), False),
        (Caller(0, 0), False),
        (Caller(US, 0), False),
        (Caller(65534, 77), False),
        (None, False),
    ],
)
def test_only_a_socket_that_is_there_and_ours_is_admitted__X01_X02(caller, admitted):
    assert admits(caller, US) is admitted
    assert (verdict(PeerInfo(caller, is_verifiable=True)) is None) is admitted


def test_the_nobody_user_may_be_us():
    assert admits(Caller(65534, 77), 65534)


@pytest.mark.parametrize(
    "host",
    [
        b"evil.example",
        b"evil.example:4321",
        b"127.0.0.1",
        b"127.0.0.1:80",
        b"127.0.0.1.:4321",
        b"localhost.:4321",
        b"[::1]:4321",
        b"",
        b"127.0.0.1:4321, evil",
        [],
        [b"127.0.0.1:4321", b"127.0.0.1:4321"],
    ],
)
def test_a_foreign_host_is_refused__X04(host):
    assert verdict(host=host) == 421


@pytest.mark.parametrize("host", [b"127.0.0.1:4321", b"localhost:4321", b"LocalHost:4321"])
def test_our_own_host_is_taken__X04(host):
    assert verdict(host=host) is None


def test_a_web_page_is_refused__X03():
    assert verdict(origin=b"http://evil.example") == 403
    assert verdict(origin=b"null") == 403
    assert verdict(sec_fetch_site=b"cross-site") == 403
    assert verdict(sec_fetch_site=b"none", content_type=b"text/plain") == 403
    for kind in (b"text/plain", b"application/x-www-form-urlencoded", b"multipart/form-data", b""):
        assert verdict(content_type=kind, content_length=b"2") == 415


def test_callers_of_every_kind_are_let_in__X19():
    assert verdict() is None  # curl without body and without type
    assert verdict(content_length=b"0") is None
    assert verdict(content_type=b"application/json; charset=utf-8", content_length=b"2") is None
    assert (
        verdict(content_type=b"application/json", sec_fetch_mode=b"cors", content_length=b"2")
        is None
    )  # node's own fetch
    assert verdict(content_length=b"2") == 415
    assert verdict(transfer_encoding=b"chunked") == 415


@pytest.mark.parametrize("method", [b"GET", b"OPTIONS", b"HEAD", b"PUT", b"DELETE"])
def test_only_post__X05(method):
    assert verdict(method=method) == 405


@pytest.mark.parametrize("path", [b"/healthz", b"/readyz", b"/metrics"])
def test_what_monitors_read_is_read_by_get_alone_under_the_same_checks__X01_X03_X04_X05(path):
    assert verdict(method=b"GET", path=path) is None
    assert verdict(method=b"POST", path=path) == 405
    assert verdict(method=b"GET", path=path, host=b"evil.example") == 421
    assert verdict(method=b"GET", path=path, origin=b"http://evil.example") == 403
    assert verdict(method=b"GET", path=path, sec_fetch_site=b"cross-site") == 403
    assert (
        verdict(PeerInfo(Caller(1001, 5, 42), is_verifiable=True), method=b"GET", path=path) == 403
    )
    assert verdict(PeerInfo(None, is_verifiable=False), method=b"GET", path=path) == 401


@pytest.mark.parametrize("path", [b"/%ff", b"/list%c3", b"/\xff"])
def test_a_path_that_is_no_text_is_no_route__X11(path):
    assert verdict(path=path) == 404
    assert verdict(path=path, host=b"evil.example") == 421


def test_where_callers_cannot_be_looked_up_the_token_decides__X15():
    unknown = PeerInfo(None, is_verifiable=False)
    assert verdict(unknown) == 401
    assert verdict(unknown, authorization=b"Bearer wrong") == 401
    assert verdict(unknown, authorization=b"Bearer " + TOKEN.encode()) is None
    assert verdict(unknown, path=b"/session-started") == 401


def test_the_unix_socket_needs_no_host():
    assert verdict(PeerInfo(Caller(US, 5, 42), is_verifiable=True, is_unix=True), host=[]) is None
    assert verdict(PeerInfo(Caller(1001, 5, 42), is_verifiable=True, is_unix=True), host=[]) == 403


@pytest.mark.parametrize(
    "body",
    [
        *(b"{bad", b"[]", b"5", b"null", b'{"a":NaN}', b'{"a":"\xff"}', b'{"a":"\\ud800"}'),
        b'{"a":' + b"[" * 100 + b"]" * 100 + b"}",
    ],
)
def test_a_body_that_is_no_plain_object_is_malformed__X11(body):
    with pytest.raises(MalformedRequest):
        read_object(body, True)


def test_a_body_nested_without_end_is_malformed__X11_W10():
    with pytest.raises(MalformedRequest):
        read_object(b'{"a":' * 10_000 + b"1" + b"}" * 10_000, True)


@given(st.binary(max_size=200))
def test_any_bytes_are_read_or_malformed__X11(body):
    try:
        assert isinstance(read_object(body, True), dict)
    except MalformedRequest:
        pass


# --- asking the kernel


@pytest.fixture
def pair():
    listener = socket.create_server(("127.0.0.1", 0))
    client = socket.create_connection(listener.getsockname())
    server, _ = listener.accept()
    yield client, server, listener
    for each in (client, server, listener):
        each.close()


@pytest.mark.parametrize("look", [by_sock_diag, by_proc])
def test_the_kernel_knows_the_caller__X01(pair, look):
    client, server, _ = pair
    assert look(server.getpeername(), server.getsockname()) == Caller(
        os.geteuid(), os.fstat(client.fileno()).st_ino
    )


@pytest.mark.parametrize("look", [by_sock_diag, by_proc])
def test_a_caller_who_is_gone_has_no_inode__X02(pair, look):
    client, server, _ = pair
    peer = server.getpeername()
    client.close()
    assert not admits(look(peer, server.getsockname()), os.geteuid())


@pytest.mark.parametrize("look", [by_sock_diag, by_proc])
def test_a_mapped_caller_is_known__X16(pair, look):
    _, _, listener = pair
    with socket.socket(socket.AF_INET6) as client:
        client.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        client.connect(("::ffff:127.0.0.1", listener.getsockname()[1]))
        server, peer = listener.accept()
        with server:
            assert look(peer, server.getsockname()) == Caller(
                os.geteuid(), os.fstat(client.fileno()).st_ino
            )


def test_the_second_way_is_tried_when_the_first_fails__M06():
    def blind(caller, listener):
        raise PeerUnknown("no netlink here")

    lookup = PeerLookup((("netlink", blind), ("proc", lambda caller, listener: Caller(1, 2))))
    assert lookup(("127.0.0.1", 1), ("127.0.0.1", 2)) == Caller(1, 2)
    assert lookup.means == "proc"
    with pytest.raises(PeerUnknown, match="no netlink here"):
        PeerLookup((("netlink", blind),))(("127.0.0.1", 1), ("127.0.0.1", 2))


def test_who_holds_a_socket(pair):
    client, _, listener = pair
    inode = os.fstat(client.fileno()).st_ino
    assert holds_socket(os.getpid(), inode) is True
    assert holds_socket(os.getpid(), 1) is False
    assert holds_socket(1 << 22, inode) is False
    assert SocketOwners().find(1) is None
    assert listening_inode(listener.getsockname()[1]) == os.fstat(listener.fileno()).st_ino


def test_who_called_before_is_looked_at_first(monkeypatch):
    asked = []
    monkeypatch.setattr(
        "hapi.runner.control.peer_credentials.holds_socket",
        lambda pid, inode, proc: asked.append(pid) or pid == 7,
    )
    monkeypatch.setattr(os, "listdir", lambda path: ["7", "8", "self", "9"])
    holders = SocketOwners()
    assert [holders.find(1), holders.find(2)] == [7, 7]
    assert asked == [9, 8, 7, 7]


# --- on a clock


def test_a_request_is_answered():
    _, transport = (connected := connect(Clock()))
    connected[0].dataReceived(post("/list"))
    assert status_of(transport) == 200
    assert b'"happySessionId":"s1"' in transport.value()
    assert b"access-control" not in transport.value().lower()


def test_a_stranger_is_answered_and_cut_off__X01():
    channel, transport = connect(Clock(), caller=Caller(os.geteuid() + 1, 7))
    channel.dataReceived(post("/stop"))
    assert status_of(transport) == 403
    assert transport.disconnecting


@pytest.mark.parametrize(
    "part", [b"", b"POST /list HTTP/1.1\r\nHost: x\r\n", post("/list", b"{" + b" " * 50)[:-20]]
)
def test_a_slow_request_is_cut_off_however_often_a_byte_comes__X07(part):
    channel, transport = connect(clock := Clock())
    channel.dataReceived(part)
    for _ in range(20):
        clock.advance(1.0)
        channel.dataReceived(b"a")
    assert status_of(transport) in (408, 400)
    assert transport.disconnecting


def test_a_body_that_is_too_long_is_refused_before_it_is_read__X06():
    channel, transport = connect(Clock())
    channel.dataReceived(
        post("/list")[: -len(b"Content-Length: 2\r\n\r\n{}")] + b"Content-Length: 10000000\r\n\r\n"
    )
    assert status_of(transport) == 413


def test_a_chunked_body_without_end_is_refused__X06():
    channel, transport = connect(Clock())
    head = (
        f"POST /list HTTP/1.1\r\nHost: 127.0.0.1:{PORT}\r\n"
        "Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
    )
    channel.dataReceived(head.encode())
    for _ in range(20):
        channel.dataReceived(b"10000\r\n" + b"x" * 0x10000 + b"\r\n")
    assert status_of(transport) == 413
    assert transport.disconnecting


@pytest.mark.parametrize(
    "head",
    [
        "Content-Length: 2\r\nTransfer-Encoding: chunked",
        "Content-Length: 2\r\nContent-Length: 3",
        "Content-Length: +2",
        "Content-Length: 2\r\n folded: x",
        "X: a\nContent-Length: 2",
        "Transfer-Encoding: chunked, chunked",
        "Transfer-Encoding: xchunked",
    ],
)
def test_what_requests_are_smuggled_with_is_refused__X10(head):
    runner = Answers()
    channel, transport = connect(Clock(), runner)
    start = f"POST /stop HTTP/1.1\r\nHost: 127.0.0.1:{PORT}\r\nContent-Type: application/json\r\n"
    channel.dataReceived((start + head + "\r\n\r\n{}").encode())
    assert status_of(transport) in (400, 501)
    assert runner.calls == []


def test_headers_without_end_are_refused__X10():
    channel, transport = connect(Clock())
    channel.dataReceived(b"POST /list HTTP/1.1\r\n" + b"X: " + b"a" * 20_000)
    assert transport.disconnecting


def test_an_absolute_uri_with_a_foreign_host_is_refused__X04():
    channel, transport = connect(Clock())
    channel.dataReceived(b"POST http://evil.example/list HTTP/1.1\r\nHost: evil.example\r\n\r\n")
    assert status_of(transport) == 421


@pytest.mark.parametrize(
    ("path", "host", "caller", "status"),
    [
        ("/%ff", b"127.0.0.1:4321", OWN, 404),
        ("/list", b"evil.example", OWN, 421),
        ("/list", b"127.0.0.1:4321", Caller(os.geteuid() + 1, 7), 403),
        ("/healthz", b"127.0.0.1:4321", OWN, 405),
    ],
)
def test_whoever_the_guard_refuses_is_told_in_json__X11(path, host, caller, status):
    channel, transport = connect(Clock(), caller=caller)
    channel.dataReceived(f"POST {path} HTTP/1.1\r\nHost: {host.decode()}\r\n\r\n".encode())
    assert (
        status_of(transport)
        == json.loads(transport.value().partition(b"\r\n\r\n")[2])["statusCode"]
        == status
    )


def test_http_1_0_without_keep_alive__X19():
    channel, transport = connect(Clock())
    channel.dataReceived(f"POST /list HTTP/1.0\r\nHost: 127.0.0.1:{PORT}\r\n\r\n".encode())
    assert status_of(transport) == 200
    assert transport.disconnecting


def test_a_connection_serves_one_request_after_the_other__X19():
    channel, transport = connect(Clock())
    for _ in range(3):
        channel.dataReceived(post("/list"))
    assert transport.value().count(b"200 OK") == 3


def test_a_home_that_is_no_unicode_is_shown_with_escapes__S10():
    runner = Answers()
    runner.status = lambda: {
        "home": os.fsdecode(b"/home/\xff"),
        "argv": [os.fsdecode(b"\xfe")],
        "pid": 1,
    }
    channel, transport = connect(Clock(), runner)
    channel.dataReceived(post("/status"))
    assert status_of(transport) == 200
    assert json.loads(transport.value().partition(b"\r\n\r\n")[2]) == {
        "home": "/home/\\udcff",
        "argv": ["\\udcfe"],
        "pid": 1,
    }


def test_idle_connections_make_room_and_busy_ones_stay__X08():
    runner = Answers()
    first, transport = connect(Clock(), runner)
    site = first.site
    first.dataReceived(post("/spawn-session", b'{"directory":"/d"}'))
    for _ in range(1000):
        site.buildProtocol(None).makeConnection(Bytes())
    assert len(site._open["port"]) == 64
    runner.spawned.callback(Spawned("s1"))
    assert status_of(transport) == 200


def test_strangers_who_send_half_a_head_keep_nobody_out__X01_X07():
    caller = OWN
    ours, transport = connect(Clock(), caller=lambda: caller)
    site = ours.site
    caller = Caller(os.geteuid() + 1, 7)
    strangers = []
    for _ in range(70):
        channel, stranger = site.buildProtocol(None), Bytes()
        channel.makeConnection(stranger)
        channel.dataReceived(b"POST /list HTTP/1.1\r\nHost: x\r\nX: ")
        strangers.append(stranger)
    assert [stranger.disconnecting for stranger in strangers] == [True] * 62 + [False] * 8
    assert not transport.disconnecting


def test_half_a_request_makes_room_for_a_newcomer__X07():
    first, transport = connect(Clock())
    first.dataReceived(post("/list")[:-1])
    for _ in range(64):
        channel = first.site.buildProtocol(None)
        channel.makeConnection(Bytes())
        channel.dataReceived(post("/list")[:-1])
    assert transport.disconnecting
    channel.dataReceived(b"}")
    assert status_of(channel.transport) == 200


def test_when_all_are_being_answered_the_next_is_turned_away__X08():
    runner = Answers()
    site = connect(Clock(), runner)[0].site
    for number in range(64):
        channel, transport = site.buildProtocol(None), Bytes()
        channel.makeConnection(transport)
        channel.dataReceived(post("/spawn-session", b'{"directory":"/d"}'))
        assert status_of(transport) == (None if number < 16 else 503)
        channel.requests = channel.requests or [object()]  # as if it were still being answered
        channel._handlingRequest = True
    turned_away = Bytes()
    site.buildProtocol(None).makeConnection(turned_away)
    assert turned_away.disconnecting
    runner.spawned.addErrback(lambda _: None)


def test_a_spawn_goes_on_when_its_caller_hangs_up__X13():
    runner = Answers()
    channel, _ = connect(Clock(), runner)
    channel.dataReceived(post("/spawn-session", b'{"directory":"/d"}'))
    assert runner.calls == [("spawn", "/d", "test")]
    waiting = runner.spawned
    waiting.addErrback(lambda _: None)


# --- npm's recordings, answer by answer

ONLY_NPM = {"no hostPid: accepted, ignored"}


@pytest.mark.parametrize(
    "line",
    RECORDED,
    ids=[f"{line['request']['method']} {line['request']['path']}" for line in RECORDED],
)
def test_shapes_are_the_recorded_ones(line):
    asked, expected = line["request"], line["response"]
    runner = Answers()
    channel, transport = connect(Clock(), runner)
    body = asked["body"]
    content = (
        b""
        if body is None
        else body.encode()
        if isinstance(body, str)
        else json.dumps(body).encode()
    )
    head = f"{asked['method']} {asked['path']} HTTP/1.1\r\nHost: 127.0.0.1:{PORT}\r\n"
    head += f"Content-Type: {asked['content-type']}\r\n" if asked["content-type"] else ""
    head += f"Content-Length: {len(content)}\r\n" if asked["method"] == "POST" else ""
    outcome = expected["body"]
    if asked["path"] == "/spawn-session" and expected["status"] in (200, 500):
        result = (
            Spawned(outcome["sessionId"]) if outcome["success"] else SpawnRefused(outcome["error"])
        )
        runner.spawned.callback(result)
    runner.stopped = outcome.get("status")
    channel.dataReceived(head.encode() + b"\r\n" + content)
    answer = json.loads(transport.value().partition(b"\r\n\r\n")[2])
    if asked["body"] == {"sessionId": "x", "metadata": None}:
        assert (status_of(transport), answer) == (
            200,
            {"status": "ok"},
        )  # npm's 500 is a mistake of its own
    elif asked["method"] == "GET":
        assert (status_of(transport), answer["message"]) == (405, outcome["message"])
    elif expected["status"] == 400:
        assert status_of(transport) == 400
        assert {key: answer[key] for key in ("statusCode", "code", "error")} == {
            key: outcome[key] for key in ("statusCode", "code", "error")
        }
    elif asked["path"] == "/list":
        assert status_of(transport) == 200
        assert set(answer["children"][0]) >= {"startedBy", "happySessionId", "pid"}
    else:
        answer.pop("requestId", None)  # ours alone
        assert (status_of(transport), answer) == (expected["status"], outcome)


def test_a_directory_to_be_approved_is_a_conflict():
    runner = Answers()
    channel, transport = connect(Clock(), runner)
    runner.spawned.callback(NeedsDirectory("/d"))
    channel.dataReceived(
        post("/spawn-session", b'{"directory":"/d","approvedNewDirectoryCreation":false}')
    )
    assert status_of(transport) == 409
    assert b'"actionRequired":"CREATE_DIRECTORY"' in transport.value()


def test_a_refused_announcement_is_forbidden():
    channel, transport = connect(Clock())
    channel.dataReceived(post("/session-started", b'{"sessionId":"forged","metadata":{}}'))
    assert status_of(transport) == 403


def test_a_failure_inside_is_a_500_without_details(logged_failures):
    runner = Answers()
    channel, transport = connect(Clock(), runner)
    runner.spawned.errback(RuntimeError("secret"))
    channel.dataReceived(post("/spawn-session", b'{"directory":"/d"}'))
    assert status_of(transport) == 500
    assert b"secret" not in transport.value()
    assert logged_failures.take(RuntimeError)


# --- on real sockets


@pytest_twisted.ensureDeferred
async def test_both_listeners_answer_and_the_socket_is_private__K09(reactor, home):
    from twisted.internet.endpoints import TCP4ClientEndpoint, UNIXClientEndpoint, connectProtocol

    resource = control_resource(Answers())
    holder = []
    site = ControlSite(
        reactor,
        Guarded(os.geteuid(), lambda: holder[0].port, TOKEN, lambda: resource),
        PeerLookup(),
    )
    listeners = Listeners.open(reactor, 0, home.runner_socket, site)
    holder.append(listeners)
    listeners.open_unix(site)
    assert os.stat(home.runner_socket).st_mode & 0o777 == 0o600
    for endpoint in (
        TCP4ClientEndpoint(reactor, "127.0.0.1", listeners.port),
        UNIXClientEndpoint(reactor, str(home.runner_socket)),
    ):
        client = await connectProtocol(endpoint, Collector())
        client.transport.write(
            f"POST /list HTTP/1.1\r\nHost: localhost:{listeners.port}\r\n"
            "Connection: close\r\n\r\n".encode()
        )
        assert (await client.done).startswith(b"HTTP/1.1 200 OK")
    await listeners.close()
    assert not home.runner_socket.exists()


@pytest_twisted.ensureDeferred
async def test_a_path_too_long_for_a_socket_is_reached_all_the_same__K09(reactor, tmp_path):
    deep = tmp_path / ("d" * 100) / "runner.sock"
    deep.parent.mkdir()
    port = listen_unix(reactor, deep, Factory())
    with reachable(deep) as name, socket.socket(socket.AF_UNIX) as client:
        client.connect(name)
    assert os.stat(deep).st_mode & 0o777 == 0o600
    await port.stopListening()


def test_messages_are_typed():
    assert SessionStarted("s", None).host_pid is None
    assert StopSession("x").session_id == "x"


def blind(*_):
    raise PeerUnknown("the kernel does not tell")


def test_where_the_kernel_does_not_tell_who_calls_the_token_opens_the_port__X15():
    resource = control_resource(Answers())
    site = ControlSite(
        Clock(),
        Guarded(os.geteuid(), lambda: PORT, TOKEN, lambda: resource),
        PeerLookup((("blind", blind),)),
    )
    for header, status in (("X-Other: 1", 401), (f"Authorization: Bearer {TOKEN}", 200)):
        channel, transport = site.buildProtocol(None), Bytes()
        channel.makeConnection(transport)
        channel.dataReceived(post("/list", b"{}", header))
        assert status_of(transport) == status


@pytest.mark.parametrize(
    "kernel", [OSError("no netlink here"), b"", b"\x10\0\0\0\x03\0" + b"\0" * 60]
)
def test_an_answer_of_the_kernel_that_makes_no_sense_is_no_caller__X15(monkeypatch, kernel):
    class Netlink:
        def __init__(self, *_):
            if isinstance(kernel, OSError):
                raise kernel

        def __enter__(self):
            return self

        def __exit__(self, *_):
            pass

        def settimeout(self, seconds):
            pass

        def send(self, message):
            pass

        def recv(self, size):
            return kernel

    monkeypatch.setattr("hapi.runner.control.peer_credentials.socket.socket", Netlink)
    with pytest.raises(PeerUnknown):
        by_sock_diag(("127.0.0.1", 1), ("127.0.0.1", 2))


def test_tables_of_the_kernel_that_cannot_be_read_or_make_no_sense_name_nobody__X15(tmp_path):
    with pytest.raises(PeerUnknown):
        by_proc(("127.0.0.1", 1), ("127.0.0.1", 2), tmp_path)
    with pytest.raises(PeerUnknown):
        listening_inode(1, tmp_path)
    (tmp_path / "tcp").write_text("head\n0: short\n")
    assert by_proc(("127.0.0.1", 1), ("127.0.0.1", 2), tmp_path) is None
    assert listening_inode(1, tmp_path) is None
