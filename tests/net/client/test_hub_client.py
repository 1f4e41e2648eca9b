"""The REST client: what goes out, and what each kind of answer means."""

from __future__ import annotations

import json

import pytest
import pytest_twisted
from treq.testing import StubTreq
from twisted.internet.defer import Deferred
from twisted.internet.error import DNSLookupError
from twisted.internet.task import Clock
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase
from twisted.web.client import ResponseNeverReceived
from twisted.web.resource import Resource

from hapi.cli.base.errors import ERROR, KnownFailure, known_failure
from hapi.net.client.hub_client import HubBusy, HubClient, HubFailed, HubRefused, HubUnreachable
from hapi.settings import HubAccess
from tests.support.programs import free_port

case = SynchronousTestCase()
HEADERS = {"X-Extra": "yes", "authorization": "Basic evil", "Host": "evil", "bad\nname": "x"}
ACCESS = HubAccess("http://hub.example:3006", "canary-secret", HEADERS)


class Answer(Resource):
    isLeaf = True

    def __init__(self, status=200, body=b"{}", kind="application/json", **headers):
        super().__init__()
        self.status, self.body, self.kind, self.headers, self.requests = (
            status,
            body,
            kind,
            headers,
            [],
        )

    def render(self, request):
        self.requests.append(
            (
                request.method,
                request.uri,
                dict(request.requestHeaders.getAllRawHeaders()),
                request.content.read(),
            )
        )
        request.setResponseCode(self.status)
        if self.kind:
            request.setHeader("content-type", self.kind)
        for name, value in self.headers.items():
            request.setHeader(name, value)
        return self.body


def ask(answer, call):
    http = StubTreq(answer)
    done = Deferred.fromCoroutine(call(HubClient(Clock(), ACCESS, http)))
    http.flush()
    return done


def register(client):
    return client.register_machine({"id": "m1", "metadata": {}})


def test_a_machine_is_registered_and_comes_back():
    answer = Answer(
        body=b'{"machine":{"id":"m1","metadataVersion":1}}', kind="application/json; charset=UTF-8"
    )
    assert case.successResultOf(ask(answer, register)) == {"id": "m1", "metadataVersion": 1}
    ((method, uri, headers, body),) = answer.requests
    assert (method, uri) == (b"POST", b"/cli/machines")
    assert headers[b"Authorization"] == [b"Bearer canary-secret"]
    assert headers[b"Content-Type"] == [b"application/json"]
    assert headers[b"X-Extra"] == [b"yes"]
    assert headers[b"Host"] == [b"hub.example:3006"]
    assert json.loads(body) == {"id": "m1", "metadata": {}}


def test_sessions_and_messages_have_their_paths():
    answer = Answer(body=b'{"session":{"id":"a/b"}}')
    assert case.successResultOf(ask(answer, lambda client: client.session("a/b"))) == {"id": "a/b"}
    assert case.successResultOf(
        ask(answer, lambda client: client.create_session({"tag": "t"}))
    ) == {"id": "a/b"}
    assert [(method, uri) for method, uri, _, _ in answer.requests] == [
        (b"GET", b"/cli/sessions/a%2Fb"),
        (b"POST", b"/cli/sessions"),
    ]
    answer = Answer(body=b'{"messages":[{"seq":8}]}')
    assert case.successResultOf(ask(answer, lambda client: client.messages("s1", 7))) == [
        {"seq": 8}
    ]
    assert answer.requests[0][1] == b"/cli/sessions/s1/messages?afterSeq=7&limit=200"


@pytest.mark.parametrize(
    ("answer", "status", "words"),
    [
        (Answer(401, b'{"error":"Invalid token"}'), 401, "Invalid token"),
        (Answer(403, b'{"error":"Machine access denied"}'), 403, "Machine access denied"),
        (Answer(404, b"404 Not Found", "text/plain"), 404, "no reason given"),
        (Answer(400, b'{"error":{"nested":1}}'), 400, "no reason given"),
        (
            Answer(200, b"<html>Please log in</html>", "text/html"),
            200,
            "is this a hub",
        ),  # a captive portal
        (Answer(200, b"{}", None), 200, "is this a hub"),
        (Answer(302, b"", "text/html", location="http://portal.example/"), 302, "redirects"),
        (Answer(307, b"", None, location="http://portal.example/"), 307, "redirects"),
        (Answer(200, b"not json"), 200, "not JSON"),
        (Answer(200, b"\xff\xfe"), 200, "not JSON"),
        (Answer(200, b"[" * 100_000), 200, "not JSON"),
        (Answer(200, b"[]"), 200, "not a JSON object"),
        (Answer(200, b"{}"), 200, "no machine"),
        (Answer(200, b'{"machine":7}'), 200, "no machine"),
    ],
)
def test_what_will_not_change_by_itself_is_a_refusal__N15(answer, status, words):
    refused = case.failureResultOf(ask(answer, register), HubRefused).value
    assert refused.status == status
    assert words in refused.reason
    assert "canary" not in str(refused)
    assert len(answer.requests) == 1  # the token followed no redirect


@pytest.mark.parametrize(
    "answer",
    [
        Answer(500, b"Internal Server Error", "text/plain"),
        Answer(502, b"<html>", "text/html"),
        Answer(503, b'{"error":"Not ready"}'),
        Answer(429),
        Answer(503, b"not json"),
    ],
)
def test_what_may_pass_is_unreachable(answer):
    case.failureResultOf(ask(answer, register), HubUnreachable)


def test_a_hub_with_a_full_disk_is_not_called_unreachable():
    answer = Answer(507, b'{"error":"No space left for the database"}')
    failed = case.failureResultOf(ask(answer, register), HubFailed).value
    said = "the hub answers with an error: HTTP 507: No space left for the database"
    assert str(failed) == said
    assert known_failure(failed) == KnownFailure(said, ERROR)


@pytest.mark.parametrize("status", [408, 425, 429])
def test_a_hub_that_asks_to_wait_is_not_called_unreachable(status):
    answer = Answer(status, b'{"error":"Too many wrong access tokens: try again in 6 s"}')
    busy = case.failureResultOf(ask(answer, register), HubBusy).value
    assert str(busy) == (
        "the hub asks to try again later: Too many wrong access tokens: try again in 6 s "
        f"(HTTP {status})"
    )


@pytest.mark.parametrize(
    ("problem", "words"),
    [
        (DNSLookupError(), "cannot be resolved"),
        (ConnectionResetError("reset by peer"), "reset"),
        (ResponseNeverReceived([Failure(DNSLookupError())]), "cannot be resolved"),
    ],
)
def test_what_the_network_says_is_unreachable_in_words__N14(problem, words):
    class Broken:
        async def request(self, *args, **kwargs):
            raise problem

    client = HubClient(Clock(), ACCESS, Broken())
    unreachable = case.failureResultOf(
        Deferred.fromCoroutine(register(client)), HubUnreachable
    ).value
    assert words in unreachable.reason
    assert "canary" not in str(unreachable)


def test_a_hub_that_never_answers_is_unreachable_after_a_minute__N03():
    class Silent:
        def request(self, *args, **kwargs):
            return Deferred()

    clock = Clock()
    done = Deferred.fromCoroutine(register(HubClient(clock, ACCESS, Silent())))
    clock.advance(59.9)
    case.assertNoResult(done)
    clock.advance(0.1)
    assert "60 s" in str(case.failureResultOf(done, HubUnreachable).value)


@pytest_twisted.ensureDeferred
async def test_a_refused_port_is_said(reactor):
    with pytest.raises(HubUnreachable, match="connection refused"):
        await HubClient(reactor, HubAccess(f"http://127.0.0.1:{free_port()}", "t")).session("s")


def test_a_malformed_entry_of_a_list_hurts_only_itself():
    answer = Answer(body=b'{"messages":[null,{"seq":1},7],"sessions":["x",{"id":"s"}],"token":"j"}')
    messages = case.successResultOf(ask(answer, lambda client: client.messages("s", 0)))
    assert messages == [{"seq": 1}]
    sessions = case.successResultOf(ask(answer, lambda client: client.recent_sessions(5)))
    assert sessions == [{"id": "s"}]


def test_routes_of_people_get_a_web_token_that_the_access_token_opens():
    answer = Answer(body=b'{"token":"jwt","sessions":[]}')
    case.successResultOf(ask(answer, lambda client: client.recent_sessions(5)))
    case.successResultOf(ask(answer, lambda client: client.delete_session("a b")))
    seen = [
        (method, uri, headers[b"Authorization"][0], body)
        for method, uri, headers, body in answer.requests
    ]
    login = (b"POST", b"/api/auth", b"Bearer canary-secret", b'{"accessToken":"canary-secret"}')
    assert seen == [
        login,
        (b"GET", b"/api/sessions?order=updatedAt&limit=5", b"Bearer jwt", b""),
        login,
        (b"DELETE", b"/api/sessions/a%20b", b"Bearer jwt", b""),
    ]
