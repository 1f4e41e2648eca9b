"""What agents ask a model, read from the requests of four APIs: OpenAI chat completions and
responses, Anthropic messages, Gemini generateContent."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from attrs import field, frozen

Json = dict[str, Any]
# What agents add to a prompt for the model alone.
ASIDES = re.compile(
    r"<(system-reminder|environment_context|user_instructions|session_context|system_context"
    r"|environment_details|permissions instructions|INSTRUCTIONS)>.*?</\1>",
    re.DOTALL,
)


@frozen
class Request:
    """One request. `tools`: the JSON schema of the arguments by name; `pictures`: how many the last
    message of the user has; `output`: the result of the tool that was called before."""

    api: str
    model: str
    prompt: str
    output: str | None
    tools: Mapping[str, Json] = field(repr=False)
    pictures: int
    streamed: bool
    free_form: frozenset[str] = frozenset()  # tools that take a text instead of arguments
    wanted: Json | None = None  # the JSON schema that the answer itself must follow
    body: Json = field(factory=dict, repr=False)
    prompts: tuple[str, ...] = ()  # all prompts of the conversation, the oldest first

    def __contains__(self, text: str) -> bool:
        """Whether the text is anywhere in the request, the history included."""
        return json.dumps(text, ensure_ascii=False)[1:-1] in json.dumps(
            self.body, ensure_ascii=False
        )


@frozen
class _Message:
    role: str
    texts: tuple[str, ...]
    pictures: int
    output: str | None


def read_request(path: str, body: Json) -> Request | None:
    """The request that was posted to `path`; None if it is of none of the four APIs."""
    if path.endswith("/chat/completions"):
        return _request("openai", body, body.get("messages"), _openai_message, _openai_tools(body))
    if path.endswith("/messages"):
        tools = {tool["name"]: tool.get("input_schema") or {} for tool in _named(body.get("tools"))}
        return _request("anthropic", body, body.get("messages"), _anthropic_message, tools)
    if path.endswith("/responses"):
        return _request(
            "responses",
            body,
            body.get("input"),
            _responses_message,
            dict(_responses_tools(body.get("tools"))),
            frozenset(
                tool["name"] for tool in _named(body.get("tools")) if tool.get("type") == "custom"
            ),
        )
    if "enerateContent" in path:
        model = path.rsplit("/", 1)[-1].split(":", maxsplit=1)[0]
        settings = body.get("generationConfig") or {}
        return _request(
            "gemini",
            {"model": model, "stream": ":stream" in path, **body},
            body.get("contents"),
            _gemini_message,
            _gemini_tools(body),
            wanted=settings.get("responseJsonSchema") or settings.get("responseSchema"),
        )
    return None


def _request(
    api: str,
    body: Json,
    messages: Any,
    read: Callable[[Json], _Message],
    tools: Mapping[str, Json],
    free_form: frozenset[str] = frozenset(),
    wanted: Json | None = None,
) -> Request | None:
    if isinstance(messages, str):
        messages = [{"role": "user", "content": messages}]
    if not messages:
        return None
    found = [read(message) for message in messages]
    found = [message for message in found if message.role not in ("system", "developer")]
    said = next((message for message in reversed(found) if _own_text(message)), None)
    last = found[-1] if found else None
    return Request(
        api,
        str(body.get("model") or ""),
        _own_text(said) if said is not None else "",
        last.output if last is not None and not _own_text(last) else None,
        tools,
        said.pictures if said is not None else 0,
        body.get("stream") is True,
        free_form,
        wanted,
        body,
        tuple(filter(None, map(_own_text, found))),
    )


def _own_text(message: _Message) -> str:
    """The last text that a person wrote in a message of the user."""
    if message.role != "user":
        return ""
    texts = [ASIDES.sub("", text).strip() for text in message.texts]
    return next((text for text in reversed(texts) if text), "")


def _named(tools: Any) -> list[Json]:
    return [tool for tool in tools or [] if isinstance(tool, dict) and tool.get("name")]


def _parts(content: Any, kinds: Sequence[str]) -> tuple[str, ...]:
    if isinstance(content, str):
        return (content,)
    return tuple(
        str(part.get("text") or "")
        for part in content or []
        if isinstance(part, dict) and part.get("type", "text") in kinds
    )


def _count(content: Any, kind: Callable[[Json], bool]) -> int:
    if not isinstance(content, list):
        return 0
    return sum(1 for part in content if isinstance(part, dict) and kind(part))


# --- OpenAI ---------------------------------------------------------------------------------------


def _openai_message(message: Json) -> _Message:
    content = message.get("content")
    texts = _parts(content, ("text",))
    is_output = message.get("role") == "tool"
    return _Message(
        str(message.get("role")),
        texts,
        _count(content, lambda part: part.get("type") in ("image_url", "image")),
        "\n".join(texts) if is_output else None,
    )


def _openai_tools(body: Json) -> dict[str, Json]:
    functions = [tool.get("function") for tool in body.get("tools") or []]
    return {each["name"]: each.get("parameters") or {} for each in _named(functions)}


def _responses_message(item: Json) -> _Message:
    content = item.get("content")
    if str(item.get("type")).endswith("_output"):
        output = item.get("output")
        said = output if isinstance(output, str) else json.dumps(output)
        return _Message("tool", (), 0, said)
    return _Message(
        str(item.get("role") or item.get("type")),
        _parts(content, ("input_text", "text")),
        _count(content, lambda part: part.get("type") == "input_image"),
        None,
    )


def _responses_tools(tools: Any) -> Iterator[tuple[str, Json]]:
    for tool in _named(tools):
        if isinstance(tool.get("tools"), list):  # a namespace
            yield from _responses_tools(tool["tools"])
        else:
            yield tool["name"], tool.get("parameters") or {}


# --- Anthropic ------------------------------------------------------------------------------------


def _anthropic_message(message: Json) -> _Message:
    content = message.get("content")
    results = (
        [part for part in content if isinstance(part, dict) and part.get("type") == "tool_result"]
        if isinstance(content, list)
        else []
    )
    return _Message(
        str(message.get("role")),
        _parts(content, ("text",)),
        _count(content, lambda part: part.get("type") == "image"),
        "\n".join(_parts(results[-1].get("content"), ("text",))) if results else None,
    )


# --- Gemini ---------------------------------------------------------------------------------------


def _gemini_message(message: Json) -> _Message:
    parts = [part for part in message.get("parts") or [] if isinstance(part, dict)]
    results = [part["functionResponse"] for part in parts if "functionResponse" in part]
    return _Message(
        str(message.get("role")),
        tuple(str(part["text"]) for part in parts if part.get("text")),
        sum(1 for part in parts if "inlineData" in part or "fileData" in part),
        json.dumps(results[-1].get("response")) if results else None,
    )


def _gemini_tools(body: Json) -> dict[str, Json]:
    declared = [
        function
        for tool in body.get("tools") or []
        for function in tool.get("functionDeclarations", [])
    ]
    return {
        each["name"]: each.get("parametersJsonSchema") or each.get("parameters") or {}
        for each in _named(declared)
    }
