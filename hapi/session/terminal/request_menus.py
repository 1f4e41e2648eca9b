"""Permission requests and questions as menus: what may be chosen, and the answer it is. Pure."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from hapi.protocol.acp.permission_requests import PermissionOption
from hapi.protocol.acp.questions import Question
from hapi.protocol.permissions import PermissionAnswer
from hapi.session.agent.permissions import PendingPermission
from hapi.session.terminal.menus import Item, Menu
from hapi.session.terminal.question_prompt import QuestionForm
from hapi.session.terminal.text import printable

REASON = "Tell it what to do instead: "
_KEYS = {"approved": "y", "approved_for_session": "a", "denied": "n"}


def permission_menu(
    pending: PendingPermission, title: str, decide: Callable[[PermissionAnswer], object]
) -> Menu:
    """The agent's own options; beside them always a denial that says what to do instead."""
    request, request_id = pending.asked, pending.request_id
    choices: list[tuple[Item, PermissionAnswer]] = []
    keys = set()
    decisions = _KEYS if request.has_plain_options else {}
    for option in request.options:
        decision = next((each for each in decisions if request.option_for(each) is option), None)
        key = _KEYS[decision] if decision is not None else ""
        keys.add(key)
        choices.append((Item(printable(option.name), key=key), _answer(request_id, option)))
    if decisions:
        may_allow = not request.options or any(key in ("y", "a") for key in keys)
        choices += _missing(request_id, keys, may_allow)
    denial = PermissionAnswer(request_id, False, "denied", "denied")
    choices.append((Item("No, and say what to do instead", key="r", field=REASON), denial))
    if not decisions and not any(option.kind.startswith("reject") for option in request.options):
        choices.insert(-1, (Item("No", key="n"), denial))

    def chosen(numbers: list[int], text: str | None) -> None:
        answer = choices[numbers[0]][1]
        if text is not None:
            answer = PermissionAnswer(
                request_id, False, "denied", "denied", reason=text.strip() or None
            )
        decide(answer)

    items = [item for item, _ in choices]
    return Menu(request_id, title, items, chosen, note="The page can answer, too")


def _answer(request_id: str, option: PermissionOption) -> PermissionAnswer:
    is_approved = not option.kind.startswith("reject")
    return PermissionAnswer(
        request_id, is_approved, "approved" if is_approved else "denied", option_id=option.id
    )


def _missing(
    request_id: str, keys: set[str], may_allow: bool
) -> list[tuple[Item, PermissionAnswer]]:
    """What may be answered although the agent has no option for it: HAPI remembers what is always
    allowed, for this session."""
    offered = (
        ("y", "Yes", True, "approved"),
        ("a", "Yes, and do not ask again in this session", True, "approved_for_session"),
        ("n", "No", False, "denied"),
    )
    return [
        (Item(label, key=key), PermissionAnswer(request_id, approved, decision, decision))
        for key, label, approved, decision in offered
        if key not in keys and (may_allow or not approved)
    ]


def question_menu(
    form: QuestionForm,
    title: str,
    give: Callable[[Sequence[str]], object],
    decline: Callable[[], object],
) -> Menu:
    """The current question of `form`. `give` gets the answers; none leave the question out."""
    question = form.current
    choices: list[tuple[Item, Sequence[str] | None]] = [
        (Item(printable(each.label), printable(each.description or "")), [each.label])
        for each in question.choices
    ]
    marked, current = set(), 0
    for number, each in enumerate(question.choices):
        if each.label in question.default:
            marked.add(number)
            current = number
    if question.other is not None or not question.choices:
        draft = question.default[0] if question.default and not question.choices else ""
        label = "Another answer" if question.choices else "Write an answer"
        choices.append((Item(label, key="w", field=_field_label(question), draft=draft), []))
    if not question.required:
        choices.append((Item("Leave it out", key="l"), []))
    choices.append((Item("Decline to answer", key="d"), None))
    count = len(question.choices)

    def chosen(numbers: list[int], text: str | None) -> None:
        if text is not None:
            marked = [question.choices[number].label for number in sorted(menu.marked)]
            give([*marked, text] if text.strip() else marked)
        elif any(number >= count for number in numbers):
            answer = choices[numbers[0]][1]
            decline() if answer is None else give(answer)
        else:
            give([question.choices[number].label for number in numbers])

    menu = Menu(
        form.request_id, title, [item for item, _ in choices], chosen, note="Or on the page"
    )
    menu.is_multiple, menu.choices = question.kind == "choices", count
    menu.current = current
    menu.marked = marked if menu.is_multiple else set()
    return menu


def _field_label(question: Question) -> str:
    return {"integer": "A whole number: ", "number": "A number: "}.get(question.kind, "Answer: ")
