"""What commands print: JSON for programs, tables and lines for people. Loads no click."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from typing import Any

from hapi.redaction import escape_control
from hapi.units import plural


def echo(text: str = "") -> None:
    """Print one line for a person. The caller escapes untrusted text (`escape_control`)."""
    print(text, flush=True)


def warn(text: str) -> None:
    """Print one line on standard error."""
    print(f"hapi: {escape_control(text)}", file=sys.stderr, flush=True)


def print_json(value: Any) -> None:
    text = json.dumps(value, indent=2, ensure_ascii=False)
    print(text.encode("utf-8", "backslashreplace").decode(), flush=True)


__all__ = ["echo", "mask_token", "plural", "print_json", "table", "warn"]


def table(heads: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """An aligned table: drawn by rich on a terminal, two spaces between the columns otherwise."""
    shown = [[escape_control(cell) for cell in row] for row in rows]
    if not sys.stdout.isatty():
        lines = [list(heads), *shown]
        widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
        for line in lines:
            cells = [cell.ljust(width) for cell, width in zip(line, widths, strict=True)]
            print("  ".join(cells).rstrip())
        return
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    drawn = Table(box=None, pad_edge=False, header_style="bold")
    for head in heads:
        # The first column is an id that people copy, so it is never broken.
        drawn.add_column(head, overflow="fold", no_wrap=head == heads[0])
    for row in shown:
        drawn.add_row(*map(Text, row))
    Console().print(drawn)


def mask_token(token: str) -> str:
    """Enough of a token to tell it from another: its last four characters and its namespace."""
    base, _, namespace = token.rpartition(":")
    base, namespace = (base, f":{namespace}") if base else (token, "")
    return ("…" + base[-4:] if len(base) >= 12 else "…") + namespace
