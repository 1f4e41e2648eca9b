"""What the programs in the foreground share: hub, runner and `hapi up`. Loads no click."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from hapi.cli.base.output import echo, warn
from hapi.redaction import escape_control


def reload(logging: Any, program: Any, supervision: Any) -> None:
    """SIGHUP: reopen the log, have `program` reload and tell systemd.

    A runner reloads its settings, a hub its certificate. In `hapi up` only the hub reloads: hub and
    runner could not change their settings at the same time.
    """
    logging.reopen()
    for part in (program, supervision):
        if part is not None:
            part.reload()


def attend_hub(host: Any, hub: Any) -> None:
    """Give `hub` the time in which clients move to other hubs; a second signal ends that. Tell on
    the terminal when it has to wait before it has started.
    """
    hub.on_waiting = lambda reason: warn(f"{reason}. The hub waits and tries again.")
    host.on_impatience = hub.hurry
    host.shutdown_timeout += hub.drain_seconds


def tell_when_serving(hub: Any, tell: Callable[[], object]) -> None:
    """Call `tell` when `hub`, which listens and does not serve, has begun to serve."""

    def begun() -> None:
        echo("This hub serves now.")
        tell()

    hub.on_serving = begun


def waiting_sentence(hub: Any) -> str:
    """What a person is told of a hub that listens and does not serve."""
    return f"{escape_control(hub.waits_because)}. It takes over as soon as it can."
