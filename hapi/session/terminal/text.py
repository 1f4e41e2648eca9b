"""Text on its way to and from a terminal. Pure."""

from __future__ import annotations

import codecs

from hapi.redaction import escape_control


def printable(text: str) -> str:
    """`text` with its lines kept and every other control character made visible."""
    return "\n".join("\t".join(map(escape_control, line.split("\t"))) for line in text.split("\n"))


def representable(text: str, encoding: str | None) -> str:
    """`text` with escapes such as `\\u20ac` for what `encoding` (None: any character) lacks."""
    if encoding is None:
        return text
    return text.encode(encoding, "backslashreplace").decode(encoding)


def is_unicode(encoding: str | None) -> bool:
    """Whether a stream of that encoding can show every character."""
    return encoding is None or codecs.lookup(encoding).name.startswith("utf-")


def typed_text(line: bytes) -> str:
    """What was typed or piped: UTF-8, otherwise in the encoding of the locale."""
    try:
        return line.decode()
    except UnicodeDecodeError:
        import locale

        return line.decode(locale.getpreferredencoding(False), errors="replace")
