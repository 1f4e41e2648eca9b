"""Elicitation: an agent asks for a form to be filled in, or for a page to be visited.

https://agentclientprotocol.com/protocol/v1/elicitation: `elicitation/create` with mode `form` has
a JSON Schema of flat properties (string, number, integer, boolean, one of an enum, several of an
enum); with mode `url` it has an address and an id, whose end `elicitation/complete` tells. The
answer is `{"action": "accept", "content": {…}}`, `decline` or `cancel`.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

from attrs import evolve, frozen

from hapi.protocol.acp.questions import (
    NO,
    YES,
    Kind,
    Question,
    QuestionChoice,
    distinct,
)
from hapi.protocol.acp.values import mapping, objects, text_or_none
from hapi.protocol.json import Malformed

CAPABILITY: Mapping[str, Any] = {"form": {}, "url": {}}  # for `clientCapabilities.elicitation`
DECLINE, CANCEL = {"action": "decline"}, {"action": "cancel"}
CONTINUE, DONE = "Continue", "Done"
MAX_QUESTIONS = 100  # of one form; more is no form for people
MAX_INTEGER = 2**63 - 1  # what JSON readers take
MAX_CHOICES = 500  # of one question: a page shows them all
_TYPES: Mapping[Any, Kind] = {"number": "number", "integer": "integer", "boolean": "boolean"}
_LIMITS = (
    *("minLength", "maxLength", "pattern", "format", "minimum", "maximum"),
    *("minItems", "maxItems"),
)
_CODEX_OTHER = "None of the above"  # codex-acp's choice for an answer in its note field


@frozen
class Elicitation:
    """What an agent asks. `call_id`: the tool call it belongs to; `id`: that of a visit."""

    questions: tuple[Question, ...]
    call_id: str | None = None
    id: str | None = None


def read_elicitation(params: Mapping[str, Any]) -> Elicitation:
    """Read the parameters of `elicitation/create`. Raises Malformed, also for unknown modes."""
    message = text_or_none(params.get("message")) or "The agent asks for an answer."
    call_id = text_or_none(params.get("toolCallId"))
    match params.get("mode", "form"):
        case "url":
            url = text_or_none(params.get("url"))
            if url is None or _scheme(url) not in ("http", "https"):
                raise Malformed("an elicitation in mode url needs an http or https address")
            question = Question(
                "", f"{message}\n\n{url}", "confirm", "Visit", _confirm(DONE), True, url=url
            )
            return Elicitation((question,), call_id, text_or_none(params.get("elicitationId")))
        case "form":
            return Elicitation(_form(message, mapping(params.get("requestedSchema"))), call_id)
        case mode:
            raise Malformed(f"elicitation mode {mode!r} is not supported")


def _form(message: str, schema: Mapping[str, Any]) -> tuple[Question, ...]:
    properties = mapping(schema.get("properties"))
    if len(properties) > MAX_QUESTIONS:
        raise Malformed(f"a form of more than {MAX_QUESTIONS} questions")
    listed = schema.get("required")
    required = set(map(str, listed)) if isinstance(listed, list) else set()
    found = {
        name: _question(name, mapping(item), name in required) for name, item in properties.items()
    }
    for name, item in properties.items():
        owner = _owner_of_other(name, mapping(item), found)
        if owner is not None:
            del found[name]
            other = found[owner].choice(_CODEX_OTHER)
            found[owner] = evolve(
                found[owner], other=name, other_choice=other.value if other else None
            )
    questions = list(found.values())
    if not questions:
        return (Question("", message, "confirm", None, _confirm(CONTINUE), True),)
    if len(questions) == 1:
        only = questions[0]
        header = only.header or (only.text if only.text != only.id else None)
        hint = f"\n\n{only.text}" if only.header is not None else ""
        return (evolve(only, text=f"{message}{hint}", header=header),)
    questions[0] = evolve(questions[0], text=f"{message}\n\n{questions[0].text}")
    return distinct(questions)


def _question(name: str, item: Mapping[str, Any], required: bool) -> Question:
    title, description = text_or_none(item.get("title")), text_or_none(item.get("description"))
    if mapping(mapping(item.get("_meta")).get("codex")) and title and description:
        title, description = description, title  # Codex has the question in the title
    kind = item.get("type")
    choices: tuple[QuestionChoice, ...] = ()
    if kind == "array":
        choices, named = _choices(mapping(item.get("items"))), "choices"
    elif choices := _choices(item):
        named = "choice"
    elif kind == "boolean":
        choices, named = (QuestionChoice("true", YES), QuestionChoice("false", NO)), "boolean"
    else:
        named = _TYPES.get(kind if isinstance(kind, str) else None, "text")
    question = Question(
        name,
        description or title or name,
        named,  # type: ignore[arg-type]
        title if description else None,
        choices,
        required,
        limits={key: item[key] for key in _LIMITS if item.get(key) is not None},
    )
    return evolve(question, default=_default(question, item.get("default")))


def _scheme(url: str) -> str | None:
    try:
        return urlsplit(url).scheme
    except ValueError:
        return None


def _choices(item: Mapping[str, Any]) -> tuple[QuestionChoice, ...]:
    """The choices of an enum: `oneOf` or `anyOf` with titles, or `enum`, or none."""
    titled = objects(item.get("oneOf")) or objects(item.get("anyOf"))
    found = [
        QuestionChoice(
            value,
            text_or_none(option.get("title")) or value,
            text_or_none(option.get("description")),
        )
        for option in titled
        if isinstance(value := option.get("const"), str)
    ]
    plain, names = item.get("enum"), item.get("enumNames")
    if not found and isinstance(plain, list):
        shown = names if isinstance(names, list) and len(names) == len(plain) else plain
        found = [
            QuestionChoice(value, label if isinstance(label, str) and label else value)
            for value, label in zip(plain, shown, strict=True)
            if isinstance(value, str)
        ]
    if len(found) > MAX_CHOICES:
        raise Malformed(f"a question has more than {MAX_CHOICES} choices")
    labels = Counter(choice.label for choice in found)
    return tuple(
        choice if labels[choice.label] == 1 else evolve(choice, label=choice.value)
        for choice in found
    )


def _default(question: Question, value: Any) -> tuple[str, ...]:
    if isinstance(value, bool):
        return (YES if value else NO,)
    listed = value if isinstance(value, list) else [value]
    texts = [str(item) for item in listed if isinstance(item, str | int | float)]
    if not question.choices:
        return tuple(text for text in texts if text)
    chosen = (question.choice(text) for text in texts)
    return tuple(choice.label for choice in chosen if choice is not None)


def _owner_of_other(
    name: str, item: Mapping[str, Any], questions: Mapping[str, Question]
) -> str | None:
    """The question to which `name` is the free text beside its choices.

    claude-agent-acp calls it `<question>_custom`; codex-acp says so in `_meta`.
    """
    question = questions[name]
    if question.kind != "text" or question.required:
        return None
    codex = mapping(mapping(item.get("_meta")).get("codex"))
    owner = name.removesuffix("_custom")
    if codex.get("role") == "user_note":
        owner = str(codex.get("questionId"))
    found = questions.get(owner) if owner != name else None
    return owner if found is not None and found.kind in ("choice", "choices") else None


def _confirm(label: str) -> tuple[QuestionChoice, ...]:
    return (QuestionChoice(label, label),)


def accepted(questions: Sequence[Question], answers: Mapping[str, Sequence[str]]) -> dict[str, Any]:
    """The answer `accept` with the content that the agent's schema wants.

    Raises ValueError with a sentence for the person whose answers do not fit.
    """
    content: dict[str, Any] = {}
    for question in questions:
        given = tuple(answers.get(question.id, ()))
        if question.kind == "confirm":
            continue
        content |= _content(question, given)
        if question.required and question.id not in content and question.other not in content:
            raise ValueError(f"“{question.text}” needs an answer")
    if all(question.kind == "confirm" for question in questions):
        return {"action": "accept"}
    return {"action": "accept", "content": content}


def _content(question: Question, given: tuple[str, ...]) -> dict[str, Any]:
    if question.kind in ("choice", "choices"):
        return _chosen(question, given)
    if not given:
        return {}
    if len(given) > 1:
        raise ValueError(f"“{question.text}” takes one answer")
    text = given[0]
    match question.kind:
        case "boolean":
            choice = question.choice(text) or question.choice(text.strip().lower())
            if choice is None:
                raise ValueError(f"“{question.text}” takes {YES} or {NO}")
            return {question.id: choice.value == "true"}
        case "integer" | "number":
            return {question.id: _number(question, text)}
    _check_size(question, len(text), "Length", "characters")
    return {question.id: text}


def _chosen(question: Question, given: tuple[str, ...]) -> dict[str, Any]:
    content: dict[str, Any] = {}
    chosen = [choice.value for answer in given if (choice := question.choice(answer))]
    typed = [answer for answer in given if question.choice(answer) is None]
    if typed and question.other is None:
        raise ValueError(f"“{typed[0]}” is not one of the choices of “{question.text}”")
    if typed and question.other is not None:
        content[question.other] = ", ".join(typed)
    if typed and not chosen and question.other_choice is not None:
        chosen = [question.other_choice]
    if question.kind == "choices":
        if chosen or not typed:
            _check_size(question, len(chosen), "Items", "choices")
        return content | ({question.id: chosen} if chosen else {})
    if len(chosen) > 1:
        raise ValueError(f"“{question.text}” takes one choice")
    return content | ({question.id: chosen[0]} if chosen else {})


def _number(question: Question, text: str) -> int | float:
    try:
        value: int | float = int(text) if question.kind == "integer" else float(text)
        if isinstance(value, int) and abs(value) > MAX_INTEGER:
            raise ValueError
    except ValueError:
        wanted = "a whole number" if question.kind == "integer" else "a number"
        raise ValueError(f"“{question.text}” takes {wanted}") from None
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError(f"“{question.text}” takes a number")
    if value < (low := _limit(question, "minimum", -math.inf)):
        raise ValueError(f"“{question.text}” takes a number of at least {low:g}")
    if value > (high := _limit(question, "maximum", math.inf)):
        raise ValueError(f"“{question.text}” takes a number of at most {high:g}")
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _check_size(question: Question, size: int, what: str, unit: str) -> None:
    if size < (low := _limit(question, f"min{what}", 0)) and (size > 0 or question.required):
        raise ValueError(f"“{question.text}” takes at least {low:g} {unit}")
    if size > (high := _limit(question, f"max{what}", math.inf)):
        raise ValueError(f"“{question.text}” takes at most {high:g} {unit}")


def _limit(question: Question, name: str, otherwise: float) -> float:
    found = question.limits.get(name)
    is_number = isinstance(found, int | float) and not isinstance(found, bool)
    return found if is_number else otherwise  # type: ignore[return-value]
