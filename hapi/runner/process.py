"""What a process does that is a runner and nothing else: it raises limits and notifies systemd."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from twisted.application.service import MultiService

from hapi.process.descriptor_limit import raise_descriptor_limit
from hapi.runner.supervision.sd_notify import SystemdNotifier, systemd_notifier


def supervise_process(
    reactor: Any,
    runner: Any,
    services: MultiService,
    *,
    replaces: bool = False,
    environ: Mapping[str, str] = os.environ,
) -> SystemdNotifier | None:
    """Set up the process of `runner`, which belongs to `services`.

    The notifier, if systemd listens, must be told of reloads. `replaces`: this process took over
    from another one by a hand-off.
    """
    raise_descriptor_limit()
    found = systemd_notifier(reactor, runner, environ, replaces=replaces)
    if found is not None:
        found.setServiceParent(services)  # type: ignore[no-untyped-call]
    return found
