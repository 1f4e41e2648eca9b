"""What OpenCode asks a person: permissions and questions, answered in its terminal or by the page.

The server that the program runs tells of them (`permission.asked`, `question.asked`) and takes the
answers. Whoever is first settles a request, and the other one sees it. Pure.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from attrs import define, evolve, field

from hapi.protocol.acp.questions import (
    QUESTION_TOOL,
    Question,
    question_arguments,
    questions_of_tool,
    read_answers,
)
from hapi.protocol.acp.values import mapping, objects, text_or_none
from hapi.protocol.permissions import PermissionAnswer
from hapi.session.local.interface import LocalRequest, Mirror

Json = Mapping[str, Any]
Reply = Callable[[str, Json], object]  # posts a body to a path of the server


@define(eq=False, repr=False)
class Requests:
    """`call` tells of a tool call by OpenCode's id of it: the id of its card, its title, its
    input."""

    _mirror: Mirror
    _reply: Reply
    _call: Callable[[Any], tuple[str, str, Any] | None]
    _waiting: dict[str, None] = field(factory=dict)

    def event(self, event: Json) -> None:
        """Take one event of `GET /event`."""
        properties = mapping(event.get("properties"))
        request_id = text_or_none(properties.get("requestID"))
        match event.get("type"):
            case "permission.asked":
                self._permission(properties)
            case "question.asked":
                self._question(properties)
            case "permission.replied" if request_id:
                self._settled(request_id, properties.get("reply") != "reject")
            case "question.replied" if request_id:
                self._settled(request_id, True)
            case "question.rejected" if request_id:
                self._settled(request_id, False)

    def listed(self, permissions: Any, questions: Any) -> None:
        """Take what `GET /permission` and `GET /question` list: all that waits now."""
        found = [*objects(permissions), *objects(questions)]
        still = {text_or_none(each.get("id")) for each in found}
        for request_id in self._waiting.keys() - still:
            self._settled(request_id, None)
        for each in objects(permissions):
            self._permission(each)
        for each in objects(questions):
            self._question(each)

    def finish(self) -> None:
        """The program has ended: nothing waits any more."""
        for request_id in tuple(self._waiting):
            self._settled(request_id, None)

    def _settled(self, request_id: str, approved: bool | None) -> None:
        if request_id in self._waiting:
            del self._waiting[request_id]
            self._mirror.settled(request_id, approved)

    def _ask(self, request: LocalRequest, answer: Callable[[PermissionAnswer], None]) -> None:
        if request.id not in self._waiting:
            self._waiting[request.id] = None
            self._mirror.request(request, answer)

    def _permission(self, asked: Json) -> None:
        request_id = text_or_none(asked.get("id"))
        if request_id is None:
            return
        what = text_or_none(asked.get("permission")) or "tool"
        given: Any = mapping(asked.get("metadata")) or {"patterns": asked.get("patterns")}
        known = self._call(mapping(asked.get("tool")).get("callID"))
        card, tool = None, what
        if known is not None:
            card, tool, given = known[0], known[1], known[2] or given

        def answer(answer: PermissionAnswer) -> None:
            self._reply(f"/permission/{request_id}/reply", _permission_reply(answer))

        self._ask(LocalRequest(request_id, tool, given, card), answer)

    def _question(self, asked: Json) -> None:
        request_id, questions = text_or_none(asked.get("id")), _questions(asked.get("questions"))
        if request_id is None or not questions:
            return
        known = self._call(mapping(asked.get("tool")).get("callID"))

        def answer(answer: PermissionAnswer) -> None:
            given = read_answers(questions, answer.answers) if answer.approved else {}
            if given:
                answers = [list(given.get(question.id, ())) for question in questions]
                self._reply(f"/question/{request_id}/reply", {"answers": answers})
            else:
                self._reply(f"/question/{request_id}/reject", {})

        arguments = question_arguments(questions)
        card = None if known is None else known[0]
        self._ask(LocalRequest(request_id, QUESTION_TOOL, arguments, card), answer)


def _permission_reply(answer: PermissionAnswer) -> Json:
    if answer.approved:
        return {"reply": "always" if answer.decision == "approved_for_session" else "once"}
    return {"reply": "reject"} | ({"message": answer.reason} if answer.reason else {})


def _questions(listed: Any) -> tuple[Question, ...]:
    """OpenCode says `multiple` for `multiSelect`; `custom` is false where no other answer fits."""
    items = objects(listed)
    shaped = [{**item, "multiSelect": item.get("multiple")} for item in items]
    found = questions_of_tool({"questions": shaped})
    if len(found) != len(items):
        return ()
    return tuple(
        evolve(question, other=None) if item.get("custom") is False else question
        for question, item in zip(found, items, strict=True)
    )
