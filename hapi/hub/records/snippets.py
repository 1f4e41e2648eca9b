"""The part of a message that a search has found, with the places of the words. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from attrs import evolve, frozen

from hapi.hub.store.message_text import NOTE, passages
from hapi.hub.store.rows import SearchTerm
from hapi.hub.store.words import Span, normalized, spans

SNIPPET_LENGTH = 180  # characters
LEAD = 50  # characters before the first word that was found
MAX_MARKS = 40
MAX_EXAMINED = 8_000  # characters of a text that are cut into words: some 3 ms


@frozen
class Snippet:
    """`marks`: the places of the words that were found, as [start, end) in UTF-16 code units, which
    JavaScript counts. `has_more_before` and `has_more_after`: the text goes on there.
    """

    kind: str
    text: str
    marks: list[tuple[int, int]]
    has_more_before: bool
    has_more_after: bool


def snippet_of(content: Any, terms: Sequence[SearchTerm]) -> Snippet:
    """The passage of a message that has the most terms, cut around the first of them."""
    best: tuple[int, Snippet] = (-1, Snippet(NOTE, "", [], False, False))
    for passage in passages(content):
        whole = passage.searched
        start, end = _part(whole, terms)
        text = normalized(whole[start:end])
        count, marks = _matches(text, terms)
        if count > best[0]:
            cut = _cut(passage.kind, text, marks)
            before, after = cut.has_more_before or start > 0, cut.has_more_after or end < len(whole)
            best = count, evolve(cut, has_more_before=before, has_more_after=after)
        if count == len(terms):
            break
    return best[1]


def _part(text: str, terms: Sequence[SearchTerm]) -> tuple[int, int]:
    """The part of a long text in which to look: cutting it into words takes long."""
    if len(text) <= MAX_EXAMINED:
        return 0, len(text)
    lowered = text.lower()
    places = (lowered.find(term.words[0]) for term in terms)
    start = max(0, min((place for place in places if place >= 0), default=0) - LEAD)
    return start, min(len(text), start + MAX_EXAMINED)


def _matches(text: str, terms: Sequence[SearchTerm]) -> tuple[int, list[tuple[int, int]]]:
    """How many terms `text` has, and where they stand: all in the neighbourhood of the first."""
    there = list(spans(text))
    words = [span.word for span in there]
    marks: list[tuple[int, int]] = []
    count = 0
    for term in terms:
        places = _places(words, there, term)
        count += bool(places)
        marks += places
    return count, sorted(set(marks))


def _places(words: list[str], there: list[Span], term: SearchTerm) -> list[tuple[int, int]]:
    found: list[tuple[int, int]] = []
    first, length = term.words[0], len(term.words)
    wanted, last = list(term.words[:-1]), term.words[-1]
    at = 0
    while len(found) < MAX_MARKS:
        if length > 1:
            try:
                at = words.index(first, at)
            except ValueError:
                break
        elif at >= len(words):
            break
        end = at + length
        if end > len(words):
            break
        ends_so = words[end - 1].startswith(last) if term.is_prefix else words[end - 1] == last
        if ends_so and words[at : end - 1] == wanted:
            found.append((there[at].start, there[end - 1].end))
            at = end
        else:
            at += 1
    return found


def _cut(kind: str, text: str, marks: list[tuple[int, int]]) -> Snippet:
    start = max(0, marks[0][0] - LEAD) if marks else 0
    end = min(len(text), start + SNIPPET_LENGTH)
    if end == len(text):
        start = max(0, end - SNIPPET_LENGTH)
    if marks:  # a long word at its beginning is shown whole
        end = max(end, min(marks[0][1], start + 2 * SNIPPET_LENGTH))
    shown = text[start:end]
    leading = len(shown) - len(shown.lstrip())
    start, shown = start + leading, shown.strip()
    end = start + len(shown)
    inside = [
        (max(first, start) - start, min(last, end) - start)
        for first, last in marks
        if first < end and last > start
    ]
    if not shown.isascii():
        inside = [(_units(shown[:first]), _units(shown[:last])) for first, last in inside]
    return Snippet(kind, shown, inside, start > leading, end < len(text.rstrip()))


def _units(text: str) -> int:
    return len(text) + sum(character > "\uffff" for character in text)
