"""`hapi hub audit`: who did what at the hub of this home, read from its files."""

from __future__ import annotations

import json
import time
from typing import Any

import click

from hapi.cli.base.common_options import record_options
from hapi.cli.base.errors import exit_codes_epilog
from hapi.cli.base.tail import POLL_INTERVAL, LineFollower
from hapi.cli.base.times import duration
from hapi.home import Home
from hapi.redaction import escape_control


@click.command("audit", epilog=exit_codes_epilog(), short_help="Show who did what.")
@record_options("entries")
def command(following: bool, lines: int, as_json: bool) -> None:
    """Show logins, tokens, starts and ends of sessions, answers to permission requests and changes
    of settings: when, by which token, from which address, and what was refused.

    The audit is read from its files, so no hub needs to be running.
    """
    import msgspec

    from hapi.hub.access.audit_log import DONE_NAME, REFUSED_NAME, AuditLog

    directory = Home.find().check().path
    past = AuditLog(directory, lambda: 0).newest(lines) if lines else []
    for entry in reversed(past):
        _print(msgspec.to_builtins(entry), as_json)
    if not following:
        return
    followed = [LineFollower(directory / name) for name in (DONE_NAME, REFUSED_NAME)]
    while True:
        for file in followed:
            for line in file.new_lines():
                try:
                    _print(json.loads(line), as_json)
                except ValueError:
                    continue  # half a line, from a power cut
        time.sleep(POLL_INTERVAL)


def _print(entry: dict[str, Any], as_json: bool) -> None:
    print(json.dumps(entry, ensure_ascii=True) if as_json else entry_line(entry), flush=True)


def entry_line(entry: dict[str, Any]) -> str:
    """An entry for a person, on one line."""
    at = entry.get("time")
    when = (
        time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(at / 1000))
        if isinstance(at, int)
        else "?"
    )
    outcome = str(entry.get("outcome"))
    words = [when, f"{escape_control(entry.get('action')):<18}"]
    words += [outcome.upper()] if outcome != "done" else []
    who = entry.get("actor") or ("the hub's access token" if entry.get("namespace") else "unknown")
    words.append(f"by {_quoted(who) if entry.get('actor') else who}")
    if entry.get("namespace") not in (None, "", "default"):
        words.append(f"namespace {_quoted(entry['namespace'])}")
    words += [f"from {_quoted(entry['address'])}"] if entry.get("address") else []
    for key, value in {**entry.get("subject", {}), **entry.get("facts", {})}.items():
        if key == "expiresIn" and isinstance(value, int):
            value = duration(value / 1000)
        words.append(f"{escape_control(key)}={_quoted(value)}")
    return "  ".join(words)


def _words(text: str) -> str:
    """The words of a list, such as scopes, separated by commas; any other text as it is."""
    try:
        found = json.loads(text) if text.startswith("[") else None
    except (ValueError, RecursionError):
        return text
    return ",".join(map(str, found)) if isinstance(found, list) else text


def _quoted(value: object) -> str:
    """`value` in quotes, unless it is a single word: a space in it begins no field."""
    text = _words(str(value))
    if text and not any(sign.isspace() or sign in "\"'=" for sign in text):
        return escape_control(text)
    return escape_control(json.dumps(text, ensure_ascii=False))
