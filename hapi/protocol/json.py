"""JSON as it is on the wire, and the one error for what a peer should not have sent."""

from __future__ import annotations

import json
import math
import re
from typing import Any

import msgspec

MAX_DEPTH = 64  # levels of a document that is kept
# In one text: 40 MB of empty lists would become 2 GB and take seconds. The largest that is needed,
# a list of 20,000 files with five fields each, has 120,000.
MAX_VALUES = 300_000
_SURROGATE = re.compile("[\ud800-\udfff]")
# Characters of one string: the limit, and what is kept of a longer one.
MAX_STRING_LENGTH, KEPT_HEAD, KEPT_TAIL = 64 * 1024, 48 * 1024, 12 * 1024
# Integers beyond these are read by few programs as what they are.
MIN_INTEGER, MAX_INTEGER = -(1 << 63), (1 << 64) - 1


class Malformed(ValueError):
    """A peer sent what the protocol does not allow. The text quotes a few characters at most."""


def to_json(value: Any) -> str:
    """`value` as JSON on one line; Struct and attrs values by their fields, `msgspec.Raw` as it is.

    Raises TypeError, ValueError, RecursionError.
    """
    try:
        return msgspec.json.encode(value).decode()
    except UnicodeEncodeError:
        # A lone surrogate, as in text that was cut inside an emoji, is written as an escape.
        return json.dumps(plain(value), separators=(",", ":"), allow_nan=False)


def plain(value: Any) -> Any:
    """`value` in Python's own types, with `msgspec.Raw` decoded."""
    return msgspec.to_builtins(_without_raw(value))


def _without_raw(value: Any) -> Any:
    if isinstance(value, msgspec.Raw):
        return json.loads(bytes(value))
    if isinstance(value, dict):
        return {name: _without_raw(item) for name, item in value.items()}
    return [_without_raw(item) for item in value] if isinstance(value, (list, tuple)) else value


def from_json(text: str) -> Any:
    """The value in `text`. Raises Malformed.

    A lone surrogate, which JavaScript sends and UTF-8 cannot express, becomes U+FFFD.
    """
    check_number_of_values(text)
    try:
        return msgspec.json.decode(text)
    except (msgspec.DecodeError, UnicodeError) as error:
        if "\\u" not in text:
            raise Malformed(f"not JSON: {error}") from error
    except RecursionError as error:
        raise Malformed("the JSON is nested too deeply") from error
    try:
        return msgspec.json.decode(without_surrogates(text))
    except (ValueError, RecursionError, UnicodeError) as error:
        raise Malformed(f"not JSON: {str(error)[:80]}") from error


def without_surrogates(text: str | bytes) -> bytes:
    """The JSON in `text` with U+FFFD for each lone surrogate, which is half an emoji for example.

    Raises ValueError if it is no JSON, RecursionError.
    """
    value = json.loads(text, parse_constant=_refuse_constant)
    return _SURROGATE.sub("\ufffd", json.dumps(value, ensure_ascii=False)).encode()


def check_number_of_values(text: str | bytes) -> None:
    """Refuse JSON of more than MAX_VALUES values before any of them is made. Raises Malformed.

    Each value but the first follows a comma or an opening bracket, so that an empty list counts
    twice. Those in strings do not count; the strings are looked at only if there are too many with
    them. Takes time in proportion to the length: at most half a second for 40 MB.
    """
    if len(text) <= MAX_VALUES:
        return
    content = text.encode("utf-8", "surrogatepass") if isinstance(text, str) else text
    if _separators(content) < MAX_VALUES:
        return
    content = content.replace(rb"\\", b"").replace(rb"\"", b"")  # quotes only around strings now
    # A value has two strings at most, its name and itself.
    if content.count(b'"') <= 4 * MAX_VALUES:
        content = b"".join(content.split(b'"')[::2])
    if _separators(content) >= MAX_VALUES:
        raise Malformed(f"the JSON has more than {MAX_VALUES} values")


def _separators(content: bytes) -> int:
    return sum(map(content.count, b",[{"))


def _refuse_constant(name: str) -> Any:
    """NaN and the infinities, which Python's decoder would take."""
    raise ValueError(f"{name} is not JSON")


def bounded(value: Any) -> Any:
    """`value` in a form that every program can read and write again: what lies deeper than
    MAX_DEPTH levels becomes None, as do numbers that JSON has none of (NaN, infinities); integers
    that do not fit 64 bits become floating-point numbers. The same object if nothing is to change.
    """
    return value if _is_bounded(value) else _bounded(value, 0)


def _is_bounded(value: Any) -> bool:
    level = [value]
    for _ in range(MAX_DEPTH + 1):
        inner: list[Any] = []
        for item in level:
            if isinstance(item, dict):
                inner.extend(item.values())
            elif isinstance(item, list):
                inner.extend(item)
            elif isinstance(item, (int, float)) and not _is_plain(item):
                return False
        if not inner:
            return True
        level = inner
    return False


def _is_plain(number: float) -> bool:
    if isinstance(number, float):
        return math.isfinite(number)
    return MIN_INTEGER <= number <= MAX_INTEGER


def plain_number(number: float) -> float | None:
    """`number`, as near as JSON and other programs can have it; None if there is nothing near."""
    if _is_plain(number):
        return number
    try:
        near = float(number)
    except OverflowError:
        return None
    return near if math.isfinite(near) else None


def _bounded(value: Any, depth: int) -> Any:
    if isinstance(value, (dict, list)):
        if depth >= MAX_DEPTH:
            return None
        if isinstance(value, dict):
            return {key: _bounded(item, depth + 1) for key, item in value.items()}
        return [_bounded(item, depth + 1) for item in value]
    return plain_number(value) if isinstance(value, (int, float)) else value


def cut(value: Any, depth: int = 0) -> Any:
    """`value` with the middle of every string over 64 KiB removed, and nothing nested deeper than
    64 levels. Numbers that other programs could not read become what is nearest.
    """
    if isinstance(value, str):
        if len(value) <= MAX_STRING_LENGTH:
            return value
        removed = len(value) - KEPT_HEAD - KEPT_TAIL
        mark = f"\n…[hapi: truncated {removed} chars]…\n"
        return f"{value[:KEPT_HEAD]}{mark}{value[-KEPT_TAIL:]}"
    if isinstance(value, (dict, list)) and depth >= MAX_DEPTH:
        return None
    if isinstance(value, dict):
        return {key: cut(item, depth + 1) for key, item in value.items()}
    if isinstance(value, list):
        return [cut(item, depth + 1) for item in value]
    return plain_number(value) if isinstance(value, (int, float)) else value
