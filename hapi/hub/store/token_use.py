"""The tokens that each request to a model has used, as agents report them in their records.

They are kept in a table of their own as the records are stored: adding them up for a page of a year
must not mean reading all messages of that year.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from attrs import frozen

from hapi.hub.store.columns import SqlConnection, SqlDatabase, as_key, read_document
from hapi.hub.store.rows import TokenUse

MAX_COUNT = 1 << 50  # tokens; a larger count is nonsense, and SQLite adds with 64 bits
MAX_MODEL_LENGTH = 200  # characters
UNKNOWN, DEFAULT_FLAVOR = "unknown", "claude"  # what sessions are that say nothing
# Only contents with one of these are decoded.
_MARKS = ('"token_count"', '"usage"')

INSERT = """
    INSERT INTO token_use VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
    ON CONFLICT (id) DO UPDATE SET
        input = max(token_use.input, excluded.input),
        output = max(token_use.output, excluded.output),
        cache_read = max(token_use.cache_read, excluded.cache_read),
        cache_written = max(token_use.cache_written, excluded.cache_written)
"""
QUARTER = 15 * 60_000  # ms: all time zones differ by whole quarters of an hour
SUMS = """
    SELECT at / ? * ? AS quarter, agent, model,
        CAST(sum(input) AS BIGINT), CAST(sum(output) AS BIGINT),
        CAST(sum(cache_read) AS BIGINT), CAST(sum(cache_written) AS BIGINT), count(*)
    FROM token_use WHERE namespace = ? AND at >= ?
    GROUP BY quarter, agent, model ORDER BY quarter
"""


@frozen
class _Reported:
    """What a record reports. `id` is the same in all records of one request to the model."""

    id: str | None
    model: str | None
    input: int
    output: int
    cache_read: int
    cache_written: int


def record_use(
    connection: SqlConnection, message_id: str, session_id: str, content: str, at: int
) -> None:
    """Keep what a message reports, if it reports something. A message that is given twice counts
    once.
    """
    if not any(mark in content for mark in _MARKS):
        return
    found = reported_use(read_document(content))
    if found is None:
        return
    session = connection.execute(
        "SELECT namespace, metadata, model FROM sessions WHERE id = ?", (session_id,)
    ).fetchone()
    if session is None:
        return
    namespace, metadata, model = session
    settled = read_document(metadata) if metadata is not None else None
    chosen = read_document(model) if model is not None else None
    agent = _text(settled.get("flavor")) if isinstance(settled, dict) else ""
    connection.execute(
        INSERT,
        (
            message_id if found.id is None else f"{session_id}/{as_key(found.id)}",
            at,
            namespace,
            session_id,
            agent or DEFAULT_FLAVOR,
            (found.model or _text(chosen) or UNKNOWN)[:MAX_MODEL_LENGTH],
            found.input,
            found.output,
            found.cache_read,
            found.cache_written,
        ),
    )


def reported_use(content: Any) -> _Reported | None:
    """The use that a message's content reports: a `token_count` record, or Claude's own record of
    an answer. Pure.
    """
    inner = content.get("content") if isinstance(content, dict) else None
    data = inner.get("data") if isinstance(inner, dict) else None
    if not isinstance(inner, dict) or not isinstance(data, dict):
        return None
    if inner.get("type") == "codex" and data.get("type") == "token_count":
        return _token_count(data)
    message = data.get("message")
    if inner.get("type") == "output" and isinstance(message, dict):
        return _claude(message)
    return None


def _token_count(data: Mapping[str, Any]) -> _Reported | None:
    info = data.get("info")
    total = info.get("total") if isinstance(info, dict) else None
    if not isinstance(total, dict):
        return None
    read, written = (
        _count(total.get("cachedInputTokens")),
        _count(total.get("cacheWriteInputTokens")),
    )
    given = _count(total.get("inputTokens"))
    includes_cache = data.get("inputTokenSemantics") == "includes-cache"
    fresh = max(given - read - written, 0) if includes_cache else given
    found = _Reported(
        None, _text(data.get("model")), fresh, _count(total.get("outputTokens")), read, written
    )
    return found if _is_use(found) else None


def _claude(message: Mapping[str, Any]) -> _Reported | None:
    usage = message.get("usage")
    if not isinstance(usage, dict):
        return None
    found = _Reported(
        _text(message.get("id")) or None,
        _text(message.get("model")),
        _count(usage.get("input_tokens")),
        _count(usage.get("output_tokens")),
        _count(usage.get("cache_read_input_tokens")),
        _count(usage.get("cache_creation_input_tokens")),
    )
    return found if _is_use(found) else None


def _is_use(found: _Reported) -> bool:
    """A record without tokens tells of the context only."""
    return bool(found.input or found.output or found.cache_read or found.cache_written)


def _text(value: Any) -> str:
    """A text as every database can store it."""
    if not isinstance(value, str):
        return ""
    return value.replace("\0", "\ufffd").encode(errors="replace").decode()


def _count(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return 0
    return int(value) if 0 <= value < MAX_COUNT else 0


class TokenUseTable:
    """The method of IStore that reads it; documented there."""

    database: SqlDatabase

    async def token_use(self, namespace: str, since: int) -> tuple[list[TokenUse], int]:
        rows = await self.database.read(SUMS, (QUARTER, QUARTER, namespace, since))
        counts = await self.database.read(
            "SELECT count(DISTINCT session_id) FROM token_use WHERE namespace = ? AND at >= ?",
            (namespace, since),
        )
        (sessions,) = counts[0]
        return [TokenUse(*row) for row in rows], sessions
