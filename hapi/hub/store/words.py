"""Words of a text, as they are indexed and searched. Pure.

A word is a run of letters and digits in any script, without regard to case and diacritics. Chinese,
Japanese, Thai, Lao, Khmer and Burmese do not separate words by spaces: there, each character is a
word of its own, so that a query of several characters finds them side by side, wherever they stand.
Compared with SQLite's trigram tokenizer, this finds what has fewer than three characters, as most
Chinese words do, and its index is a fraction of the size (docs/architecture.md has the numbers).
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator

from attrs import frozen

# Blocks of https://www.unicode.org/Public/UCD/latest/ucd/Blocks.txt whose scripts have no spaces.
_UNSPACED = (
    "\u0e00-\u0eff"  # Thai, Lao
    "\u1000-\u109f"  # Burmese
    "\u1780-\u17ff"  # Khmer
    "\u3005-\u3007\u3040-\u30ff\u31f0-\u31ff"  # kana
    "\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"  # Chinese characters
    "\U00020000-\U0003ffff"
)
_WORD = re.compile(rf"[{_UNSPACED}]|[^\W_{_UNSPACED}]+")
_PLAIN_WORD = re.compile(r"[a-z0-9]+")
MAX_WORD_LENGTH = 40  # characters that count: encoded data would make the index large
_DIACRITICS = re.compile("[\u0300-\u036f]+")


@frozen
class Span:
    """A word and where it stands in the text."""

    start: int
    end: int
    word: str


def words(text: str) -> list[str]:
    """The words of a text, in their order."""
    if text.isascii():
        return [word[:MAX_WORD_LENGTH] for word in _PLAIN_WORD.findall(text.lower())]
    return [folded(word) for word in _WORD.findall(normalized(text))]


def spans(text: str) -> Iterator[Span]:
    """The words of a text that is `normalized`, with their places."""
    for match in _WORD.finditer(text):
        yield Span(match.start(), match.end(), folded(match[0]))


def normalized(text: str) -> str:
    """A letter with its diacritics is one character, where Unicode has one."""
    return unicodedata.normalize("NFC", text)


def folded(word: str) -> str:
    """Without case and diacritics."""
    word = word[:MAX_WORD_LENGTH]
    if word.isascii():
        return word.lower()
    parts = unicodedata.normalize("NFD", word.casefold())
    return unicodedata.normalize("NFC", _DIACRITICS.sub("", parts))
