"""A client of the Telegram Bot API (https://core.telegram.org/bots/api)."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import msgspec
from attrs import define, field
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IReactorTime

from hapi.net.common.errors import describe_connection_error

CALL_TIMEOUT = 20.0  # seconds
MAX_REPLY_SIZE = 8 << 20  # bytes
# "At most 52 significant bits" (Bot API, "User" and "Chat"). Those of groups are negative; people,
# messages and updates have positive ones.
MAX_ID = (1 << 52) - 1


def read_id(value: Any) -> int | None:
    """The id of a person, of their private chat, of a message or of an update; None if it is none
    that Telegram gives."""
    return value if type(value) is int and 0 < value <= MAX_ID else None


class BotApiError(Exception):
    """A call that failed. `code` is Telegram's error code, 0 if no answer came; `retry_after` is in
    seconds, 0 if Telegram has not named it.
    """

    def __init__(self, text: str, code: int = 0, retry_after: float = 0.0) -> None:
        super().__init__(text)
        self.code, self.retry_after = code, retry_after


# An escaped backslash, a pair of surrogates, or half of one.
_SURROGATES = re.compile(
    rb"(\\\\)|(\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2})"
    rb"|\\u[dD][89a-fA-F][0-9a-fA-F]{2}"
)


class _Parameters(msgspec.Struct):
    retry_after: float = 0.0


class _Reply(msgspec.Struct):
    ok: bool = False
    result: Any = None
    error_code: int = 0
    description: str = ""
    parameters: _Parameters = msgspec.field(default_factory=_Parameters)


def _without_lone_surrogates(content: bytes) -> bytes:
    """JSON whose halves of surrogate pairs, which are no text, are replaced: one of them in what a
    stranger wrote must not keep all later updates from being read.
    """
    if rb"\ud" not in content.lower():
        return content
    return _SURROGATES.sub(lambda found: found[0] if found[1] or found[2] else b"?", content)


@define(eq=False, repr=False)
class BotApi:
    """`make_http` makes the HTTP client at the first call. The token is part of each URL, so that
    no URL ever gets into a log.
    """

    _clock: IReactorTime
    _url: str
    _token: str = field(repr=False)
    _make_http: Callable[[], Any]
    _http: Any = None

    async def call(
        self, method: str, parameters: dict[str, Any], timeout: float = CALL_TIMEOUT
    ) -> Any:
        """The result of a method. Raises BotApiError."""
        exchange = Deferred.fromCoroutine(self._exchange(method, parameters))
        try:
            content = await exchange.addTimeout(timeout, self._clock)
            reply = msgspec.json.decode(_without_lone_surrogates(content), type=_Reply)
        except CancelledError:
            raise
        except (msgspec.DecodeError, UnicodeError) as error:
            raise BotApiError("the answer is not one of the Bot API") from error
        except Exception as error:  # DNS, TLS, time-outs: many unrelated classes
            reason = describe_connection_error(error, self._url).replace(self._token, "TOKEN")
            raise BotApiError(reason) from None
        if not reply.ok:
            retry_after = max(reply.parameters.retry_after, 0.0)
            raise BotApiError(reply.description or "refused", reply.error_code, retry_after)
        return reply.result

    async def _exchange(self, method: str, parameters: dict[str, Any]) -> bytes:
        if self._http is None:
            self._http = self._make_http()
        response = await self._http.request(
            "POST",
            f"{self._url}/bot{self._token}/{method}",
            headers={"Content-Type": "application/json"},
            data=msgspec.json.encode(parameters),
            allow_redirects=False,
            unbuffered=True,
        )
        chunks: list[bytes] = []
        size = 0

        def keep(data: bytes) -> None:
            nonlocal size
            size += len(data)
            if size > MAX_REPLY_SIZE:
                raise ValueError("its reply is too long")
            chunks.append(data)

        from treq import collect

        await collect(response, keep)
        return b"".join(chunks)
