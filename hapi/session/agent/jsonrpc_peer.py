"""One end of a JSON-RPC connection over lines, with Deferreds. It knows nothing of processes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from attrs import define, field
from twisted.internet.defer import CancelledError, Deferred, fail, maybeDeferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.threads import deferToThread
from twisted.logger import Logger
from twisted.python.failure import Failure

from hapi.protocol.json import Malformed
from hapi.protocol.jsonrpc import (
    INTERNAL_ERROR,
    INVALID_PARAMS,
    METHOD_NOT_FOUND,
    REQUEST_CANCELLED,
    Id,
    LineBuffer,
    LineTooLong,
    Message,
    Notification,
    Problem,
    Request,
    Result,
    notification,
    problem,
    read_message,
    request,
    result,
)
from hapi.session.agent.message_queue import MessageQueue

MAX_NOISE = 2_000  # bytes of a line that is no message
MAX_INLINE_SIZE = 512 * 1024  # bytes of a line that is read without a thread, in a few milliseconds


class AgentExited(Exception):
    """The agent's process ended or closed its pipe; the text says how."""


class AgentError(Exception):
    """The agent answered with an error. A request handler raises it to answer with an error."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code


class AgentTimeout(Exception):
    """The agent did not answer in time."""


@define(eq=False, repr=False)
class JsonRpcPeer:
    """`send` writes bytes to the other end.

    `handlers` answer its requests (sync or async); `on_notification` receives its notifications.
    Its messages are handled strictly in order. `prepare` is called with the parameters of each call
    and notification before that is handled; if it returns a Deferred, that is waited for.
    So does `on_notification`, for the message after it. `on_noise` is called with each line that is
    no message. A long line is read by `in_thread`, which runs a blocking call.
    """

    clock: IReactorTime
    _send: Callable[[bytes], object]
    handlers: dict[str, Callable[[Mapping[str, Any]], Any]] = field(factory=dict)
    on_notification: Callable[[str, Mapping[str, Any]], object] = field(
        default=lambda method, params: None
    )
    prepare: Callable[[Mapping[str, Any]], Deferred[Any] | None] = field(
        default=lambda params: None
    )
    on_noise: Callable[[str], object] = field(default=lambda line: None)
    in_thread: Callable[..., Deferred[Any]] = deferToThread
    queue: MessageQueue = field(init=False)
    _buffer: LineBuffer = field(factory=LineBuffer)
    _waiting: dict[int, Deferred[Any]] = field(factory=dict)
    _served: dict[Id, Deferred[Any]] = field(factory=dict)  # the other end's calls that wait
    _next: int = 0
    _closed: str | None = None
    log = Logger()

    def __attrs_post_init__(self) -> None:
        self.queue = MessageQueue(self.clock, self._handle)

    def call(
        self, method: str, params: Mapping[str, Any], seconds: float | None = None
    ) -> Deferred[Any]:
        """Call `method`; fires with the result.

        Fails with AgentError, AgentExited, AgentTimeout (after `seconds`; None waits without
        limit).
        """
        if self._closed is not None:
            return fail(AgentExited(self._closed))
        number, self._next = self._next, self._next + 1
        answer: Deferred[Any] = Deferred(lambda _: self._forget(number))
        self._waiting[number] = answer
        self._send(request(number, method, params))
        if seconds is not None:
            late = self.clock.callLater(
                seconds, self._timed_out, number, f"no answer to {method} within {seconds:g} s"
            )

            def in_time(value: Any) -> Any:
                if late.active():
                    late.cancel()
                return value

            answer.addBoth(in_time)
        return answer

    def notify(self, method: str, params: Mapping[str, Any]) -> None:
        """Send a notification; nothing happens if the other end is gone."""
        if self._closed is None:
            self._send(notification(method, params))

    def received(self, data: bytes) -> None:
        """Take bytes from the other end. Raises LineTooLong."""
        for line in self._buffer.feed(data):
            self.queue.put(line)

    def closed(self, reason: str) -> None:
        """The other end is gone: when what it said is handled, all pending calls fail, and its own
        are cancelled."""
        self.queue.when_empty(lambda: self._close(reason))

    def _close(self, reason: str) -> None:
        if self._closed is not None:
            return
        self._closed = reason
        waiting, self._waiting = self._waiting, {}
        for answer in waiting.values():
            answer.errback(AgentExited(reason))
        for served in tuple(self._served.values()):
            served.cancel()

    def _handle(self, line: bytes) -> Deferred[Any] | None:
        if len(line) > MAX_INLINE_SIZE:
            reading = self.in_thread(read_message, line)
            return reading.addCallbacks(self._prepare, self._not_read, errbackArgs=(line,))
        try:
            message = read_message(line)
        except Malformed as error:
            self._take_noise(line, str(error))
            return None
        return self._prepare(message)

    def _not_read(self, failure: Failure, line: bytes) -> None:
        failure.trap(Malformed)
        self._take_noise(line, failure.getErrorMessage())

    def _take_noise(self, line: bytes, reason: str) -> None:
        said = line[:MAX_NOISE].decode(errors="replace")
        self.log.warn(
            "The agent wrote a line that is not a message: {reason}: {line}",
            reason=reason,
            line=said[:200],
        )
        self.on_noise(said)

    def _prepare(self, message: Message) -> Deferred[Any] | None:
        pending = (
            self.prepare(message.params) if isinstance(message, Request | Notification) else None
        )
        if pending is None:
            return self._take(message)
        return pending.addBoth(lambda _: self._take(message))

    def _take(self, arrived: Message) -> Deferred[Any] | None:
        match arrived:
            case Request() as asked:
                self._answer(asked)
            case Notification("$/cancel_request", params):
                self._cancel(params.get("requestId"))
            case Notification(method, params):
                pending = self.on_notification(method, params)
                return pending if isinstance(pending, Deferred) else None
            case Result(number, value):
                if (answer := self._pop(number)) is not None:
                    answer.callback(value)
            case Problem(number, code, message):
                if number is None:
                    self.log.warn(
                        "The agent could not read a message of ours: {reason}", reason=message
                    )
                elif (answer := self._pop(number)) is not None:
                    answer.errback(AgentError(code, message))
        return None

    def _pop(self, number: int | str) -> Deferred[Any] | None:
        return self._waiting.pop(number, None) if isinstance(number, int) else None

    def _forget(self, number: int) -> None:
        self._waiting.pop(number, None)

    def _timed_out(self, number: int, words: str) -> None:
        if (answer := self._waiting.pop(number, None)) is not None:
            answer.errback(AgentTimeout(words))

    def _cancel(self, number: Any) -> None:
        """The other end takes back a call of its own."""
        served = self._served.get(number) if isinstance(number, int | str) else None
        if served is not None:
            served.cancel()

    def _answer(self, asked: Request) -> None:
        handler = self.handlers.get(asked.method)
        if handler is None:
            self._send(problem(asked.id, METHOD_NOT_FOUND, f"Method not found: {asked.method}"))
            return

        def send_result(value: Any) -> None:
            if self._closed is None:
                self._send(result(asked.id, value))

        def send_error(failure: Failure) -> None:
            code = INVALID_PARAMS if failure.check(Malformed) else INTERNAL_ERROR
            if isinstance(failure.value, AgentError):
                code = failure.value.code
            elif failure.check(CancelledError):
                code = REQUEST_CANCELLED
            elif code == INTERNAL_ERROR:
                self.log.failure(
                    "Request {method} of the agent failed", failure, method=asked.method
                )
            if self._closed is None:
                words = failure.getErrorMessage() or "The request was cancelled"
                self._send(problem(asked.id, code, words))

        def forget(_: object) -> None:
            if self._served.get(asked.id) is answer:
                del self._served[asked.id]

        answer = maybeDeferred(handler, asked.params)
        if not answer.called:
            self._served[asked.id] = answer
        answer.addCallbacks(send_result, send_error).addBoth(forget)


__all__ = ["AgentError", "AgentExited", "AgentTimeout", "JsonRpcPeer", "LineTooLong"]
