"""Sessions that a person names by the beginning of their id."""

from __future__ import annotations

from collections.abc import Iterable

from hapi.cli.base.errors import CommandError
from hapi.redaction import escape_control


def id_named(name: str, ids: Iterable[object]) -> str | None:
    """The one of `ids` that is `name` or begins with it, None if there is none.

    What is no text in `ids` is left out. Raises CommandError if several begin with `name`.
    """
    found = {each for each in ids if isinstance(each, str) and each.startswith(name)}
    if not name or not found:
        return None
    if name in found:
        return name
    if len(found) > 1:
        raise CommandError(
            f"{len(found)} sessions have an id that begins with {escape_control(name)}"
        )
    return found.pop()
