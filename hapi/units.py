"""Sizes and durations as people write them."""

from __future__ import annotations

import re

SECONDS = {"h": 3600.0, "d": 86_400.0, "w": 604_800.0}
MAX_DURATION_DIGITS, MAX_SIZE_DIGITS = 6, 15


def parse_size(text: str) -> int:
    """Read a number of bytes such as `1048576`, `512M` or `2G`. Raises ValueError."""
    found = re.fullmatch(r"(\d+)\s*([KMGT]?)(?:i?B)?", text.strip(), re.ASCII | re.IGNORECASE)
    if found is None:
        raise ValueError("it must be a number of bytes, optionally followed by K, M, G or T")
    if len(found[1]) > MAX_SIZE_DIGITS:
        raise ValueError("it is too large")
    return int(found[1]) << (10 * " KMGT".index(found[2].upper() or " "))


def plural(count: float, noun: str) -> str:
    """`count` and `noun` for a person: "1 minute", "2 minutes", "2 processes", "2 tries"."""
    shown = f"{count:.0f}"
    if shown == "1":
        return f"{shown} {noun}"
    if noun.endswith(("s", "x", "ch", "sh")):
        return f"{shown} {noun}es"
    if noun.endswith("y") and noun[-2] not in "aeiou":
        return f"{shown} {noun[:-1]}ies"
    return f"{shown} {noun}s"


def format_size(size: int) -> str:
    """Write a number of bytes as people do: `1.5G`, `512M`, `5`."""
    for letter, shift in (("G", 30), ("M", 20), ("K", 10)):
        if size >= 1 << shift:
            return f"{size / (1 << shift):.1f}".removesuffix(".0") + letter
    return str(size)


def parse_duration(text: str) -> float:
    """Read a duration such as `12h`, `90d` or `4w`; the seconds. Raises ValueError."""
    found = re.fullmatch(r"(\d+)\s*([hdw])", text.strip(), re.ASCII | re.IGNORECASE)
    if found is None:
        raise ValueError("it must be a number followed by h (hours), d (days) or w (weeks)")
    if len(found[1]) > MAX_DURATION_DIGITS:
        raise ValueError("it is too large")
    return int(found[1]) * SECONDS[found[2].lower()]


def parse_idle_time(text: str) -> float | None:
    """Read a time such as `90s`, `30m`, `2h` or `1d`; the seconds, None for `off`. Raises
    ValueError."""
    if text.strip().lower() == "off":
        return None
    found = re.fullmatch(r"(\d+)\s*([smhd])", text.strip(), re.ASCII | re.IGNORECASE)
    if found is None or int(found[1][:MAX_SIZE_DIGITS]) == 0:
        raise ValueError(
            "it must be off, or a positive number followed by s (seconds), m (minutes), h (hours) "
            "or d (days)"
        )
    if len(found[1]) > MAX_DURATION_DIGITS:
        raise ValueError("it is too large")
    return int(found[1]) * {"s": 1.0, "m": 60.0, **SECONDS}[found[2].lower()]


def format_duration(seconds: float) -> str:
    """Write a duration as `parse_duration` reads it: `90d`, `36h`."""
    unit = "d" if seconds % SECONDS["d"] == 0 else "h"
    return f"{seconds / SECONDS[unit]:.0f}{unit}"
