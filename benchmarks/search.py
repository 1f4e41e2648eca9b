"""Search over 100,000 messages: how long queries take, and what the index costs.

    python -m benchmarks.search [--messages 100000] [--directory DIR]

Texts are made of the words of this repository, every tenth of Chinese characters. Stores the
messages twice, with and without the index, and prints the sizes of both databases, the time to
store a message, the time to index those of an older database, and the times of several queries.
Times are those of the processor, so that what else runs on the machine does not count.
"""

from __future__ import annotations

import argparse
import random
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from hapi.hub.records.query import parse_query
from hapi.hub.records.snippets import snippet_of
from hapi.hub.store import message_index
from hapi.hub.store.rows import MessageRow, SessionRow
from hapi.hub.store.sqlite import SqliteStore

ROOT = Path(__file__).parents[1]
SESSIONS = 200
ROUNDS = 40  # of each query
CHINESE = (
    "数据库连接失败请检查配置文件服务器日志用户登录页面测试代码修改提交分支合并错误信息网络超时重试"
)
QUERIES = (
    "session",
    "database error",
    '"the hub"',
    "sess*",
    "s*",
    "数据",
    "网络超时",
    "the a of",
    "zzqx",
)


def run(awaitable: Any) -> Any:
    found: list[Any] = []

    async def wait() -> None:
        found.append(await awaitable)

    Deferred.fromCoroutine(wait())
    return found[0]


def texts(count: int) -> list[str]:
    """Texts of 50 to 3,000 characters, most of them short."""
    source = " ".join(
        path.read_text(errors="replace")
        for pattern in ("hapi/**/*.py", "docs/*.md")
        for path in sorted(ROOT.glob(pattern))
    )
    chosen = random.Random(1)
    made = []
    for number in range(count):
        length = min(3000, int(chosen.lognormvariate(5.8, 1.0)) + 50)
        if number % 10 == 0:
            made.append("".join(chosen.choices(CHINESE, k=length // 3)))
        else:
            begin = chosen.randrange(len(source) - length)
            made.append(source[begin : begin + length])
    return made


def record(number: int, text: str) -> dict[str, Any]:
    if number % 4 == 0:
        return {"role": "user", "content": {"type": "text", "text": text}}
    data = {"type": "message", "message": text, "id": str(number)}
    if number % 4 == 1:
        data = {"type": "tool-call-result", "callId": str(number), "output": text}
    return {
        "role": "agent",
        "content": {"type": "codex", "data": data},
        "meta": {"sentFrom": "cli"},
    }


def fill(path: Path, made: list[str]) -> tuple[SqliteStore, float]:
    """A store with all messages, 64 in a transaction as with a busy hub; ms for each message."""
    store = SqliteStore(path, Clock())
    run(store.open())
    store.database.connection.execute("PRAGMA synchronous = OFF")  # not to measure the disk
    for number in range(SESSIONS):
        run(store.create_session(SessionRow(f"s{number}", "default", f"t{number}", 1, 1)))
    begin = time.thread_time()
    for start in range(0, len(made), 64):

        def add(turn: Any, start: int = start) -> None:
            for number in range(start, min(start + 64, len(made))):
                row = MessageRow(
                    f"message-{number:032}",
                    f"s{number % SESSIONS}",
                    0,
                    record(number, made[number]),
                    number,
                    None,
                    number,
                )
                turn.add_message(row, None)

        run(store.turn("s0", add))
    return store, (time.thread_time() - begin) * 1000 / len(made)


def percentile(values: list[float], share: float) -> float:
    return statistics.quantiles(values, n=100)[round(share * 100) - 1]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--messages", type=int, default=100_000)
    parser.add_argument("--directory", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.directory) as directory:
        measure(Path(directory), options.messages)


def measure(directory: Path, count: int) -> None:
    made = texts(count)
    print(f"{count} messages, {sum(len(text.encode()) for text in made) / 1e6:.0f} MB of text")
    with_fts5: Callable[[Any], bool] = message_index.has_fts5
    message_index.has_fts5 = lambda connection: False
    store, plain_ms = fill(directory / "plain.db", made)
    plain = run(store.size()).used
    store.close()
    message_index.has_fts5 = with_fts5

    store = SqliteStore(directory / "plain.db", Clock())
    run(store.open())
    begin, longest, portions = time.thread_time(), 0.0, 0
    while True:
        at = time.thread_time()
        more = run(store.index_older())
        longest, portions = max(longest, time.thread_time() - at), portions + 1
        if not more:
            break
    took = time.thread_time() - begin
    print(
        f"indexing an older database: {took:.0f} s of work in {portions} portions,"
        f" the longest {longest * 1000:.0f} ms"
    )
    store.close()

    store, indexed_ms = fill(directory / "indexed.db", made)
    indexed = run(store.size()).used
    growth = (indexed / plain - 1) * 100
    print(
        f"database: {plain / 1e6:.1f} MB without the index,"
        f" {indexed / 1e6:.1f} MB with it (+{growth:.0f} %)"
    )
    print(f"storing a message: {plain_ms:.3f} ms without the index, {indexed_ms:.3f} ms with it")
    everything: list[float] = []
    for query in QUERIES:
        times = [timed(store, query) for _ in range(ROUNDS)]
        everything += times
        print(f"  {query:18} {times_text(times)}")
    print(f"all queries: {times_text(everything)}")
    store.close()


def timed(store: SqliteStore, query: str) -> float:
    """How long one page of results takes, with its snippets; ms."""
    begin = time.thread_time()
    terms = parse_query(query)
    for row in run(store.search("default", terms, 20)).messages:
        snippet_of(row.content, terms)
    return (time.thread_time() - begin) * 1000


def times_text(times: list[float]) -> str:
    """`times` in ms."""
    return f"median {statistics.median(times):.1f} ms, p95 {percentile(times, 0.95):.1f} ms"


if __name__ == "__main__":
    main()
