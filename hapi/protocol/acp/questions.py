"""An agent's questions to a person: as the page draws them, and the answers that come back.

Hubs and pages know the shape of Claude Code's tool `AskUserQuestion` (session.md 6):
`{"questions": [{question, header, multiSelect, options: [{label, description}]}]}`, answered by
`{question: [answer, …]}` or `{id: {"answers": [answer, …]}}`. Our own keys of a question (`id`,
`kind`, `required`, `other`, `default`, `url`, limits) are optional for everyone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from attrs import evolve, field, frozen

from hapi.protocol.acp.permission_requests import PermissionOption
from hapi.protocol.acp.values import mapping, objects, text_or_none

QUESTION_TOOL = "AskUserQuestion"
YES, NO = "Yes", "No"

Kind = Literal["text", "number", "integer", "boolean", "choice", "choices", "confirm"]


@frozen
class QuestionChoice:
    value: str  # what the agent calls it
    label: str  # what people read and what their answers say
    description: str | None = None


@frozen
class Question:
    """One question.

    `other` names the field of the agent that takes free text beside the choices; None if there is
    none. `other_choice` is the choice that the agent wants with that text. `default` and answers
    are labels of choices, or text. `limits` are those of JSON Schema (`minLength`, `maximum`, …).
    """

    id: str
    text: str
    kind: Kind
    header: str | None = None
    choices: tuple[QuestionChoice, ...] = ()
    required: bool = False
    other: str | None = None
    other_choice: str | None = None
    default: tuple[str, ...] = ()
    url: str | None = None
    limits: Mapping[str, Any] = field(factory=dict)

    def choice(self, answer: str) -> QuestionChoice | None:
        """The choice that an answer names by its label, or else by its value."""
        for name in ("label", "value"):
            for choice in self.choices:
                if getattr(choice, name) == answer:
                    return choice
        return None

    def published(self) -> dict[str, Any]:
        """The question in the shape of `AskUserQuestion`, with our keys."""
        options = [
            {"label": choice.label, "description": choice.description or ""}
            for choice in self.choices
        ]
        ours: dict[str, Any] = {
            "id": self.id,
            "kind": self.kind,
            "required": self.required,
            "other": self.other is not None,
            **self.limits,
        }
        if self.default:
            ours["default"] = list(self.default)
        if self.url is not None:
            ours["url"] = self.url
        return {
            "question": self.text,
            "header": self.header or "",
            "multiSelect": self.kind == "choices",
            "options": options,
            **ours,
        }


def question_arguments(questions: Sequence[Question]) -> dict[str, Any]:
    """The arguments of the request that asks `questions`."""
    return {"questions": [question.published() for question in questions]}


def distinct(questions: Sequence[Question]) -> tuple[Question, ...]:
    """`questions` with texts that differ, because answers may be given by text."""
    seen: set[str] = set()
    found = []
    for number, question in enumerate(questions, 1):
        text = question.text
        if text in seen:
            text = f"{text} ({question.header or question.id or number})"
        if text in seen:
            text = f"{text} ({number})"
        seen.add(text)
        found.append(evolve(question, text=text))
    return tuple(found)


def questions_of_tool(arguments: Any) -> tuple[Question, ...]:
    """The questions in the arguments of a tool that asks a person; () for every other tool."""
    found = []
    for index, item in enumerate(objects(mapping(arguments).get("questions"))):
        text = text_or_none(item.get("question"))
        if text is None:
            continue
        choices = tuple(
            QuestionChoice(label, label, text_or_none(option.get("description")))
            for option in _options(item.get("options"))
            if (label := text_or_none(option.get("label")))
        )
        kind: Kind = "text" if not choices else "choice"
        if choices and item.get("multiSelect") is True:
            kind = "choices"
        found.append(
            Question(
                text_or_none(item.get("id")) or str(index),
                text,
                kind,
                text_or_none(item.get("header")),
                choices,
                other="other" if choices else None,
            )
        )
    return distinct(found)


def _options(listed: Any) -> list[Mapping[str, Any]]:
    """The options of a question; some agents give them as plain strings."""
    if not isinstance(listed, list):
        return []
    found = [{"label": item} if isinstance(item, str) else item for item in listed]
    return [item for item in found if isinstance(item, dict)]


def read_answers(questions: Sequence[Question], answers: Any) -> dict[str, tuple[str, ...]]:
    """The answers that were given, by the id of the question; without those left empty.

    They may be keyed by the question's id, text, header or index.
    """
    given = mapping(answers)
    found: dict[str, tuple[str, ...]] = {}
    for index, question in enumerate(questions):
        for key in (question.id, question.text, question.header, str(index)):
            if key is not None and key in given:
                if values := _values(given[key]):
                    found[question.id] = values
                break
    return found


def _values(value: Any) -> tuple[str, ...]:
    if isinstance(value, Mapping):
        value = value.get("answers")
    listed = value if isinstance(value, list) else [value]
    texts = (_text(item) for item in listed if item is not None)
    return tuple(text for text in texts if text.strip())


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return YES if value else NO
    return value if isinstance(value, str) else str(value)


def answers_in_words(questions: Sequence[Question], answers: Mapping[str, Sequence[str]]) -> str:
    """Questions and answers for the conversation, a line for each answered question."""
    return "\n".join(
        f"{question.text}: {', '.join(answers[question.id])}"
        for question in questions
        if question.id in answers
    )


def selected_option(
    questions: Sequence[Question],
    answers: Mapping[str, Sequence[str]],
    options: Sequence[PermissionOption],
) -> dict[str, Any]:
    """The answer to a permission request that consists of questions.

    An option that is named like the chosen answer is selected, else the one that submits. Beside
    it, `answers` has the answers by the index of the question: the extension of Qwen Code, whose
    tool `ask_user_question` reads only them. Raises ValueError with a sentence.
    """
    if not answers:
        raise ValueError("The questions need an answer")
    labels = {choice.label for question in questions for choice in question.choices}
    allowing = [option for option in options if not option.kind.startswith("reject")]
    given = [answer for question in questions for answer in answers.get(question.id, ())]
    free = [answer for answer in given if answer not in labels]
    named = [option for option in allowing if len(questions) == 1 and option.name in given]
    others = [option for option in allowing if option.name not in labels]
    selected = next(iter(others if free or not named else named), None)
    if selected is None:
        raise ValueError("The agent takes only one of its own choices as the answer")
    return {
        "outcome": {"outcome": "selected", "optionId": selected.id},
        "answers": {
            str(index): ", ".join(answers[question.id])
            for index, question in enumerate(questions)
            if question.id in answers
        },
    }
