"""What commands print: JSON for programs, tables and lines for people."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from typing import Any

import click

from hapi.redaction import escape_control

json_flag = click.option("--json", "as_json", is_flag=True, help="Print JSON for programs.")


def say(text: str = "") -> None:
    """One line for a person, with whatever came from outside made harmless by the caller (`escape_control`)."""
    print(text, flush=True)


def warn(text: str) -> None:
    print(f"hapi: {escape_control(text)}", file=sys.stderr, flush=True)


def print_json(value: Any) -> None:
    print(
        json.dumps(value, indent=2, ensure_ascii=False)
        .encode("utf-8", "backslashreplace")
        .decode(),
        flush=True,
    )


def table(heads: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """An aligned table: drawn by rich on a terminal, two spaces between the columns otherwise."""
    shown = [[escape_control(cell) for cell in row] for row in rows]
    if not sys.stdout.isatty():
        lines = [list(heads), *shown]
        widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
        for line in lines:
            print(
                "  ".join(
                    cell.ljust(width) for cell, width in zip(line, widths, strict=True)
                ).rstrip()
            )
        return
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    drawn = Table(box=None, pad_edge=False, header_style="bold")
    for head in heads:
        drawn.add_column(
            head, overflow="fold", no_wrap=head == heads[0]
        )  # that is the id, and people copy it
    for row in shown:
        drawn.add_row(*map(Text, row))
    Console().print(drawn)


def masked(token: str) -> str:
    """Enough of a token to tell it from another: the last four characters, and its namespace."""
    base, _, namespace = token.rpartition(":")
    base, namespace = (base, f":{namespace}") if base else (token, "")
    return ("…" + base[-4:] if len(base) >= 12 else "…") + namespace
