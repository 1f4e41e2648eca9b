"""Large replies: compressed in threads, read in pieces, and given up when nobody waits for them."""

from __future__ import annotations

import gzip
import json
from threading import Event
from typing import Any

import pytest
import pytest_twisted
from twisted.internet.defer import CancelledError
from twisted.internet.task import Clock, LoopingCall

from hapi.hub.http.compression import (
    MIN_THREAD_SIZE,
    PIECE_SIZE,
    Cancelled,
    Compressor,
    compress_in_pieces,
)
from hapi.hub.http.paging import LARGE_PIECE, PageReader
from tests.support.hub_stage import Stage, result_of, waits

TEXT = "".join(f"{number:x} " for number in range(1 << 20)).encode()  # 6 MB


@pytest.fixture
def compressor(reactor: Any) -> Any:
    made = Compressor(reactor)
    yield made
    made.stop()


@pytest_twisted.ensureDeferred
async def test_the_reactor_serves_others_while_a_large_reply_is_compressed(
    reactor: Any, compressor: Compressor
) -> None:
    pending = compressor.compress(TEXT * 4)
    assert waits(pending)
    turns: list[float] = []
    loop = LoopingCall(lambda: turns.append(reactor.seconds()))
    loop.start(0.001)
    body = await pending
    loop.stop()
    assert len(turns) > 10
    assert gzip.decompress(body) == TEXT * 4


def test_a_small_reply_is_compressed_at_once(reactor: Any) -> None:
    small = TEXT[: MIN_THREAD_SIZE - 1]
    assert gzip.decompress(result_of(Compressor(reactor).compress(small))) == small


def test_without_threads_everything_is_compressed_at_once() -> None:
    assert gzip.decompress(result_of(Compressor(Clock()).compress(TEXT))) == TEXT


@pytest_twisted.ensureDeferred
async def test_many_large_replies_take_turns_in_few_threads(
    reactor: Any, compressor: Compressor
) -> None:
    pending = [compressor.compress(TEXT) for _ in range(12)]
    for reply in pending:
        assert gzip.decompress(await reply) == TEXT


@pytest_twisted.ensureDeferred
async def test_compression_ends_when_the_client_is_gone(
    reactor: Any, compressor: Compressor
) -> None:
    pending = [compressor.compress(TEXT * 8) for _ in range(4)]
    for reply in pending:
        reply.cancel()
    for reply in pending:
        with pytest.raises(CancelledError):
            await reply
    assert gzip.decompress(await compressor.compress(TEXT)) == TEXT  # the threads are free again


def test_compression_looks_after_each_piece_whether_it_may_go_on() -> None:
    class GoneAfterTwoPieces(Event):
        asked = 0

        def is_set(self) -> bool:
            self.asked += 1
            return self.asked > 2

    gone = GoneAfterTwoPieces()
    with pytest.raises(Cancelled):
        compress_in_pieces(bytes(PIECE_SIZE * 10), gone)
    assert gone.asked == 3


# --- pages of a conversation ----------------------------------------------------------------------


def fill(stage: Stage, count: int, size: int, tag: str) -> str:
    session_id, peer = stage.live(tag=tag)
    for number in range(count):
        data = {
            "type": "message",
            "message": [f"{number} {'x' * min(size, 60_000)}"] * (size // 60_000 or 1),
        }
        message = {"role": "agent", "content": {"type": "codex", "data": data}}
        peer.send("message", {"sid": session_id, "message": message})
    return session_id


def seqs(body: Any) -> list[int]:
    return [message["seq"] for message in body["messages"]]


def test_a_large_page_is_read_in_pieces_and_others_are_served_between_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    turns: list[None] = []
    turn = PageReader._turn

    async def counted(reader: PageReader) -> None:
        turns.append(None)
        await turn(reader)

    monkeypatch.setattr(PageReader, "_turn", counted)
    stage = Stage()
    large, small = fill(stage, 40, 600_000, "large"), fill(stage, 3, 1, "small")
    path = f"/api/sessions/{large}/messages?limit=30"
    pages = [stage.begin("GET", path) for _ in range(3)]
    assert len(turns) == 3 + 1  # the first has had its turn and waits for the next, as the others
    assert all(map(waits, pages))
    assert seqs(stage.get(f"/api/sessions/{small}/messages")) == [1, 2, 3]
    stage.clock.advance(0)
    for pending in pages:
        assert seqs(stage.finish(pending).body) == list(range(11, 41))
    assert len(turns) >= 3 * 30 * 600_000 / LARGE_PIECE / 2


@pytest.mark.parametrize("limit", [1, 3, 4, 5, 11, 12, 13, 30, 200])
def test_pages_in_pieces_are_whole(limit: int) -> None:
    stage = Stage()
    session_id = fill(stage, 30, 1, "tag")
    path = f"/api/sessions/{session_id}/messages?limit={limit}"
    whole = stage.get(path)
    assert seqs(whole) == list(range(1, 31))[-limit:]
    assert whole["page"]["hasMore"] == (limit < 30)
    found, page = seqs(whole), whole["page"]
    while page["hasMore"]:
        back = f"beforeSeq={page['nextBeforeSeq']}&beforeAt={page['nextBeforeAt']}"
        body = stage.get(f"{path}&{back}")
        found, page = seqs(body) + found, body["page"]
        assert len(body["messages"]) <= limit
    assert found == list(range(1, 31))
    first = stage.get(f"{path}&beforeSeq=2&beforeAt={whole['page']['snapshotHeadAt'] + 1}")
    at = f"afterSeq=0&afterAt={first['messages'][0]['createdAt'] - 1}"
    forward = stage.get(f"{path}&{at}")
    assert seqs(forward) == list(range(1, 31))[:limit]
    assert forward["page"]["hasMore"] == (limit < 30)


def test_a_page_is_the_json_that_was_stored() -> None:
    stage = Stage()
    session_id, peer = stage.live()
    odd = {"role": "agent", "content": {"type": "codex", "data": {"a": "é 😀 \u2028", "b": 2**60}}}
    peer.send("message", {"sid": session_id, "message": odd})
    body = stage.get(f"/api/sessions/{session_id}/messages")
    assert body["messages"][0]["content"] == odd
    assert json.loads(json.dumps(odd)) == odd
