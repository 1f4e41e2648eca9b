"""Which old entries of the audit are kept when there is no room for all.

Whoever asks most often loses entries first. The room is divided equally between the namespaces,
that of a namespace between its tokens, and that of a token between what it did, failed to do and
was refused. What one of them does not need is divided between the others.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from itertools import accumulate
from typing import TypeVar

import msgspec
from attrs import frozen

K = TypeVar("K")
LEVELS = 3  # the namespace, its token, and what that did


class _Origin(msgspec.Struct, frozen=True, rename="camel"):
    """What of an entry decides how long it is kept."""

    action: str
    outcome: str
    namespace: str = ""
    token_id: str = ""


_DECODER = msgspec.json.Decoder(_Origin)


@frozen
class _Line:
    number: int
    size: int  # bytes
    levels: tuple[str, ...]


def retained(lines: Iterable[bytes], max_bytes: int) -> list[bytes]:
    """Those of `lines` (oldest first, without line breaks) that fit into a file of `max_bytes`.
    What is not an entry, and the second of equal lines, is left out.
    """
    unique = list(dict.fromkeys(lines))
    chosen = {line.number for line in _newest(list(_read(unique)), max_bytes)}
    return [line for number, line in enumerate(unique) if number in chosen]


def equal_shares(sizes: Mapping[K, int], room: int) -> dict[K, int]:
    """How much of `room` each gets: all that it needs, or as much as each of the others that do
    not get all.
    """
    shares: dict[K, int] = {}
    for position, name in enumerate(sorted(sizes, key=lambda name: sizes[name])):
        shares[name] = min(sizes[name], room // (len(sizes) - position))
        room -= shares[name]
    return shares


def _read(lines: list[bytes]) -> Iterator[_Line]:
    for number, line in enumerate(lines):
        try:
            origin = _DECODER.decode(line)
        except (msgspec.DecodeError, UnicodeError):
            continue  # half a line, from a power cut
        deed = f"{origin.outcome} {origin.action}"
        yield _Line(number, len(line) + 1, (origin.namespace, origin.token_id, deed))


def _newest(lines: list[_Line], room: int, level: int = 0) -> Iterator[_Line]:
    if level == LEVELS:
        sums = accumulate(line.size for line in reversed(lines))
        yield from (line for line, size in zip(reversed(lines), sums, strict=True) if size <= room)
        return
    groups: defaultdict[str, list[_Line]] = defaultdict(list)
    for line in lines:
        groups[line.levels[level]].append(line)
    sizes = {name: sum(line.size for line in group) for name, group in groups.items()}
    for name, share in equal_shares(sizes, room).items():
        yield from _newest(groups[name], share, level + 1)
