"""Changes of files as unified diffs, in a time that grows with the size of the change only.

`difflib` compares in a time that grows with the product of the lines, and worse: 10,000 lines take
it a quarter of a minute. Here it gets small pieces only. They lie between lines that occur exactly
once in each version and in the same order (the "patience diff" of Bram Cohen).
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter, OrderedDict
from collections.abc import Iterator, Sequence
from hashlib import blake2b
from itertools import pairwise
from typing import Any

from attrs import define, field, frozen

from hapi.protocol.acp.tool_content import FileChange

MAX_COMPARED = 40_000  # lines before times lines after, for one call of difflib
MAX_COMPARED_IN_ALL = 1_000_000  # the same, for all pieces of one change
MAX_LINES = 200_000  # of both versions; beyond that, the change is told in words
MAX_LENGTH = 40_000  # characters of a diff; hubs cut strings of more than 64 KiB in their middle
MAX_DEPTH = 16  # pieces within pieces; each level looks at every line once
MAX_LINE_LENGTH = 2_000  # characters of a line
CONTEXT = 3  # lines around a change
MAX_KEPT = 64  # diffs that are kept, so that a change that is told again is not compared again

Lines = Sequence[str]
Match = tuple[int, int, int]  # first line before, first line after, number of lines


@frozen
class FileDiff:
    """The diff of one file: its text as `diff -u` writes it, and how many lines it changes.

    `text` ends with a line in words where the diff was too long to be shown whole.
    """

    path: str
    text: str
    added: int
    removed: int

    def as_json(self) -> dict[str, Any]:
        """The form in records and permission requests: `{path, diff, added, removed}`."""
        return {
            "path": self.path,
            "diff": self.text,
            "added": self.added,
            "removed": self.removed,
        }


def diff_of(change: FileChange) -> FileDiff:
    """The diff of `change`. Repeated calls for the same change compare its texts only once.

    Takes some ten milliseconds for 10,000 lines; may be called in any thread.
    """
    key = _digest(change)
    found = _kept.get(key)
    if found is None:
        found = _kept[key] = _compare(change)
        while len(_kept) > MAX_KEPT:
            _kept.popitem(last=False)
    return found


_kept: OrderedDict[bytes, FileDiff] = OrderedDict()


def _digest(change: FileChange) -> bytes:
    digest = blake2b(digest_size=16)
    for text in (change.path, change.old, change.new):
        content = b"" if text is None else text.encode("utf-8", "surrogatepass")
        digest.update(b"-" if text is None else b"%d " % len(content))
        digest.update(content)
    return digest.digest()


def _compare(change: FileChange) -> FileDiff:
    size = sum(text.count("\n") for text in (change.old or "", change.new))
    if size > MAX_LINES:
        before, after = ((change.old or "").count("\n"), change.new.count("\n"))
        words = f"{change.path}: {before} lines became {after}"
        return FileDiff(change.path, words, after, before)
    old, new = _lines(change.old or ""), _lines(change.new)
    matcher = _matcher(old, new)
    rows: list[str] = []
    added = removed = 0
    for group in matcher.get_grouped_opcodes(CONTEXT):
        rows.append(_hunk_header(group))
        for tag, first, last, first_new, last_new in group:
            if tag == "equal":
                rows += [f" {line}" for line in old[first:last]]
                continue
            rows += [f"-{line}" for line in old[first:last]]
            rows += [f"+{line}" for line in new[first_new:last_new]]
            removed += last - first
            added += last_new - first_new
    if not rows:
        return FileDiff(change.path, "", 0, 0)
    source = "/dev/null" if change.old is None else change.path
    text = "\n".join((f"--- {source}", f"+++ {change.path}", *_cut(rows)))
    return FileDiff(change.path, text, added, removed)


def _lines(text: str) -> list[str]:
    lines = text.split("\n")
    if lines[-1] == "":
        lines.pop()
    return lines


def _cut(rows: list[str]) -> Iterator[str]:
    """As many rows as there is room for; then a line that says how many are missing."""
    room = MAX_LENGTH
    for number, row in enumerate(rows):
        shown = row if len(row) <= MAX_LINE_LENGTH else f"{row[:MAX_LINE_LENGTH]}…"
        room -= len(shown) + 1
        if room < 0:
            yield f"… {len(rows) - number} more lines"
            return
        yield shown


def _hunk_header(group: Sequence[tuple[str, int, int, int, int]]) -> str:
    first, last = group[0], group[-1]
    return f"@@ -{_range(first[1], last[2])} +{_range(first[3], last[4])} @@"


def _range(start: int, stop: int) -> str:
    """Line numbers of a hunk as `diff -u` writes them."""
    length = stop - start
    if length == 1:
        return str(start + 1)
    return f"{start + 1 if length else start},{length}"


def _matcher(old: Lines, new: Lines) -> Any:
    """A `SequenceMatcher` with our own matching lines, for its opcodes and groups."""
    from difflib import SequenceMatcher  # 0.2 MB, for changes of files alone

    matcher: Any = SequenceMatcher(None, "", "")
    matcher.a, matcher.b = old, new
    matcher.matching_blocks = _Comparison(old, new).matches()
    return matcher


@define
class _Comparison:
    _old: Lines
    _new: Lines
    _room: int = MAX_COMPARED_IN_ALL
    _found: list[Match] = field(factory=list)

    def matches(self) -> list[Match]:
        """The runs of lines that both versions have, in order; the last one is empty."""
        self._between(0, len(self._old), 0, len(self._new), 0)
        joined: list[Match] = []
        for old, new, length in self._found:
            if joined and (joined[-1][0] + joined[-1][2], joined[-1][1] + joined[-1][2]) == (
                old,
                new,
            ):
                joined[-1] = (*joined[-1][:2], joined[-1][2] + length)
            elif length:
                joined.append((old, new, length))
        return [*joined, (len(self._old), len(self._new), 0)]

    def _between(self, old: int, old_end: int, new: int, new_end: int, depth: int) -> None:
        """Find what two pieces have in common: their ends, then what is between."""
        before, after = self._old, self._new
        start = (old, new)
        while old < old_end and new < new_end and before[old] == after[new]:
            old, new = old + 1, new + 1
        self._found.append((*start, old - start[0]))
        tail = 0
        while (
            old < old_end - tail
            and new < new_end - tail
            and before[old_end - tail - 1] == after[new_end - tail - 1]
        ):
            tail += 1
        self._middle(old, old_end - tail, new, new_end - tail, depth)
        self._found.append((old_end - tail, new_end - tail, tail))

    def _middle(self, old: int, old_end: int, new: int, new_end: int, depth: int) -> None:
        """Two pieces that begin and end with different lines."""
        product = (old_end - old) * (new_end - new)
        if product == 0:
            return
        if product <= min(MAX_COMPARED, self._room):
            self._room -= product
            from difflib import SequenceMatcher

            piece = SequenceMatcher(None, self._old[old:old_end], self._new[new:new_end])
            self._found += [(old + a, new + b, size) for a, b, size in piece.get_matching_blocks()]
            return
        anchors = self._anchors(old, old_end, new, new_end) if depth < MAX_DEPTH else []
        if not anchors:
            return  # the whole piece is replaced
        for (a, b), (next_a, next_b) in pairwise([*anchors, (old_end, new_end)]):
            self._between(a, next_a, b, next_b, depth + 1)

    def _anchors(self, old: int, old_end: int, new: int, new_end: int) -> list[tuple[int, int]]:
        """The longest ascending list of pairs of lines that occur once in each piece.

        It begins with the first lines of the pieces, so that what lies before the first of those
        lines is compared as well; it is empty if there are no such lines.
        """
        once, once_new = (
            {line for line, count in Counter(lines[start:end]).items() if count == 1}
            for lines, start, end in ((self._old, old, old_end), (self._new, new, new_end))
        )
        place = {
            line: index
            for index, line in enumerate(self._new[new:new_end], start=new)
            if line in once_new
        }
        pairs = [
            (index, place[line])
            for index, line in enumerate(self._old[old:old_end], start=old)
            if line in once and line in place
        ]
        chosen = _ascending(pairs)
        return [(old, new), *chosen] if chosen else []


def _ascending(pairs: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """The longest part of `pairs`, ordered by their first numbers, whose second numbers ascend."""
    ends: list[int] = []  # the smallest last number of an ascending part, by its length
    last: list[int] = []  # the pair that it belongs to
    previous: list[int] = []  # the pair before each pair
    for index, (_, number) in enumerate(pairs):
        length = bisect_left(ends, number)
        previous.append(last[length - 1] if length else -1)
        if length == len(ends):
            ends.append(number)
            last.append(index)
        else:
            ends[length], last[length] = number, index
    found: list[tuple[int, int]] = []
    index = last[-1] if last else -1
    while index >= 0:
        found.append(pairs[index])
        index = previous[index]
    return found[::-1]
