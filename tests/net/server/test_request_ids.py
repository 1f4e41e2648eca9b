"""Request ids: taken over or made, in every answer, and in what is logged for the request."""

from __future__ import annotations

import json

import pytest
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.logger import Logger, globalLogPublisher
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET

from hapi.log import json_line, text_line
from hapi.net.server.http import json_reply
from hapi.redaction import Secrets
from hapi.request_id import WELL_FORMED, current_request_id, run_for_nobody
from tests.support.request_wire import Answer, RequestWire

log = Logger()


class Leaf(Resource):
    """Answers with what `render_GET` is given to call."""

    isLeaf = True

    def __init__(self, serve):
        super().__init__()
        self.render_GET = serve


def ask(serve, head: str = "") -> Answer:
    return RequestWire(Leaf(serve)).ask(f"GET /x HTTP/1.1\r\nHost: h\r\n{head}\r\n".encode())


def ok(request):
    return json_reply(request, 200, {"ok": True})


def refuse(request):
    return json_reply(request, 409, {"error": "No"})


@pytest.mark.parametrize(
    "given",
    ["5f0c9d3e-7b1a-4a53-9d0e-0f6f1c6a2b11", "a" * 32, "Root=1-67891233-abcdef012345678912345678"],
)
def test_a_well_formed_id_of_a_proxy_is_taken_over(given):
    assert ask(ok, f"X-Request-Id: {given}\r\n").headers["x-request-id"] == given


@pytest.mark.parametrize("given", ["", "a b", "a" * 129, '"><script>', "-rf", "a\tb", "é"])
def test_a_malformed_id_is_replaced_by_one_of_the_server(given):
    made = ask(ok, f"X-Request-Id: {given}\r\n").headers["x-request-id"]
    assert made != given
    assert WELL_FORMED.fullmatch(made)


def test_each_request_without_an_id_gets_its_own():
    assert len({ask(ok).headers["x-request-id"] for _ in range(5)}) == 5


def test_the_json_of_an_error_has_the_id_and_that_of_a_success_has_not():
    refused = ask(refuse, "X-Request-Id: abc\r\n")
    assert (refused.status, refused.body) == (409, {"error": "No", "requestId": "abc"})
    assert ask(ok, "X-Request-Id: abc\r\n").body == {"ok": True}


@pytest.mark.parametrize(
    ("head", "status"),
    [
        (b"GET /x HTTP/1.1\r\nX-Request-Id: abc\r\nContent-Length: 9999999\r\n\r\n", 413),
        (b"GET /x HTTP/1.1\r\nX-Y: \xff\r\n\r\n", 400),
        (b"GET /x HTTP/1.1\r\nX-Y: " + b"y" * 20_000, 431),
    ],
)
def test_a_request_that_is_refused_by_its_head_has_an_id(head, status):
    answer = RequestWire(Leaf(ok)).ask(head)
    assert answer.status == status
    assert answer.headers["x-request-id"] == answer.body["requestId"]
    if status == 413:
        assert answer.body["requestId"] == "abc"


def test_what_a_request_logs_has_its_id_also_after_it_has_waited():
    lines, waited = [], Deferred()

    def observe(event):
        lines.append((json.loads(json_line(event, Secrets())), text_line(event, Secrets())))

    def serve(request):
        async def work():
            log.info("Before")
            await waited
            log.warn("After")
            request.write(ok(request))
            request.finish()

        Deferred.fromCoroutine(work())
        return NOT_DONE_YET

    globalLogPublisher.addObserver(observe)
    try:
        wire = RequestWire(Leaf(serve))
        wire.send(b"GET /x HTTP/1.1\r\nHost: h\r\nX-Request-Id: abc\r\n\r\n")
        log.info("Between")  # nobody's
        waited.callback(None)
        log.info("Later")
    finally:
        globalLogPublisher.removeObserver(observe)
    found = {line["message"]: line.get("request_id") for line, _ in lines}
    assert found == {"Before": "abc", "Between": None, "After": "abc", "Later": None}
    assert next(text for _, text in lines if "After" in text).endswith("After [request abc]\n")


def test_shared_work_that_a_request_starts_has_no_id():
    seen = []

    def serve(request):
        seen.append((current_request_id(), run_for_nobody(current_request_id)))
        return ok(request)

    ask(serve, "X-Request-Id: abc\r\n")
    assert seen == [("abc", None)]


def test_a_delayed_call_of_a_request_is_nobodys():
    clock, seen = Clock(), []

    def serve(request):
        clock.callLater(1, lambda: seen.append(current_request_id()))
        return ok(request)

    ask(serve)
    clock.advance(1)
    assert seen == [None]
