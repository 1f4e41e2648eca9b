"""What people write into a search field, as terms. Pure.

    words                all of them, in any order
    "several words"      one after the other
    wor*                 words that begin so

A word with punctuation within (`view-chat.js`) is a phrase of its parts, and so are several
characters of a script without spaces. All other punctuation means nothing, so that any text is a
valid query.
"""

from __future__ import annotations

import re

from hapi.hub.store.rows import SearchTerm
from hapi.hub.store.words import words

MAX_QUERY_LENGTH = 500  # characters
MAX_TERMS = 16
_PART = re.compile(r'["“”„]([^"“”„]*)(?:["“”„]|$)|([^\s"“”„]+)')


def parse_query(text: str) -> list[SearchTerm]:
    """The terms of a query; none if it has no word."""
    found: list[SearchTerm] = []
    for match in _PART.finditer(text[:MAX_QUERY_LENGTH]):
        phrase, bare = match[1], match[2]
        parts = words(phrase if bare is None else bare)
        if parts:
            found.append(SearchTerm(tuple(parts), bare is not None and bare.endswith("*")))
    return list(dict.fromkeys(found))[:MAX_TERMS]
