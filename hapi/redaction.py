"""Makes text safe to show: on one line, without control characters, without secrets."""

from __future__ import annotations

import json
import re
from urllib.parse import quote

from attrs import define, field

# C0 and C1, the line and paragraph separators, what turns the direction of writing around, and
# what has no width.
CONTROL = re.compile(
    "[\x00-\x1f\x7f-\x9f\xad\u061c\u200b\u200e\u200f\u2028-\u202e\u2060-\u2069\ufeff\ud800-\udfff]"
)
_NAMED = {"\n": "\\n", "\r": "\\r", "\t": "\\t"}
_HIDDEN = "[hidden]"
# Any token: web tokens (three base64url parts), bearer headers, tokens in a query or a fragment.
_TOKEN_PATTERNS = re.compile(
    r"\beyJ[\w-]{4,}\.[\w-]{4,}\.[\w-]{4,}"
    r"|(?i:(?<=\bbearer )[^\s\"'\\,]{4,})|(?i:(?<=[?&#]token=)[^\s\"'&\\]+)"
    r"|(?i:(?<=[?&]password=)[^\s\"'&\\]+)"
)
_URL_PASSWORD = re.compile(r"(?i)(\bpostgres(?:ql)?://[^\s:/@]*:)[^\s\"']+(?=@)")


def escape_control(text: object) -> str:
    """`text` with control characters replaced by escapes like `\\n`, on one line."""
    return CONTROL.sub(
        lambda found: (
            _NAMED.get(found[0]) or found[0].encode("unicode_escape", "backslashreplace").decode()
        ),
        str(text),
    )


@define
class Secrets:
    """The values that no log may contain: access tokens and their quoted forms."""

    _forms: set[str] = field(factory=set, repr=False)
    _pattern: re.Pattern[str] | None = field(default=None, repr=False)

    def add(self, *values: str | None) -> None:
        """Hide `values` from now on, and the base of a value like `base:namespace`.

        Values below 4 characters are not hidden.
        """
        for value in values:
            whole = (value or "").strip()
            for secret in (whole, whole.rpartition(":")[0].strip()):
                if len(secret) >= 4:
                    self._forms |= {secret, json.dumps(secret)[1:-1], quote(secret, safe="")}
        longest_first = sorted(self._forms, key=len, reverse=True)
        self._pattern = (
            re.compile("|".join(map(re.escape, longest_first))) if longest_first else None
        )

    def redact(self, text: str) -> str:
        if self._pattern is not None:
            text = self._pattern.sub(_HIDDEN, text)
        text = _URL_PASSWORD.sub(rf"\1{_HIDDEN}", text)
        return _TOKEN_PATTERNS.sub(_HIDDEN, text)
