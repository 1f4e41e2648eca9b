"""JSON as it is on the wire, and the one error for what a peer should not have sent."""

from __future__ import annotations

import json
from typing import Any

import msgspec


class Malformed(ValueError):
    """A peer sent what the protocol does not allow. The text quotes a few characters at most."""


def to_json(value: Any) -> str:
    """`value` as JSON on one line; Struct and attrs values by their fields.

    Raises TypeError, ValueError, RecursionError.
    """
    try:
        return msgspec.json.encode(value).decode()
    except UnicodeEncodeError:
        # A lone surrogate, as in text that was cut inside an emoji, is written as an escape.
        return json.dumps(msgspec.to_builtins(value), separators=(",", ":"), allow_nan=False)


def from_json(text: str) -> Any:
    """The value in `text`. Raises Malformed.

    A lone surrogate, which JavaScript sends and UTF-8 cannot express, becomes `?`.
    """
    try:
        return msgspec.json.decode(text)
    except (msgspec.DecodeError, UnicodeError) as error:
        if "\\u" not in text:
            raise Malformed(f"not JSON: {error}") from error
    except RecursionError as error:
        raise Malformed("the JSON is nested too deeply") from error
    try:
        with_surrogates = json.loads(text, parse_constant=_refuse_constant)
        whole = json.dumps(with_surrogates, ensure_ascii=False).encode("utf-8", "replace")
        return msgspec.json.decode(whole)
    except (ValueError, RecursionError, UnicodeError) as error:
        raise Malformed(f"not JSON: {str(error)[:80]}") from error


def _refuse_constant(name: str) -> Any:
    """NaN and the infinities, which Python's decoder would take."""
    raise ValueError(f"{name} is not JSON")
