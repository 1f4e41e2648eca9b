"""`hapi sessions answer`: answer an agent's questions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click

from hapi.cli.base.common_options import json_flag
from hapi.cli.base.errors import USAGE, CommandError
from hapi.cli.base.output import echo, print_json
from hapi.cli.commands.sessions.ask import EPILOG, active_session_argument, ask_hub, find_session
from hapi.protocol.acp.questions import Question, questions_of_tool
from hapi.redaction import escape_control

if TYPE_CHECKING:
    from hapi.client import ApiClient, PermissionRequest

Answers = dict[str, list[str]]  # by the text of the question


@click.command("answer", epilog=EPILOG, short_help="Answer an agent's questions.")
@active_session_argument
@click.argument("answers", nargs=-1, metavar="[ANSWER]...")
@click.option("--request", metavar="REQUEST", help="The request, if several questions are open.")
@click.option(
    "--to",
    "named",
    metavar="QUESTION=ANSWER",
    multiple=True,
    help="Answer one question, named by its number, id, header or text; may be repeated.",
)
@json_flag
def command(
    session_id: str,
    answers: tuple[str, ...],
    request: str | None,
    named: tuple[str, ...],
    as_json: bool,
) -> None:
    """Answer the questions that the agent in the session ID asks, in their order.

    An ANSWER is the number of a choice or its text, or free text where the question allows it; for
    a question with several choices, numbers with commas between, such as 1,3. Without an ANSWER the
    questions are printed.
    """

    async def act(client: ApiClient) -> tuple[str, PermissionRequest, Answers]:
        found = await find_session(client, session_id)
        asked = find_question((await client.session(found)).requests, request)
        questions = questions_of_tool(asked.arguments)
        given = read_words(questions, answers, named)
        if given:
            await client.approve(found, asked.id, answers=as_answers(asked, questions, given))
        return found, asked, given

    found, asked, given = ask_hub(act)
    questions = questions_of_tool(asked.arguments)
    if as_json:
        told: dict[str, Any] = {"sessionId": found, "requestId": asked.id}
        listed = asked.arguments.get("questions") if isinstance(asked.arguments, dict) else None
        print_json(told | ({"answers": given} if given else {"questions": listed}))
    elif given:
        echo("Question answered" if len(questions) == 1 else "Questions answered")
    else:
        _print_questions(asked, questions)


def find_question(
    requests: Sequence[PermissionRequest], request_id: str | None
) -> PermissionRequest:
    """The request with questions: the one named, or the only one. Raises CommandError."""
    found = [
        each
        for each in requests
        if questions_of_tool(each.arguments) and request_id in (None, each.id)
    ]
    if len(found) == 1:
        return found[0]
    if not found:
        what = "no question is open" if request_id is None else f"no question {request_id} is open"
        raise CommandError(f"{what} in this session")
    ids = ", ".join(each.id for each in found)
    raise CommandError(f"several questions are open; name one with --request: {ids}")


def read_words(
    questions: Sequence[Question], answers: Sequence[str], named: Sequence[str]
) -> Answers:
    """The answers that the words of the command line give. Raises CommandError."""
    if len(answers) > len(questions):
        raise CommandError(f"there are {len(answers)} answers to {len(questions)} questions", USAGE)
    pairs = list(zip(questions, answers, strict=False))
    for word in named:
        pairs.append(_named(questions, word))
    found: Answers = {}
    for question, answer in pairs:
        if question.text in found:
            raise CommandError(f"the question {question.text!r} is answered twice", USAGE)
        found[question.text] = _choices(question, answer)
    return found


def _named(questions: Sequence[Question], word: str) -> tuple[Question, str]:
    """The question and the answer of `QUESTION=ANSWER`; the question's text may hold a `=`."""
    for number, question in enumerate(questions, 1):
        for name in (str(number), question.id, question.header, question.text):
            if name and word.startswith(f"{name}="):
                return question, word.removeprefix(f"{name}=")
    if "=" not in word:
        raise CommandError(f"--to needs QUESTION=ANSWER, not {word!r}", USAGE)
    names = ", ".join(f"{n} ({each.text})" for n, each in enumerate(questions, 1))
    raise CommandError(f"no question is named {word.partition('=')[0]!r}; there are {names}", USAGE)


def _choices(question: Question, answer: str) -> list[str]:
    if not answer.strip():
        raise CommandError(f"the answer to {question.text!r} is empty", USAGE)
    if not question.choices:
        return [answer]
    labels = [choice.label for choice in question.choices]
    parts = [part.strip() for part in answer.split(",")] if question.kind == "choices" else []
    for words in ([answer.strip()], parts):
        chosen = [_label(labels, word) for word in words]
        if words and None not in chosen:
            return [label for label in chosen if label is not None]
    if answer.strip().isdecimal():
        raise CommandError(
            f"{question.text!r} has {len(labels)} choices, no {answer.strip()}", USAGE
        )
    if question.other is None:
        raise CommandError(f"{question.text!r} takes one of {', '.join(labels)}", USAGE)
    return [answer]


def _label(labels: Sequence[str], word: str) -> str | None:
    """The choice that a word names by its text or its number."""
    if word in labels:
        return word
    same = [label for label in labels if label.casefold() == word.casefold()]
    if len(same) == 1:
        return same[0]
    is_number = word.isascii() and word.isdecimal() and len(word) < 4
    return labels[int(word) - 1] if is_number and 0 < int(word) <= len(labels) else None


def as_answers(
    asked: PermissionRequest, questions: Sequence[Question], given: Answers
) -> dict[str, Any]:
    """The answers as sessions take them: by id where the agent names its questions, else by
    text.
    """
    listed = asked.arguments.get("questions") or []
    if all(isinstance(each, dict) and each.get("id") for each in listed):
        ids = {question.text: question.id for question in questions}
        return {ids[text]: {"answers": answers} for text, answers in given.items()}
    return dict(given)


def _print_questions(asked: PermissionRequest, questions: Sequence[Question]) -> None:
    echo(f"Request {escape_control(asked.id)}")
    for number, question in enumerate(questions, 1):
        header = f"[{escape_control(question.header)}] " if question.header else ""
        several = " (several)" if question.kind == "choices" else ""
        echo(f"{number}. {header}{escape_control(' '.join(question.text.split()))}{several}")
        for index, choice in enumerate(question.choices, 1):
            described = f": {escape_control(choice.description)}" if choice.description else ""
            echo(f"   {index}) {escape_control(choice.label)}{described}")
