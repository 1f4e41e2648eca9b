"""An agent's questions in a terminal: one after the other, answered by typed lines. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from attrs import define, field

from hapi.protocol.acp.questions import Question, read_answers
from hapi.protocol.permissions import PermissionAnswer, PermissionOutcome

MAX_DIGITS = 9  # of the number of a choice; more are as good as none
DECLINE = ("d", "decline")


def asked_lines(questions: Sequence[Question]) -> Iterator[str]:
    """The questions, without their choices."""
    for question in questions:
        header = f"[{question.header}] " if question.header else ""
        yield from (line for line in f"{header}{question.text}".splitlines() if line)


def answered_lines(questions: Sequence[Question], settled: PermissionOutcome) -> Iterator[str]:
    """What was answered, a line for each question if there are several."""
    if settled.status != "approved":
        declined = "Declined to answer" if settled.status == "denied" else "Not answered"
        yield f"{declined}: {settled.reason}" if settled.reason else declined
        return
    given = read_answers(questions, settled.answers)
    for question in questions:
        answers = given.get(question.id)
        if answers is None and settled.answers is None:
            answers = question.default  # as a plain approval answers
        last_line = (question.header or question.text).rstrip().rpartition("\n")[2]
        name = f" {last_line}" if len(questions) > 1 else ""
        yield f"Answered{name}: {', '.join(answers)}" if answers else f"Left out{name}"


@define
class QuestionForm:
    """The answers so far to the questions of one request."""

    request_id: str
    questions: tuple[Question, ...]
    answers: dict[str, list[str]] = field(factory=dict)
    _next: int = 0

    @property
    def current(self) -> Question:
        return self.questions[self._next]

    def lines(self) -> Iterator[str]:
        """The current question with its numbered choices."""
        question = self.current
        header = f"[{question.header}] " if question.header else ""
        first, *rest = f"{header}{question.text}".splitlines()
        yield first
        yield from (line for line in rest if line)
        for number, choice in enumerate(question.choices, 1):
            description = f" ({choice.description})" if choice.description else ""
            yield f"{number}. {choice.label}{description}"

    def hint(self) -> str:
        """What may be typed, in words."""
        question, count = self.current, len(self.current.choices)
        if question.kind == "choices":
            wanted = f"numbers from 1 to {count}, such as 1,{count}"
        elif question.choices:
            wanted = f"1-{count}" if count > 1 else "1"
        else:
            wanted = {"integer": "a whole number", "number": "a number"}.get(question.kind, "text")
        if question.other is not None and question.choices:
            wanted += ", or another answer"
        if question.default:
            wanted += f", or Enter for {', '.join(question.default)}"
        elif not question.required:
            wanted += ", or Enter to leave it out"
        return f"{wanted}, or d (decline)"

    def take(self, typed: str) -> PermissionAnswer | str | None:
        """Take a typed line.

        Returns the whole answer after the last question, a sentence if the line is no answer, or
        None: the next question is current.
        """
        if typed.lower() in DECLINE:
            return PermissionAnswer(self.request_id, False, "denied", "denied")
        given = self._read(typed)
        return f"Please answer {self.hint()}." if given is None else self.give(given)

    def give(self, given: Sequence[str]) -> PermissionAnswer | str | None:
        """As `take`, with the answers themselves: labels of choices, or text."""
        if not given and self.current.required:
            return f"Please answer {self.hint()}."
        self.answers.pop(self.current.id, None)
        if given:
            self.answers[self.current.id] = list(given)
        self._next += 1
        if self._next < len(self.questions):
            return None
        self._next = 0
        return PermissionAnswer(self.request_id, True, "approved", answers=dict(self.answers))

    def _read(self, typed: str) -> list[str] | None:
        """The answers in a typed line, [] for none; None if it is no answer."""
        question = self.current
        if not typed:
            return list(question.default) if question.default or not question.required else None
        if not question.choices:
            return [typed]
        words = re.split(r"[,\s]+", typed.strip(", "))
        if all(word.isdecimal() for word in words):
            numbers = [int(word[:MAX_DIGITS]) for word in words]
            if all(1 <= number <= len(question.choices) for number in numbers):
                return [question.choices[number - 1].label for number in numbers]
        if question.choice(typed) is not None or question.other is not None:
            return [typed]
        return None
