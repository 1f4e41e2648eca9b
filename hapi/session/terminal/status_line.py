"""The last line of the terminal: what the session is, as far as it fits. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from attrs import frozen

SEPARATOR = " · "


@frozen
class SessionStatus:
    """`mode`, `model`: None if the agent has none. `context`: tokens used and their limit.
    `working`: seconds of the turn that runs; None: no turn."""

    is_ready: bool = True
    mode: str | None = None
    model: str | None = None
    context: tuple[int, int] | None = None
    is_connected: bool = True
    is_watched: bool = False  # a page shows the session
    working: float | None = None
    notice: str = ""
    queued: int = 0  # prompts that wait


def status_texts(status: SessionStatus) -> list[str]:
    """What the line tells, the most important first."""
    if not status.is_ready:
        return ["starting", *([] if status.is_connected else ["hub not connected"])]
    found = [status.notice] if status.notice else []
    if status.working is not None:
        found.append(f"working {status.working:.0f} s")
    if not status.is_connected:
        found.append("hub not connected")
    if status.mode:
        found.append(_named(status.mode, "mode"))
    if status.model:
        found.append(_named(status.model, "model"))
    if status.queued:
        found.append(f"{status.queued} queued")
    if status.context is not None:
        found.append(context_text(*status.context))
    if status.is_watched:
        found.append("watched on the page")
    found.append("? help")
    return found


def _named(name: str, what: str) -> str:
    """A mode or a model; of what it is the usual one, if that is all that its name says."""
    return f"{name} {what}" if name == "default" else name


def context_text(used: int, limit: int) -> str:
    """How full the model's context is."""
    if limit <= 0:
        return f"context {_short(used)}"
    return f"context {100 * used / limit:.0f} % of {_short(limit)}"


def _short(count: int) -> str:
    for size, unit in ((1_000_000, "M"), (1_000, "k")):
        if count >= size:
            return f"{count / size:.3g}{unit}"
    return str(count)


def fitting(texts: Sequence[str], columns: int, keeps_last: bool = False) -> str:
    """As many of `texts` as a line of that width has room for; the first one is cut off.
    `keeps_last`: the last one is left out last of those after the first."""
    shown = texts[0][:columns] if texts else ""
    last = texts[-1] if keeps_last and len(texts) > 1 else ""
    kept = len(SEPARATOR) + len(last) if last else 0
    if len(shown) + kept > columns:
        last, kept = "", 0
    for text in texts[1:-1] if last else texts[1:]:
        if len(shown) + len(SEPARATOR) + len(text) + kept <= columns:
            shown += SEPARATOR + text
    return f"{shown}{SEPARATOR}{last}" if last else shown
