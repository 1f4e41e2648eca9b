"""A scripted model's answer in the words of four APIs, streamed or in one piece."""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from attrs import frozen

from tests.support.model_requests import Json, Request


@frozen
class Thought:
    text: str


@frozen
class Text:
    text: str
    interval: float = 0.0  # seconds between two words


@frozen
class Call:
    """A call of one of the agent's tools; `free_form` for those that take a text."""

    tool: str
    arguments: Json
    free_form: str | None = None


@frozen
class Hold:
    """Wait for `release()`, 120 s at most."""


@frozen
class Fail:
    """An error of the provider; `kind`: its `type`, or `garbage` or `hangup`."""

    status: int
    message: str
    kind: str = "invalid_request_error"


Step = Thought | Text | Call | Hold | Fail
INPUT_TOKENS, OUTPUT_TOKENS = 100, 20


@frozen
class Pace:
    """How a stream waits: `hold` until the test releases it, `rest` for some seconds."""

    hold: Callable[[], object]
    rest: Callable[[float], object]


def stream(request: Request, steps: Sequence[Step], pace: Pace) -> Iterator[bytes]:
    """The answer as server-sent events."""
    encoders = {
        "openai": _openai,
        "anthropic": _anthropic,
        "responses": _responses,
        "gemini": _gemini,
    }
    return encoders[request.api](request, steps, pace)


def whole(request: Request, steps: Sequence[Step]) -> Json:
    """The answer to a request that asked for no stream."""
    text = "".join(step.text for step in steps if isinstance(step, Text))
    calls = [step for step in steps if isinstance(step, Call)]
    match request.api:
        case "openai":
            message: Json = {"role": "assistant", "content": text}
            if calls:
                message["tool_calls"] = [_openai_call(call) for call in calls]
            choice = {"index": 0, "message": message, "finish_reason": _finish(calls)}
            return {
                **_openai_base(request, "chat.completion"),
                "choices": [choice],
                **_OPENAI_USAGE,
            }
        case "anthropic":
            content = [{"type": "text", "text": text}] if text else []
            content += [_anthropic_call(call) | {"input": call.arguments} for call in calls]
            stop = "tool_use" if calls else "end_turn"
            return {**_anthropic_base(request), "content": content, "stop_reason": stop}
        case "responses":
            items = [_responses_item(step) for step in steps]
            return {**_responses_base(request), "status": "completed", "output": items}
    return _gemini_piece(request, [part for step in steps for part in _gemini_parts(step)], "STOP")


def sse(value: Any, event: str | None = None) -> bytes:
    named = f"event: {event}\n" if event else ""
    return f"{named}data: {json.dumps(value)}\n\n".encode()


def words(text: str) -> list[str]:
    return re.findall(r"\S*\s*", text)[:-1] or [text]


def _name(prefix: str) -> str:
    return f"{prefix}_{uuid.uuid4().hex[:20]}"


# --- OpenAI chat completions ----------------------------------------------------------------------

_OPENAI_USAGE = {
    "usage": {
        "prompt_tokens": INPUT_TOKENS,
        "completion_tokens": OUTPUT_TOKENS,
        "total_tokens": INPUT_TOKENS + OUTPUT_TOKENS,
    }
}


def _openai_base(request: Request, kind: str) -> Json:
    return {"id": _name("chatcmpl"), "object": kind, "created": 0, "model": request.model}


def _openai_call(call: Call) -> Json:
    function = {"name": call.tool, "arguments": json.dumps(call.arguments)}
    return {"index": 0, "id": _name("call"), "type": "function", "function": function}


def _finish(calls: Sequence[Call]) -> str:
    return "tool_calls" if calls else "stop"


def _openai(request: Request, steps: Sequence[Step], pace: Pace) -> Iterator[bytes]:
    base = _openai_base(request, "chat.completion.chunk")

    def chunk(delta: Json, finish: str | None = None) -> bytes:
        return sse({**base, "choices": [{"index": 0, "delta": delta, "finish_reason": finish}]})

    yield chunk({"role": "assistant", "content": ""})
    for step in steps:
        match step:
            case Thought(text):
                yield chunk({"reasoning_content": text})
            case Text(text, interval):
                for word in words(text):
                    yield chunk({"content": word})
                    pace.rest(interval)
            case Hold():
                pace.hold()
            case Call():
                yield chunk({"tool_calls": [_openai_call(step)]})
    yield chunk({}, _finish([step for step in steps if isinstance(step, Call)]))
    yield sse({**base, "choices": [], **_OPENAI_USAGE})
    yield b"data: [DONE]\n\n"


# --- Anthropic messages ---------------------------------------------------------------------------


def _anthropic_base(request: Request) -> Json:
    usage = {
        "input_tokens": INPUT_TOKENS,
        "output_tokens": 1,
        "cache_read_input_tokens": 0,
        "cache_creation_input_tokens": 0,
    }
    base = {"id": _name("msg"), "type": "message", "role": "assistant", "model": request.model}
    return {**base, "content": [], "stop_reason": None, "stop_sequence": None, "usage": usage}


def _anthropic_call(call: Call) -> Json:
    return {"type": "tool_use", "id": _name("toolu"), "name": call.tool, "input": {}}


def _anthropic(request: Request, steps: Sequence[Step], pace: Pace) -> Iterator[bytes]:
    def event(kind: str, **fields: Any) -> bytes:
        return sse({"type": kind, **fields}, kind)

    yield event("message_start", message=_anthropic_base(request))
    index, stop = 0, "end_turn"
    for step in steps:
        interval = 0.0
        match step:
            case Thought(text):
                block: Json = {"type": "thinking", "thinking": "", "signature": ""}
                deltas: list[Json] = [
                    {"type": "thinking_delta", "thinking": text},
                    {"type": "signature_delta", "signature": "c2lnbmVk"},
                ]
            case Text(text, interval):
                block = {"type": "text", "text": ""}
                deltas = [{"type": "text_delta", "text": word} for word in words(text)]
            case Call():
                block, stop = _anthropic_call(step), "tool_use"
                given = json.dumps(step.arguments)
                deltas = [{"type": "input_json_delta", "partial_json": given}]
            case _:
                pace.hold()
                continue
        yield event("content_block_start", index=index, content_block=block)
        for delta in deltas:
            yield event("content_block_delta", index=index, delta=delta)
            pace.rest(interval)
        yield event("content_block_stop", index=index)
        index += 1
    yield event(
        "message_delta",
        delta={"stop_reason": stop, "stop_sequence": None},
        usage={"output_tokens": OUTPUT_TOKENS},
    )
    yield event("message_stop")


# --- OpenAI responses -----------------------------------------------------------------------------


def _responses_base(request: Request) -> Json:
    usage = {
        "input_tokens": INPUT_TOKENS,
        "input_tokens_details": {"cached_tokens": 0},
        "output_tokens": OUTPUT_TOKENS,
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": INPUT_TOKENS + OUTPUT_TOKENS,
    }
    base = {"id": _name("resp"), "object": "response", "created_at": 0, "model": request.model}
    return {**base, "output": [], "usage": usage}


def _responses_item(step: Step) -> Json:
    match step:
        case Thought(text):
            summary = [{"type": "summary_text", "text": text}]
            return {"type": "reasoning", "id": _name("rs"), "summary": summary}
        case Call(tool, _, free_form) if free_form is not None:
            call = {"type": "custom_tool_call", "id": _name("ctc"), "call_id": _name("call")}
            return {**call, "name": tool, "input": free_form, "status": "completed"}
        case Call(tool, arguments):
            call = {"type": "function_call", "id": _name("fc"), "call_id": _name("call")}
            given = json.dumps(arguments)
            return {**call, "name": tool, "arguments": given, "status": "completed"}
    said = step.text if isinstance(step, Text) else ""
    content = [{"type": "output_text", "text": said, "annotations": []}]
    item = {"type": "message", "id": _name("msg"), "role": "assistant", "status": "completed"}
    return {**item, "content": content}


def _responses(request: Request, steps: Sequence[Step], pace: Pace) -> Iterator[bytes]:
    base, number = _responses_base(request), -1

    def event(kind: str, **fields: Any) -> bytes:
        nonlocal number
        number += 1
        return sse({"type": kind, "sequence_number": number, **fields}, kind)

    yield event("response.created", response={**base, "status": "in_progress", "usage": None})
    items: list[Json] = []
    for step in steps:
        if isinstance(step, Hold):
            pace.hold()
            continue
        item, place = _responses_item(step), {"output_index": len(items)}
        items.append(item)
        begun = {**item, "status": "in_progress"}
        begun |= {"content": []} if "content" in item else {}
        begun |= {"summary": []} if "summary" in item else {}
        begun |= {"arguments": ""} if "arguments" in item else {}
        yield event("response.output_item.added", item=begun, **place)
        place["item_id"] = item["id"]
        match step:
            case Text(text, interval):
                part = {"type": "output_text", "text": "", "annotations": []}
                yield event("response.content_part.added", content_index=0, part=part, **place)
                for word in words(text):
                    yield event("response.output_text.delta", content_index=0, delta=word, **place)
                    pace.rest(interval)
                yield event("response.output_text.done", content_index=0, text=text, **place)
            case Thought(text):
                part = {"type": "summary_text", "text": ""}
                kind = "response.reasoning_summary"
                yield event(f"{kind}_part.added", summary_index=0, part=part, **place)
                yield event(f"{kind}_text.delta", summary_index=0, delta=text, **place)
                yield event(f"{kind}_text.done", summary_index=0, text=text, **place)
            case Call(free_form=None):
                kind = "response.function_call_arguments"
                yield event(f"{kind}.delta", delta=item["arguments"], **place)
                yield event(f"{kind}.done", arguments=item["arguments"], **place)
        yield event("response.output_item.done", item=item, output_index=place["output_index"])
    yield event("response.completed", response={**base, "status": "completed", "output": items})


# --- Gemini ---------------------------------------------------------------------------------------


def _gemini_piece(request: Request, parts: list[Json], finish: str | None = None) -> Json:
    candidate: Json = {"content": {"role": "model", "parts": parts}, "index": 0}
    usage = {
        "promptTokenCount": INPUT_TOKENS,
        "candidatesTokenCount": OUTPUT_TOKENS,
        "totalTokenCount": INPUT_TOKENS + OUTPUT_TOKENS,
    }
    return {
        "candidates": [candidate | ({"finishReason": finish} if finish else {})],
        "usageMetadata": usage,
        "modelVersion": request.model,
    }


def _gemini_parts(step: Step) -> list[Json]:
    match step:
        case Thought(text):
            return [{"text": text, "thought": True}]
        case Text(text):
            return [{"text": word} for word in words(text)]
        case Call(tool, arguments):
            return [{"functionCall": {"name": tool, "args": arguments}}]
    return []


def _gemini(request: Request, steps: Sequence[Step], pace: Pace) -> Iterator[bytes]:
    for step in steps:
        if isinstance(step, Hold):
            pace.hold()
        for part in _gemini_parts(step):
            yield sse(_gemini_piece(request, [part]))
            pace.rest(step.interval if isinstance(step, Text) else 0.0)
    yield sse(_gemini_piece(request, [{"text": ""}], "STOP"))
