"""`hapi runner revive`: sessions that a reboot or a kill has interrupted, shown and brought back."""

from __future__ import annotations

import time
from typing import Any

from hapi.cli.base.errors import Stop
from hapi.cli.base.output import print_json, say, table
from hapi.cli.base.run import run_once
from hapi.home import Home
from hapi.redaction import escape_control

LONGEST = 3600.0  # seconds for all of them


def revive(session_id: str | None, everything: bool, as_json: bool) -> None:
    """Show what is on offer, or bring back one or all, one after another. Raises Stop when one did not come."""
    home = Home.find().check()

    async def go(reactor: Any) -> tuple[list[dict[str, Any]], dict[str, dict[str, Any]]]:
        from hapi.runner.control.client import ControlClient

        client = ControlClient(reactor, home)
        offered = await client.interrupted()
        names = (
            [str(one["sessionId"]) for one in offered]
            if everything
            else [session_id]
            if session_id
            else []
        )
        return offered, {name: await client.revive(name) for name in names}

    offered, answers = run_once(go, LONGEST)
    if session_id is None and not everything:
        show(offered, as_json)
        return
    if as_json:
        print_json(answers)
    elif not answers:
        say("No session was interrupted.")
    else:
        for name, answer in answers.items():
            say(
                f"{escape_control(name)}: {'lives again' if answer.get('success') else escape_control(_why(answer))}"
            )
    failed = [name for name, answer in answers.items() if not answer.get("success")]
    if failed:
        those = "the session" if len(answers) == 1 else f"{len(failed)} of {len(answers)} sessions"
        raise Stop(f"{those} did not come back")


def show(offered: list[dict[str, Any]], as_json: bool) -> None:
    if as_json:
        print_json(offered)
    elif not offered:
        say("No session was interrupted.")
    else:
        rows = [
            [one["sessionId"], one["agent"], one["directory"], _when(one), one["reason"]]
            for one in offered
        ]
        table(("SESSION", "AGENT", "DIRECTORY", "ENDED", "REASON"), rows)


def _when(one: dict[str, Any]) -> str:
    at = one.get("endedAt")
    return (
        time.strftime("%Y-%m-%d %H:%M", time.localtime(at / 1000)) if isinstance(at, int) else "?"
    )


def _why(answer: dict[str, Any]) -> str:
    if answer.get("requiresUserApproval"):
        return f"its directory {answer.get('directory')} is gone"
    return str(answer.get("error") or "refused")
