"""REST as a page speaks it, through the balancer."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

from attrs import define, field
from treq.client import HTTPClient
from twisted.internet.defer import CancelledError, TimeoutError
from twisted.internet.task import deferLater
from twisted.web.client import Agent, HTTPConnectionPool
from twisted.web.error import Error as WebError

TIMEOUT = 15.0  # seconds for one request
RETRY_INTERVAL = 0.4  # seconds


class NoAnswer(Exception):
    """The request had no answer, or one that says that it was not carried out now."""

    def __init__(self, reason: str, status: int = 0) -> None:
        super().__init__(reason)
        self.status = status


@define(eq=False)
class Rest:
    """`outcomes` counts what became of requests: statuses, and names of errors."""

    reactor: Any
    url: str
    token: str
    http: HTTPClient = field(init=False)
    jwt: str = ""
    outcomes: Counter[str] = field(factory=Counter)
    _pool: HTTPConnectionPool = field(init=False)

    def __attrs_post_init__(self) -> None:
        self._pool = HTTPConnectionPool(self.reactor)
        self._pool.maxPersistentPerHost = 16
        self._pool.retryAutomatically = False
        self.http = HTTPClient(Agent(self.reactor, pool=self._pool, connectTimeout=5.0))

    async def once(
        self,
        method: str,
        path: str,
        body: Any = None,
        token: str | None = None,
        seconds: float = TIMEOUT,
    ) -> Any:
        """The JSON of the answer. Raises NoAnswer."""
        headers = {"Authorization": f"Bearer {token or self.jwt}"}
        data = None
        if body is not None:
            headers["Content-Type"], data = "application/json", json.dumps(body).encode()
        exchange = self._exchange(method, path, headers, data)
        try:
            from twisted.internet.defer import Deferred

            status, content = await Deferred.fromCoroutine(exchange).addTimeout(
                seconds, self.reactor
            )
        except (TimeoutError, CancelledError):
            self.outcomes["no answer in time"] += 1
            raise NoAnswer("no answer in time") from None
        except (OSError, WebError) as problem:
            self.outcomes[type(problem).__name__] += 1
            raise NoAnswer(f"{type(problem).__name__}: {problem}") from problem
        except Exception as problem:  # ResponseNeverReceived and its like
            self.outcomes[type(problem).__name__] += 1
            raise NoAnswer(f"{type(problem).__name__}: {problem}") from problem
        self.outcomes[str(status)] += 1
        if status >= 400:
            raise NoAnswer(f"{status} {content[:200]!r}", status)
        return json.loads(content)

    async def _exchange(
        self, method: str, path: str, headers: dict[str, str], data: bytes | None
    ) -> tuple[int, bytes]:
        response = await self.http.request(
            method, self.url + path, headers=headers, data=data, allow_redirects=False
        )
        return response.code, await response.content()

    async def login(self) -> Rest:
        answer = await self.until_done("POST", "/api/auth", {"accessToken": self.token})
        self.jwt = answer["token"]
        return self

    async def until_done(
        self,
        method: str,
        path: str,
        body: Any = None,
        token: str | None = None,
        seconds: float = 180.0,
    ) -> Any:
        """As `once`, again and again until it succeeds. Raises NoAnswer after `seconds`, and at
        once if the request is refused for good.
        """
        deadline = self.reactor.seconds() + seconds
        while True:
            try:
                return await self.once(method, path, body, token)
            except NoAnswer as problem:
                is_final = 400 <= problem.status < 500 and problem.status not in (
                    408,
                    409,
                    425,
                    429,
                )
                if is_final or self.reactor.seconds() > deadline:
                    raise
            await deferLater(self.reactor, RETRY_INTERVAL)

    async def rows(self, session_id: str, after: int) -> list[dict[str, Any]]:
        """All stored messages of a session above a sequence number, in order."""
        found: list[dict[str, Any]] = []
        while True:
            path = f"/cli/sessions/{session_id}/messages?afterSeq={after}&limit=200"
            answer = await self.until_done("GET", path, token=self.token)
            page = answer["messages"]
            found += page
            if len(page) < 200:
                return found
            after = max(row["seq"] for row in page)

    def close(self) -> Any:
        return self._pool.closeCachedConnections()
